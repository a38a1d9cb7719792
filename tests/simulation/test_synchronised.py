# SPDX-License-Identifier: GPL-3.0-or-later
"""Level 2 on virtual time, by the shipping shell: it is a help to connections, and never a reason to leave a route or to keep one."""

from __future__ import annotations

import pytest

from nat_failover.policy.synchronised import FLOWS_WITHIN

from .conntrackd import DEAD, LOSING, STUCK
from .level_two import BACK, at, dies_and_returns, run, synchronised
from .shape import SYNCED, size
from .test_simulation import simulate

INCIDENTS = 20


@pytest.mark.timeout(600)
def test_no_incident_with_synchronised_connections_breaks_a_law():
    result, words = simulate("--incidents", INCIDENTS, "--first", SYNCED)
    assert result["incidents"] == INCIDENTS and result["violations"] == 0, words
    assert {size(seed) for seed in range(SYNCED, SYNCED + INCIDENTS)} == {2}, "conntrackd speaks to one peer"


@pytest.mark.parametrize("fault", ["", DEAD, LOSING])
@pytest.mark.parametrize("node", ["nat-0", "nat-1"])
def test_a_takeover_and_a_return_take_as_long_as_without(fault, node):
    """Flows that nobody can count are not waited for."""
    assert dies_and_returns(fault, node) < BACK


def test_a_return_waits_for_flows_that_do_not_come_and_then_comes_home():
    seconds = dies_and_returns(STUCK, "nat-1")
    assert FLOWS_WITHIN < seconds < FLOWS_WITHIN + BACK


@pytest.mark.parametrize(("fault", "side_by_side"), [("", True), (DEAD, False), (LOSING, False)])
def test_in_a_planned_move_the_elastic_ip_goes_beside_its_routes_while_the_heir_has_the_flows(fault, side_by_side):
    world = synchronised()
    assert world.conntrackd is not None
    world.conntrackd.faults.update({"nat-0": fault} if fault else {})
    run(world, 75.0)
    plans = []
    world.hosts["nat-0"].decided = lambda host, evidence, plan: plans.extend(plan.addresses)
    world.hosts["nat-1"].drain()

    run(world, 6.0, at(world, "eni-nat-0"))
    world.end()
    assert plans and (plans[0].after == ()) is side_by_side
