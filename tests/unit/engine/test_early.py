# SPDX-License-Identifier: GPL-3.0-or-later
"""The early takeover: what it may rest on, and what it never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.evidence import Report

from .policy_case import ME, NOW, PEER, THIRD, Case, routes, steps

AGE = 5 + 1 + 2  # seconds: poll, connect and read timeout by default
BEFORE = NOW - 2.0  # before the silence


def unanswered(early=True, read_at=BEFORE, names=(ME, PEER), **silence):
    """The peer is silent, and EC2 has not answered since the silence began."""
    case = Case(names, takeover={"early": early})
    case.silent(**silence)
    case.me = replace(case.me, ec2_at=read_at)
    case.routes = {claim: replace(view, read_at=read_at) for claim, view in case.routes.items()}
    case.instances = {name: replace(view, read_at=read_at) for name, view in case.instances.items()}
    return case


def test_a_route_is_taken_before_ec2_has_answered():
    case = unanswered()
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == ()
    assert plan.verdicts[0].kind == "failed"
    assert "own forwarding and internet proven meanwhile, EC2 not read since" in plan.verdicts[0].evidence
    assert plan.flare and plan.refresh is not None, "the late reading is still asked for"


def test_without_the_setting_nothing_moves():
    case = unanswered(early=False)
    plan = case.decide()
    assert plan.verdicts[0].kind == "silent" and plan.routes == ()
    assert case.memory.peers[PEER].early_at is None


@pytest.mark.parametrize(("age", "verdict"), [(AGE, "failed"), (AGE + 0.01, "silent")])
def test_a_reading_counts_for_one_poll_and_a_call(age, verdict):
    assert unanswered(read_at=NOW - age).verdict() == verdict


@pytest.mark.parametrize("awake", [BEFORE, BEFORE + 0.01])
def test_a_reading_from_before_a_freeze_does_not_count(awake):
    case = unanswered()
    case.memory = replace(case.memory, awake_since=awake)
    assert (case.decide().routes != ()) is (awake <= BEFORE)


@pytest.mark.parametrize(
    "change", [{"internet": False}, {"internet_at": NOW - 5}, {"ec2": False}, {"forwarding": False, "fact": "x"}]
)
def test_the_own_proofs_are_needed_as_ever(change):
    case = unanswered()
    case.me = replace(case.me, **change)
    plan = case.decide()
    assert plan.verdicts[0].kind == "silent" and plan.routes == ()


def test_a_route_with_an_older_reading_waits():
    case = unanswered()
    case.routes = {claim: replace(view, read_at=NOW - AGE - 1) for claim, view in case.routes.items()}
    plan = case.decide()
    assert plan.verdicts[0].kind == "failed" and plan.routes == ()


def test_a_peer_that_ec2_has_never_shown_is_not_taken_from():
    for change in ({}, {"instance_id": ""}):
        case = unanswered()
        view = case.instances.pop(PEER)
        case.instances = {**case.instances, **({PEER: replace(view, **change)} if change else {})}
        assert case.verdict() == "silent"


def test_the_late_reading_shows_a_flare_and_ends_it():
    case = unanswered()
    case.decide()
    case.tag(PEER, flare="b:1")
    case.instances = {name: replace(view, read_at=NOW) for name, view in case.instances.items()}
    case.now = NOW + 0.1
    plan = case.decide()
    assert plan.verdicts[0].kind == "partitioned" and plan.routes == ()


def test_one_early_takeover_of_a_peer_in_the_longest_wait_for_a_return():
    case = unanswered(early_at=NOW - 1799)
    assert case.verdict() == "silent"
    case = unanswered(early_at=NOW - 1800)
    assert case.verdict() == "failed" and case.memory.peers[PEER].early_at == NOW
    case.now = NOW + 0.1
    assert case.decide().routes, "this silence has led to it: it goes on"


def test_a_spent_one_is_not_made_good_by_another_answer_of_ec2():
    """The answer to this node's own flare proves that EC2 answers, and shows nothing of the peer."""
    case = unanswered(early_at=NOW - 100)
    case.me = replace(case.me, ec2_at=NOW)
    plan = case.decide()
    assert plan.verdicts[0].kind == "failed" and plan.routes == ()


@pytest.mark.parametrize(("early", "read_at"), [(True, BEFORE), (True, NOW), (False, NOW)])
def test_a_fence_never_rests_on_a_reading_from_before_the_silence(early, read_at):
    """A peer whose service was dead for long, and whose kernel has just fallen silent, too."""
    case = unanswered(early, read_at, seconds=100, verdict="failed")
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 1.5)
    case.point(PEER, "eni-" + ME)
    assert case.instances[PEER].read_at == read_at
    assert steps(case) == ([] if read_at == BEFORE else ["mark"])


def test_without_the_setting_a_fence_rests_on_what_it_always_has():
    case = unanswered(early=False, seconds=100, verdict="failed")
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 1.5)
    case.me = replace(case.me, ec2_at=NOW)
    case.point(PEER, "eni-" + ME)
    assert steps(case) == ["mark"]


def test_a_reading_that_began_with_the_silence_is_no_early_one():
    case = unanswered()
    began = case.memory.peers[PEER].suspected_at
    case.instances = {name: replace(view, read_at=began) for name, view in case.instances.items()}
    case.me = replace(case.me, ec2_at=began)
    assert case.verdict() == "failed" and case.memory.peers[PEER].early_at is None


def test_an_early_verdict_in_the_first_moment_of_a_silence_goes_on():
    case = unanswered()
    began = case.memory.peers[PEER].suspected_at
    case.silent(early_at=began, verdict="failed")
    assert routes(case.decide()) == [("adopt", PEER)]


@pytest.mark.parametrize("report", [Report("active", False, "ip_forward=0"), Report("draining", True)])
def test_a_peer_that_is_heard_is_not_taken_from_early(report):
    case = unanswered()
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW - 0.05, report=report)
    peers = {**case.memory.peers, PEER: replace(case.memory.peers[PEER], suspected_at=None, verdict="sick", since=NOW)}
    case.memory = replace(case.memory, peers=peers)
    assert case.decide().routes == ()


def test_among_three_the_heir_takes_early_and_a_node_that_hears_nobody_waits():
    case = unanswered(names=(ME, PEER, THIRD))
    assert {v.peer: v.kind for v in case.decide().verdicts}[PEER] == "failed"
    case = unanswered(names=(ME, PEER, THIRD))
    case.silent(THIRD)
    plan = case.decide()
    assert {v.kind for v in plan.verdicts} == {"silent"} and plan.routes == ()
