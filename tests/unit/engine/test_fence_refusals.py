# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a fence that EC2 refuses for good, the step in their place, and the budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.policy import fence_objections

from .policy_case import (
    ME,
    NOW,
    PEER,
    THIRD,
    Case,
    dead,
    fence_case,
    make_config,
    steps,
)


def test_a_mark_spends_nothing_and_the_stop_spends_once():
    case = dead()
    case.config = make_config(fence={"max_per_hour": 1})
    for _tick in range(5):
        assert steps(case) == ["mark"], "the mark cannot be written"
    assert case.memory.fences == ()
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"] == steps(case), "the answer of the stop was lost"
    assert fence_objections.spent(case.memory, case.now) == 1


def test_two_marked_peers_share_a_budget_of_one():
    case = Case((ME, PEER, THIRD))
    case.config = make_config((ME, PEER, THIRD), fence={"max_per_hour": 1})
    for name in (PEER, THIRD):
        case.silent(name, seconds=100, verdict="failed")
        case.point(name, "eni-" + ME)
        case.tag(name, fence="nat-a:stop")
    planned = [(step.step, step.peer) for step in case.decide().fence]
    assert ("stop", PEER) in planned and ("stop", THIRD) not in planned


REFUSED = "EC2 refused (UnsupportedOperation)"


@pytest.mark.parametrize(
    ("policy", "refused", "expected"),
    [
        ("stop_start", (), ["stop"]),
        ("stop_start", ("stop",), ["reboot"]),
        ("stop_start", ("reboot",), ["stop"]),
        ("stop_start", ("force_stop",), ["stop"]),
        ("reboot", (), ["reboot"]),
        ("reboot", ("stop",), ["reboot"]),
    ],
)
def test_the_fall_back_of_the_policy_is_taken(policy, refused, expected):
    case = dead(since=NOW - 60)
    case.config = make_config(fence={"policy": policy})
    case.refused = {(step, case.instances[PEER].instance_id): REFUSED for step in refused}
    assert steps(case) == ["mark"]
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == expected


@pytest.mark.parametrize(("policy", "refused"), [("stop_start", ("stop", "reboot")), ("reboot", ("reboot",))])
def test_a_peer_on_which_ec2_takes_no_step_is_not_marked_and_loses_its_mark(policy, refused):
    case = dead(since=NOW - 60)
    case.config = make_config(fence={"policy": policy})
    case.refused = {(step, case.instances[PEER].instance_id): REFUSED for step in refused}
    assert steps(case) == []
    assert REFUSED in fence_objections.objection(fence_case(case))
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["unmark"]


def test_a_stop_that_ec2_refused_spends_nothing_and_the_reboot_in_its_place_does():
    case = dead(since=NOW - 60)
    case.config = make_config(fence={"max_per_hour": 1})
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"]
    case.refused = {("stop", case.instances[PEER].instance_id): REFUSED}
    assert steps(case) == ["reboot"]
    assert fence_objections.spent(case.memory, case.now) == 1


def test_the_refusal_of_another_instance_counts_for_nothing():
    case = dead(since=NOW - 60)
    case.refused = {("stop", "i-00000099"): REFUSED}
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"]


def test_a_stop_that_cannot_be_forced_is_waited_for():
    case = dead(fence_stage="stop", fence_at=NOW - 200)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    case.refused = {("force_stop", case.instances[PEER].instance_id): REFUSED}
    case.decide()
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], fence_at=NOW - 121)})
    assert steps(case) == []
