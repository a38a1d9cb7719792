# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of a fence, its marks, its budget and its lock, in the units of the documentation: on each side of every bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.evidence import VALID, Lock, Sign, WitnessView
from nat_failover.policy import fence_lock, fence_objections
from nat_failover.policy.marks import STARTED, STOP

from .policy_case import ME, NOW, PEER, WALL_TIME, Case, fence_case
from .test_marks import THIRD, WHERE, mark, trio

# --- marks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "void"), [(7200, ""), (7201, "is 2 hours old"), (10799, "is 2 hours old")])
def test_the_mark_of_a_present_fence_is_two_hours_old_at_most(age, void):
    case = trio()
    case.tag(PEER, raw_fence=mark(at=WALL_TIME - age))
    plan = case.decide()
    assert void in plan.drift.get(WHERE, "") and bool(plan.drift) == bool(void)
    assert bool(plan.fence) == bool(void)


@pytest.mark.parametrize(("ahead", "void"), [(3600, False), (3601, True)])
def test_a_mark_by_a_clock_that_is_an_hour_ahead_counts(ahead, void):
    case = trio()
    case.tag(PEER, raw_fence=mark(at=WALL_TIME + ahead))
    assert (WHERE in case.decide().drift) == void


def test_a_void_mark_is_told_with_its_first_48_characters():
    case = trio()
    case.tag(PEER, raw_fence="m" * 60)
    assert f"={'m' * 48!r} of" in case.decide().drift[WHERE]


@pytest.mark.parametrize(("beyond", "expected"), [(0.0, []), (0.125, ["mark"])])
def test_the_mark_of_a_failed_fencer_is_left_alone_for_as_long_as_a_stop_may_take(beyond, expected):
    case = _marked_by_a_failed_node(beyond)
    assert [step.step for step in case.decide().fence if step.peer == PEER] == expected


def test_a_mark_in_the_place_of_another_says_for_how_long_nothing_was_stopped():
    case = _marked_by_a_failed_node(1.0)
    [reason] = [step.reason for step in case.decide().fence if step.peer == PEER]
    assert f"marked it {case.config.fence.stop_timeout + 1:.0f} s ago, stopped nothing" in reason


def test_a_mark_that_counts_hides_none_that_is_void():
    case = trio()
    case.tag(PEER, fence=f"{ME}:{STOP}")
    case.tag(THIRD, raw_fence="x")
    assert list(case.decide().drift) == [WHERE.replace(PEER, THIRD)]


def test_a_peer_that_this_node_has_started_is_not_marked_again():
    case = _marked_by_a_failed_node(1.0)
    peer = replace(case.memory.peers[PEER], fence_stage=STARTED)
    case.memory = replace(case.memory, peers={**case.memory.peers, PEER: peer})
    assert [step.step for step in case.decide().fence if step.peer == PEER] == []


def _marked_by_a_failed_node(beyond):
    case = trio()
    case.silent(THIRD, seconds=100, verdict="failed")
    case.point(THIRD, "eni-" + ME)
    case.tag(PEER, fence=f"{THIRD}:{STOP}")
    case.decide()
    since = NOW - case.config.fence.stop_timeout - beyond
    seen = {key: each._replace(since=since) for key, each in case.memory.seen.items()}
    peer = replace(case.memory.peers[PEER], fence_stage="")
    case.memory = replace(case.memory, seen=seen, peers={**case.memory.peers, PEER: peer})
    return case


# --- the budget of fences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spent", "expected"), [(0, ["mark"]), (1, [])])
def test_another_peer_that_this_node_has_marked_takes_one_fence_from_the_budget(spent, expected):
    case = _two_dead((NOW - 100,) * spent)
    case.tag(THIRD, fence=f"{ME}:{STOP}")
    assert [step.step for step in case.decide().fence if step.peer == PEER] == expected


def test_a_fence_of_exactly_an_hour_ago_is_out_of_the_budget():
    case = Case()
    case.memory = replace(case.memory, fences=(NOW - 3600.0, NOW - 3599.875))
    assert fence_objections.spent(case.memory, NOW) == 1


@pytest.mark.parametrize(("at", "holds"), [(NOW - 300, False), (NOW - 400, True)])
def test_a_stop_that_is_repeated_is_not_counted_twice_and_any_other_is(at, holds):
    """``at``: of the stop of this peer. The budget of two is spent, by that stop or by others."""
    case = Case()
    peer = replace(case.memory.peers[PEER], verdict="failed", fence_stage="stop", fence_at=at)
    case.memory = replace(case.memory, fences=(NOW - 200, NOW - 300), peers={PEER: peer})
    [found] = [holds for holds, text in fence_objections.objections(fence_case(case)) if "the budget of 2" in text]
    assert found == holds


def test_of_several_refusals_that_of_the_preferred_step_is_told():
    case = Case()
    instance = case.instances[PEER].instance_id
    case.refused = {("stop", instance): "stop protection", ("reboot", instance): "no permission"}
    texts = [text for holds, text in fence_objections.objections(fence_case(case)) if holds]
    assert "EC2 refuses it for good: stop protection" in texts


def test_a_peer_that_another_node_has_marked_takes_nothing_from_the_budget():
    case = _two_dead((NOW - 100,))
    case.tag(THIRD, fence=f"{PEER}:{STOP}")
    assert [step.step for step in case.decide().fence if step.peer == PEER] == ["mark"]


def _two_dead(fences):
    case = trio()
    assert case.config.fence.max_per_hour == 2
    case.silent(THIRD, seconds=100, verdict="failed")
    case.point(THIRD, "eni-" + ME)
    peers = {name: replace(peer, fence_stage="") for name, peer in case.memory.peers.items()}
    case.memory = replace(case.memory, fences=fences, peers=peers)
    return case


@pytest.mark.parametrize(("step", "left"), [("stop", ()), ("force_stop", (NOW - 100,))])
def test_only_a_stop_that_ec2_refuses_for_good_is_given_back_to_the_budget(step, left):
    case = Case()
    peer = replace(case.memory.peers[PEER], verdict="failed", fence_stage="stop", fence_at=NOW - 100)
    case.memory = replace(case.memory, fences=(NOW - 100,), peers={PEER: peer})
    case.silent(seconds=200)
    case.refused = {(step, case.instances[PEER].instance_id): "EC2 refused (UnsupportedOperation)"}
    case.decide()
    assert case.memory.fences == left


# --- the lock --------------------------------------------------------------------------------------------------------


def _read(case, boot, number, at, peer=PEER):
    """This node reads a lock that a node has sealed."""
    value = f"{boot}:{number}:{peer}"
    lock = Lock(PEER, peer, value, None, Sign(value, boot, number, VALID))
    case.memory = fence_lock.watch(case.memory, replace(case.evidence(), witness=WitnessView({}, lock, at), now=at))
    return case.memory


def test_the_first_numbers_of_a_lock_renew_it():
    case = Case()
    assert _read(case, "b", 0, NOW).lock_since == NOW
    assert _read(case, "b", 1, NOW + 5).lock_since == NOW + 5


def test_the_first_number_of_another_run_renews_it():
    case = Case()
    _read(case, "a", 7, NOW)
    assert _read(case, "b", 0, NOW + 5).lock_since == NOW + 5


def test_a_lock_that_was_given_back_is_another_value():
    case = Case()
    _read(case, "a", 7, NOW)
    evidence = replace(case.evidence(), witness=WitnessView({}, None, NOW + 5), now=NOW + 5)
    assert fence_lock.watch(case.memory, evidence).lock_since == NOW + 5


def test_another_value_with_a_number_that_was_read_before_renews_nothing():
    case = Case()
    _read(case, "b", 7, NOW)
    assert _read(case, "b", 7, NOW + 5, ME).lock_since == NOW
    assert _read(case, "b", 6, NOW + 6).lock_since == NOW
    assert _read(case, "b", 7, NOW + 7).lock_since == NOW, "an old value is not new because a stranger wrote another"


def test_the_locks_of_sixteen_runs_are_remembered():
    case = Case()
    for run in range(17):
        _read(case, f"run {run}", 5, NOW + run)
    assert list(case.memory.lock_numbers) == [f"run {run}" for run in range(1, 17)]
    _read(case, "run 9", 6, NOW + 20)
    assert len(case.memory.lock_numbers) == 16 and case.memory.lock_numbers["run 9"] == 6


def test_a_stranger_with_seventeen_names_cannot_make_an_old_lock_new():
    case = Case()
    for run in range(16):
        _read(case, f"run {run}", 5, NOW + run)
    assert _read(case, "run 0", 5, NOW + 30, ME).lock_since == NOW + 15
