# SPDX-License-Identifier: GPL-3.0-or-later
"""The moments at which a verdict changes: just before, exactly then, just after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.policy import probe_plan, verdict

from .exact_case import A_BIT, INTERVAL, LATE, SILENT_AFTER, about, exact
from .policy_case import ME, NOW, PEER, THIRD, Case, heard

# --- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "kind"), [(SILENT_AFTER - A_BIT, "healthy"), (SILENT_AFTER, "failed")])
def test_a_peer_is_heard_until_silent_after_and_no_longer(ago, kind):
    case = exact()
    case.silent(seconds=2.0)
    case.heard[PEER] = heard(ago=ago, icmp_ago=2.0, unanswered=40)
    assert case.verdict() == kind


@pytest.mark.parametrize(("ago", "kind"), [(SILENT_AFTER - A_BIT, "unmanaged"), (SILENT_AFTER, "failed")])
def test_an_answer_to_icmp_counts_until_silent_after_and_no_longer(ago, kind):
    case = exact()
    case.silent(seconds=2.0, proven_at=NOW - 1.5)
    case.heard[PEER] = heard(ago=2.0, icmp_ago=ago, unanswered=40)
    assert case.verdict() == kind


@pytest.mark.parametrize(("ago", "kind"), [(SILENT_AFTER - A_BIT, "healthy"), (SILENT_AFTER, "failed")])
def test_a_peer_that_was_silent_before_a_freeze_of_this_node_keeps_its_verdict(ago, kind):
    case = exact()
    case.silent(seconds=2.0, verdict="failed")
    case.memory = replace(case.memory, awake_since=NOW - 0.25)
    case.heard[PEER] = heard(ago=ago)
    assert case.verdict() == kind


@pytest.mark.parametrize(
    ("unanswered", "seconds", "kind"), [(7, 0.7, "healthy"), (7, 1.3, "silent"), (8, 0.7, "failed")]
)
def test_eight_probes_without_an_answer_are_enough(unanswered, seconds, kind):
    case = Case()
    case.silent(seconds=seconds, unanswered=unanswered)
    assert case.verdict() == kind


@pytest.mark.parametrize(("known_for", "suspected"), [(5.0, False), (5.125, True)])
def test_a_peer_never_heard_is_suspected_after_half_of_the_time_to_be_seen(known_for, suspected):
    case = Case()
    assert case.config.unseen_after == 10
    case.heard[PEER] = Heard()
    born = replace(case.memory.peers[PEER], verdict="unknown", born=NOW - known_for)
    case.memory = replace(case.memory, peers={PEER: born})
    case.decide()
    assert (case.memory.peers[PEER].suspected_at == NOW) == suspected


# --- signs of life and connection ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "kind"), [(9.875, "partitioned"), (10.0, "failed"), (10.5, "failed")])
def test_a_flare_counts_for_less_than_ten_seconds(ago, kind):
    case = Case()
    case.silent(seconds=25.0, flare_at=NOW - ago)
    assert case.verdict() == kind


@pytest.mark.parametrize(("before", "kind"), [(0.0, "partitioned"), (A_BIT, "failed")])
def test_a_flare_counts_from_the_last_heartbeat_on(before, kind):
    case = Case()
    case.silent(seconds=2.0)
    case.silent(seconds=2.0, flare_at=NOW - 2.0 - before)
    assert case.verdict() == kind


def test_a_flare_is_rewritten_three_times_while_it_counts_and_not_four_times():
    """Two writes in a row may fail. More writes would only cost calls of EC2."""
    assert 3 * probe_plan.FLARE_INTERVAL < verdict.FLARE_VALID < 4 * probe_plan.FLARE_INTERVAL


def three(third_ago, **third):
    """The peer is silent for 2 s, and a third node was last heard at another moment."""
    case = exact((ME, PEER, THIRD))
    case.silent(seconds=2.0)
    case.silent(THIRD, seconds=third_ago, **third)
    return case


@pytest.mark.parametrize(("ago", "kind"), [(LATE, "failed"), (LATE + 0.0625, "silent")])
def test_a_third_node_shows_a_connection_until_its_heartbeat_is_late(ago, kind):
    case = three(ago, suspected_at=None, proven_at=None)
    assert case.verdict() == kind


@pytest.mark.parametrize(("since", "kind"), [(9.875, "silent"), (10.0, "failed")])
def test_a_peer_that_failed_ten_seconds_ago_no_longer_counts_for_isolation(since, kind):
    case = three(2.0, verdict="failed", since=NOW - since)
    assert case.verdict() == kind


# --- words -----------------------------------------------------------------------------------------------------------


def test_the_evidence_of_a_verdict_tells_how_old_each_part_is():
    case = Case()
    case.silent(seconds=2.0)
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 3.0, report=Report("active", True, "a fact"))
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - 1.5)
    case.routes = {claim: RouteView("active", "eni-" + claim.home, NOW) for claim in case.config.claims}
    text = case.decide().verdicts[0].evidence
    for part in ("heartbeat 2000 ms ago", "ICMP 3000 ms ago", "40 probes unanswered", "it reports: a fact"):
        assert part in text
    assert "EC2 showed it as running 1.5 s ago" in text and "no flare seen" in text


# --- further moments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("born", "seen"), [(0.125, True), (0.0625, False)])
def test_a_heartbeat_from_the_moment_in_which_a_peer_was_first_known_is_no_proof_of_health(born, seen):
    case = Case()
    case.heard[PEER] = heard(ago=0.0625)
    fresh = replace(case.memory.peers[PEER], verdict="unknown", seen_healthy=False, born=NOW - born)
    case.memory = replace(case.memory, peers={PEER: fresh})
    assert case.verdict() == "healthy" and case.memory.peers[PEER].seen_healthy == seen


@pytest.mark.parametrize(("ago", "kind"), [(0.875, "healthy"), (1.0, "silent")])
def test_few_probes_are_an_excuse_for_twice_silent_after(ago, kind):
    case = exact()
    case.silent(seconds=ago, unanswered=7)
    assert case.verdict() == kind


@pytest.mark.parametrize(("ago", "kind"), [(29.875, "silent"), (30.0, "failed")])
def test_a_node_that_hears_no_peer_takes_itself_for_the_cause_until_a_fence_would_begin(ago, kind):
    case = exact((ME, PEER, THIRD))
    case.silent(seconds=ago)
    case.silent(THIRD, seconds=ago)
    assert case.verdict() == kind


@pytest.mark.parametrize(("ago", "pace"), [(LATE, INTERVAL), (LATE + 0.0625, 0.02)])
def test_a_peer_that_answers_icmp_falls_silent_when_one_answer_is_late(ago, pace):
    case = exact()
    case.silent(seconds=60, verdict="unmanaged")
    case.heard[PEER] = heard(ago=60, icmp_ago=ago, unanswered=1)
    assert probe_plan.probes(about(case)) == {PEER: pace}


def test_an_answer_to_icmp_makes_no_evidence_too_old():
    case = Case()
    case.silent(seconds=60, verdict="unmanaged", suspected_at=NOW - 5)
    case.heard[PEER] = heard(ago=60, icmp_ago=0.1)
    case.routes = {claim: replace(view, read_at=NOW - 6) for claim, view in case.routes.items()}
    assert probe_plan.must_refresh(about(case)) == NOW - 5


def test_evidence_of_a_peer_that_answered_icmp_is_too_old_from_half_of_the_patience_on():
    case = exact()
    case.silent(seconds=60, verdict="unmanaged", suspected_at=NOW - 5)
    case.heard[PEER] = heard(ago=60, icmp_ago=SILENT_AFTER, unanswered=9)
    case.me = replace(case.me, internet_at=NOW - 0.25)
    assert probe_plan.must_refresh(about(case)) == NOW


@pytest.mark.parametrize(("ago", "kind"), [(9.875, "unknown"), (10.0, "silent")])
def test_a_peer_never_heard_is_unknown_until_the_time_to_be_seen_is_over(ago, kind):
    case = Case()
    case.heard[PEER] = Heard(unanswered=50)
    fresh = replace(case.memory.peers[PEER], verdict="unknown", suspected_at=NOW - 4, proven_at=None)
    case.memory = replace(case.memory, awake_since=NOW - ago, peers={PEER: fresh})
    case.me = replace(case.me, internet=False)
    assert case.verdict() == kind


@pytest.mark.parametrize(("ago", "kind"), [(0.125, "silent"), (0.25, "failed")])
def test_the_peer_has_two_heartbeats_of_time_after_the_proof(ago, kind):
    case = exact()
    case.silent(seconds=1.0, suspected_at=NOW - 0.5, proven_at=NOW - ago)
    assert case.verdict() == kind


@pytest.mark.parametrize(("late", "kind"), [(0.5, "failed"), (0.625, "silent")])
def test_a_proof_after_more_than_silent_after_gives_the_peer_more_time(late, kind):
    case = exact()
    case.silent(seconds=2.0, suspected_at=NOW - 1.25, proven_at=NOW - 1.25 + late)
    assert case.verdict() == kind


@pytest.mark.parametrize("check", ["internet_at", "ec2_at"])
@pytest.mark.parametrize(("before", "kind"), [(0.0, "failed"), (A_BIT, "silent")])
def test_a_check_of_this_node_at_the_begin_of_the_silence_is_young_enough(check, before, kind):
    case = exact()
    case.silent(seconds=2.0, suspected_at=NOW - 1.5, proven_at=NOW - 1.25)
    case.me = replace(case.me, **{"internet_at": NOW, "ec2_at": NOW, check: NOW - 1.5 - before})
    assert case.verdict() == kind


@pytest.mark.parametrize(("before", "kind"), [(0.0, "failed"), (A_BIT, "unmanaged")])
def test_the_proof_for_a_silence_of_icmp_is_from_its_second_half(before, kind):
    case = exact()
    case.silent(seconds=60, verdict="unmanaged", suspected_at=NOW - 59.0, proven_at=NOW - 58.75)
    case.heard[PEER] = heard(ago=60, icmp_ago=2 * SILENT_AFTER, unanswered=40)
    case.me = replace(case.me, internet_at=NOW - SILENT_AFTER - before)
    assert case.verdict() == kind


@pytest.mark.parametrize("change", [{"internet": False}, {"internet_at": NOW - 5}])
def test_access_that_fails_or_was_checked_before_the_silence_is_no_proof(change):
    case = Case()
    case.silent(proven_at=None)
    case.me = replace(case.me, **change)
    case.decide()
    assert case.memory.peers[PEER].proven_at is None


def test_a_sign_of_life_is_told_with_its_age():
    case = Case()
    case.silent(seconds=25.0, flare_at=NOW - 1.5)
    assert "its flare changed 1.5 s ago" in case.decide().verdicts[0].evidence


def test_access_that_is_proven_at_the_begin_of_the_silence_counts():
    case = Case()
    case.silent(seconds=2.0, suspected_at=NOW - 1.5, proven_at=None)
    case.me = replace(case.me, internet_at=NOW - 1.5)
    case.decide()
    assert case.memory.peers[PEER].proven_at == NOW


@pytest.mark.parametrize(("before", "kind"), [(0.0, "partitioned"), (A_BIT, "silent")])
def test_the_view_of_a_third_node_counts_if_it_came_within_silent_after(before, kind):
    case = exact((ME, PEER, THIRD))
    case.silent(seconds=2.0)
    case.heard[THIRD] = heard(ago=SILENT_AFTER + before, report=Report("active", True, "", {PEER: "healthy"}))
    assert case.verdict() == kind
