# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of flows at a living node that has handed its identity over: their end must not end the flows themselves."""

from __future__ import annotations

import time

from nat_failover.model.nat import CARRY
from tests.integration.sync.namespaces import EGRESS, NODE_A, NODE_B, apply, flows, lead, pushed, synchronised, until
from tests.unit.engine.namespaces import inside


def handed_over(nodes, connect):
    _a, b = nodes
    made = [connect() for _count in range(10)]
    synchronised(10)
    lead(1)
    b.order("arrange", "nat-a=here")
    apply(NODE_B, CARRY)
    return made


def test_the_end_of_old_flows_does_not_end_those_of_the_heir(nodes, connect):
    made = handed_over(nodes, connect)
    assert nodes[0].order("arrange", "nat-a=away")
    until(lambda: len(flows(NODE_A)) == 10)  # as the heir has them
    inside(NODE_A, "conntrack", "-F")
    time.sleep(0.5)
    assert len(flows(NODE_B)) == 10
    for each in made:
        pushed(*each)


def test_a_restart_of_conntrackd_at_the_heir_does_not_end_flows_of_the_home(nodes, connect):
    made = [connect() for _count in range(10)]
    synchronised(10)
    nodes[1].kill()
    nodes[1].start()  # its cache is filled from the kernel, copies included
    assert nodes[1].order("arrange", "nat-a=away")
    until(lambda: len(flows(NODE_B)) == 10)
    inside(NODE_B, "conntrack", "-F")
    time.sleep(0.5)
    assert len(flows(NODE_A)) == 10
    for each in made:
        pushed(*each)


def test_the_trap_is_there_without_that_order(nodes, connect):
    """The counterpart: else the test above could not fail."""
    handed_over(nodes, connect)
    inside(NODE_A, "conntrack", "-F")
    until(lambda: not flows(NODE_B))


def test_a_push_renews_copies_that_would_end(nodes, connect):
    connect()
    synchronised(1)
    inside(NODE_B, "conntrack", "-U", "-q", EGRESS, "--timeout", "30")
    assert int(flows(NODE_B)[0].split()[2]) <= 30
    nodes[0].order("push")
    until(lambda: int(flows(NODE_B)[0].split()[2]) > 1000)
