# SPDX-License-Identifier: GPL-3.0-or-later
"""The return: flows go home with the identity, and one that cannot go on is ended at once."""

from __future__ import annotations

import pytest

from nat_failover.model.nat import CARRY, RESET
from tests.integration.sync.namespaces import (
    NODE_A,
    NODE_B,
    apply,
    crash,
    echoed,
    flows,
    lead,
    pushed,
    synchronised,
    until,
)
from tests.unit.engine.namespaces import inside, runner


def test_a_return_loses_neither_old_flows_nor_those_that_began_at_the_heir(nodes, connect):
    a, b = nodes
    old = [connect() for _count in range(20)]
    synchronised(20)
    crash(a)
    b.order("arrange", "nat-a=here")
    apply(NODE_B, CARRY)
    new = [connect() for _count in range(20)]
    for each in (*old, *new):
        echoed(*each)
    a.start()
    a.resync()
    until(lambda: len(flows(NODE_A)) == len(flows(NODE_B)) == 40)
    lead(0)
    a.order("arrange", "nat-a=here")
    assert b.order("arrange", "nat-a=away")
    until(lambda: len(flows(NODE_B)) == 40)  # the copies of node A's
    assert "nat-a:40" in b.order("check", "nat-a")
    assert not b.order("arrange", "nat-a=away")  # nothing is left to end
    for each in (*old, *new):
        pushed(*each)
        echoed(*each)


def test_a_flow_with_the_heirs_own_address_is_ended_by_the_return_and_does_not_hang(nodes, connect):
    a, _b = nodes
    lead(1)
    client, other = connect()  # before the Elastic IP: node B translates it to its own address
    assert other.getpeername()[0] == "198.51.101.1"
    until(lambda: runner(NODE_A)(["conntrack", "-L", "-q", "198.51.101.1"], timeout=5)[1])
    inside(NODE_A, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=1")
    try:
        apply(NODE_A, RESET)
        lead(0)
        a.order("arrange", "nat-a=ended")
        client.sendall(b"up")
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    finally:
        inside(NODE_A, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")


def test_flows_of_an_identity_that_cannot_move_are_ended_at_once(nodes, connect):
    client, _other = connect()
    synchronised(1)
    apply(NODE_B, RESET)
    crash(nodes[0])
    nodes[1].order("arrange", "nat-a=ended")
    client.sendall(b"up")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
