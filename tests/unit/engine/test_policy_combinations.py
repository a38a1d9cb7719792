# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of the policy that stand side by side: each of them counts by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import DRAINED
from nat_failover.model.evidence import Report
from nat_failover.policy import fence_objections, fencing, heirs, interruption
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import FINE, INTERRUPTED, ME, NOW, PEER, THIRD, Case, dead, fence_case, replaced, routes, steps


def about(case):
    """The evidence and the memory of a case as the policy gets them, without a decision before."""
    return PolicyCase.of(case.config, case.memory, case.evidence())


# --- this node -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"internet": False}, "the internet access of this node is not proven since"),
        ({"internet_at": None}, "the internet access of this node is not proven since"),
        ({"internet_at": NOW - 5}, "the internet access of this node is not proven since"),
        ({"ec2": False}, "the EC2 API has not answered this node since"),
        ({"ec2_at": None}, "the EC2 API has not answered this node since"),
        ({"ec2_at": NOW - 5}, "the EC2 API has not answered this node since"),
    ],
)
def test_a_check_that_is_bad_or_missing_or_old_makes_this_node_doubt_itself(change, words):
    case = Case()
    case.silent()
    case.me = replace(case.me, **change)
    [seen] = case.decide().verdicts
    assert seen.kind == "silent" and words in seen.evidence


def test_only_a_return_is_remembered_as_one():
    case = Case()
    case.silent()
    assert routes(case.decide()) == [("adopt", PEER)] and case.memory.returned_at is None
    case = Case()
    case.point(ME, "eni-" + PEER)
    assert routes(case.decide()) == [("return", ME)] and case.memory.returned_at == NOW


# --- instances -------------------------------------------------------------------------------------------------------


def test_another_interface_of_the_same_instance_is_remembered():
    case = Case()
    case.instances[PEER] = replace(case.instances[PEER], interface_id="eni-second")
    case.decide()
    assert case.memory.machines[PEER] == ("i-00000001", "eni-second")
    assert case.memory.peers[PEER].seen_healthy, "the instance is the same"


def test_an_interface_that_ec2_does_not_show_for_a_moment_is_not_forgotten():
    case = Case()
    case.instances[PEER] = replace(case.instances[PEER], interface_id=None)
    case.decide()
    assert case.memory.machines[PEER] == ("i-00000001", "eni-" + PEER)


def test_an_interface_that_goes_along_to_the_new_instance_is_no_former_one():
    case = Case()
    case.decide()
    case.instances[PEER] = replace(case.instances[PEER], instance_id="i-00000009")
    case.decide()
    assert case.memory.machines[PEER] == ("i-00000009", "eni-" + PEER) and case.memory.former == {}


def test_the_interface_of_a_replaced_instance_is_remembered_as_a_former_one():
    case = replaced(Case())
    case.decide()
    assert case.memory.former == {"eni-" + PEER: PEER}


# --- fences ----------------------------------------------------------------------------------------------------------


def two_peers():
    """Three nodes of which the last one died long ago, and its route is with this node."""
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=100, verdict="failed")
    case.point(THIRD, "eni-" + ME)
    return case


def test_a_healthy_peer_hides_no_dead_one_behind_it():
    assert [(step.step, step.peer) for step in two_peers().decide().fence] == [("mark", THIRD)]


@pytest.mark.parametrize("gone", ["unread", "without an instance"])
def test_a_peer_that_ec2_does_not_show_hides_no_dead_one_behind_it(gone):
    case = two_peers()
    if gone == "unread":
        del case.instances[PEER]
    else:
        case.instances[PEER] = replace(case.instances[PEER], instance_id="", state="terminated")
    assert [(step.step, step.peer) for step in case.decide().fence] == [("mark", THIRD)]


@pytest.mark.parametrize("stage", ["stop", "stopped", "started"])
def test_a_peer_that_was_fenced_in_this_incident_is_not_marked_again(stage):
    """The tag may be gone: an operator has removed it, or the reading is older than the mark."""
    case = dead(fence_stage=stage, fence_at=NOW - 60)
    assert steps(case) == []
    assert case.memory.peers[PEER].fence_stage == stage


@pytest.mark.parametrize("stage", ["stopped", "started"])
def test_a_peer_that_was_stopped_and_runs_again_is_not_stopped_a_second_time(stage):
    case = dead(fence_stage=stage, fence_at=NOW - 60)
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == []


def test_a_mark_of_a_stage_that_no_fencer_writes_counts_for_nothing():
    case = dead()
    case.tag(PEER, fence="nat-a:start")
    assert steps(case) == ["mark"], "the fence begins with a mark of its own"


def test_a_mark_stays_until_the_peer_is_healthy_and_the_tag_is_gone():
    case = Case()
    stopped = replace(case.memory.peers[PEER], fence_stage="started", fence_at=NOW - 60)
    case.memory = replace(case.memory, peers={PEER: stopped})
    case.tag(PEER, fence="nat-a:stop")
    memory, _steps = fencing.plan(about(case))
    assert memory.peers[PEER].fence_stage == "started"
    case.tag(PEER)
    memory, _steps = fencing.plan(about(case))
    assert memory.peers[PEER].fence_stage == ""


@pytest.mark.parametrize(
    ("before", "expected"), [((), ["stop"]), ((NOW - 900,), ["stop"]), ((NOW - 900, NOW - 800), ["unmark"])]
)
def test_a_mark_is_not_in_the_budget_and_its_stop_is(before, expected):
    """The budget is two fences an hour. A mark stops nothing."""
    case = dead(fence_stage="marked", fence_at=NOW - 20)
    case.memory = replace(case.memory, fences=before)
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == expected
    assert case.memory.fences == (*before, NOW)[: len(before) + ("stop" in expected)]


# --- heirs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "report", "resort"),
    [
        ("healthy", INTERRUPTED, [PEER]),
        ("healthy", Report(DRAINED, True), []),
        ("healthy", FINE, []),
        ("healthy", None, []),
        ("sick", INTERRUPTED, []),
        ("unmanaged", INTERRUPTED, []),
    ],
)
def test_only_a_healthy_peer_that_drains_for_an_interruption_is_an_heir_of_last_resort(verdict, report, resort):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], report=report)
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], verdict=verdict)})
    assert heirs.last_resort(about(case)) == resort


# --- words -----------------------------------------------------------------------------------------------------------


def test_the_text_of_an_interruption_has_at_most_150_characters():
    body = '{"action": "%s", "time": "2026-01-31T12:00:00Z"}' % ("stop" * 100)
    [found] = interruption.read({"spot": body})
    assert len(found.text) == 150 and found.text.startswith("spot interruption: stopstop")


def test_a_node_without_an_instance_hides_no_replaced_one_behind_it():
    case = Case((ME, PEER, THIRD))
    case.decide()
    case.instances[PEER] = replace(case.instances[PEER], instance_id="", state="terminated")
    case.instances[THIRD] = replace(case.instances[THIRD], instance_id="i-00000009", interface_id="eni-new")
    case.decide()
    assert case.memory.machines[THIRD] == ("i-00000009", "eni-new")
    assert case.memory.former == {"eni-" + THIRD: THIRD}


def test_only_a_stop_is_counted_as_a_fence():
    case = dead()
    assert steps(case) == ["mark"] and case.memory.fences == ()
    case.tag(PEER, fence="nat-a:stop")
    [step] = case.decide().fence
    assert step.step == "stop" and case.memory.fences == (NOW,)
    assert step.reason == "stop nat-b: it has failed, silent and without a flare for 99 s"


def test_an_objection_tells_how_old_the_reading_is():
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - 60)
    assert fence_objections.objection(fence_case(case)) == "its flare was read 60 s ago, too long ago"


def test_a_blackhole_to_a_peer_whose_service_is_dead_is_repaired():
    """An active route to such a peer stays: its NAT may live. A blackhole shows that it does not."""
    case = Case()
    case.silent(seconds=60, verdict="unmanaged")
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 0.1)
    assert case.decide().routes == ()
    case.point(PEER, "eni-" + PEER, "blackhole")
    assert routes(case.decide()) == [("mend", PEER)]


def test_a_healthy_peer_hides_no_suspect_behind_it():
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=0.5)
    plan = case.decide()
    assert plan.probe == {THIRD: 0.02} and plan.flare and plan.watch == 0.15


def test_a_metadata_category_without_content_hides_no_other():
    found = interruption.read({"spot": None, "autoscaling": "Terminated"})
    assert [each.kind for each in found] == ["autoscaling"]


def test_a_claim_that_an_operator_points_elsewhere_is_no_loss_to_a_peer():
    case = Case()
    case.decide()
    case.memory = replace(case.memory, returned_at=NOW - 60)
    case.point(ME, "nat-0a1b2c3d")
    case.decide()
    assert (case.memory.lost_at, case.memory.flaps) == (None, 0)


@pytest.mark.parametrize(
    ("fencer", "verdict", "expected"), [("nat-z", "", ["start"]), (THIRD, "healthy", []), (THIRD, "failed", ["start"])]
)
def test_a_stopped_peer_is_started_when_its_fencer_has_failed_or_is_no_node(fencer, verdict, expected):
    case = Case((ME, PEER, THIRD))
    case.silent(seconds=100, verdict="failed")
    case.point(PEER, "eni-" + ME)
    case.tag(PEER, fence=f"{fencer}:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    if verdict == "failed":
        case.silent(THIRD, seconds=100, verdict="failed")
        case.point(THIRD, "eni-" + ME)
    assert [step for step in steps(case) if step != "mark"] == expected


@pytest.mark.parametrize(
    ("target", "state", "source"),
    [("eni-nat-b", "active", "nat-b"), ("eni-gone", "blackhole", "eni-gone"), (None, "missing", "nobody")],
)
def test_a_route_action_names_the_owner_or_the_target_or_nobody(target, state, source):
    case = Case()
    case.silent()
    case.point(PEER, target, state)
    [action] = case.decide().routes
    assert f" from {source}: " in action.reason


def test_an_answer_of_imds_that_is_not_understood_is_quoted_with_sixty_characters():
    [found] = interruption.read({"rebalance": "<" + "x" * 100})
    assert found.text.endswith("ignored: <" + "x" * 59)


def test_a_route_table_that_is_not_read_any_more_is_no_loss_of_its_claim():
    case = Case()
    case.decide()
    del case.routes[case.claim(ME)]
    case.decide()
    assert (case.memory.lost_at, case.memory.flaps) == (None, 0)
    assert case.memory.peers[PEER].took_own_claim_at is None
