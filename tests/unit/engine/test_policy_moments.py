# SPDX-License-Identifier: GPL-3.0-or-later
"""The moments at which the policy changes its mind: just before, exactly then, just after.

Times are multiples of 1/8 second where a moment must be met exactly, which binary fractions can.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.policy import fencing, ownership, pause, probe_plan, verdict
from nat_failover.policy.case import Case as PolicyCase

from . import policy_case, test_fence_lock
from .policy_case import ME, NOW, PEER, THIRD, Case, dead, heard, routes, steps

A_BIT = 0.125
SILENT_AFTER, INTERVAL = 0.5, 0.125
LATE = 1.5 * INTERVAL


def exact(names=(ME, PEER), **changes):
    """A case with a heartbeat every 1/8 s and silence after 1/2 s."""
    case = Case(names, **changes)
    heartbeat = replace(case.config.heartbeat, interval=INTERVAL, silent_after=SILENT_AFTER)
    case.config = replace(case.config, heartbeat=heartbeat)
    return case


def about(case):
    """The evidence and the memory of a case as the policy gets them, without a decision before."""
    return PolicyCase.of(case.config, case.memory, case.evidence())


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


# --- readings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read", "refresh"), [(0.0, None), (A_BIT, NOW - 1.0)])
def test_evidence_from_the_moment_of_the_suspicion_is_young_enough(read, refresh):
    case = Case()
    case.silent(seconds=1.0, suspected_at=NOW - 1.0)
    case.heard[PEER] = heard(ago=1.25, unanswered=40)
    at = NOW - 1.0 - read
    case.me = replace(case.me, internet_at=NOW - 1.0, ec2_at=NOW - 1.0)
    case.routes = {claim: replace(view, read_at=at) for claim, view in case.routes.items()}
    assert probe_plan.must_refresh(about(case)) == refresh


@pytest.mark.parametrize(("ago", "pace"), [(0.75, A_BIT), (0.875, A_BIT), (1.0, 1.0), (3.0, 1.0), (9.0, 1.0)])
def test_ec2_is_read_often_until_twice_silent_after_and_then_each_second(ago, pace):
    case = exact()
    case.silent(seconds=ago, suspected_at=NOW - ago)
    assert probe_plan.watch(about(case)) == pace


@pytest.mark.parametrize(("ago", "pace"), [(1.375, 0.02), (1.5, INTERVAL), (1.75, INTERVAL), (2.5, INTERVAL)])
def test_a_burst_of_probes_ends_after_three_times_silent_after(ago, pace):
    case = exact()
    case.silent(seconds=ago, suspected_at=NOW - ago)
    assert probe_plan.probes(about(case)) == {PEER: pace}


# --- claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "returns"), [(29.875, []), (30.0, [("return", ME)])])
def test_a_claim_returns_when_forwarding_is_proven_for_exactly_as_long_as_asked(ago, returns):
    case = Case()
    case.point(ME, "eni-" + PEER)
    case.memory = replace(case.memory, fit_since=NOW - ago)
    assert routes(case.decide()) == returns


@pytest.mark.parametrize(
    ("since", "state", "adopts"), [(60, "stopped", False), (61, "stopped", True), (61, "running", False)]
)
def test_claims_of_an_unmanaged_peer_move_when_ec2_shows_it_as_gone_for_a_minute(since, state, adopts):
    case = Case()
    assert case.config.unmanaged_after == 60
    case.silent(seconds=since, verdict="unmanaged", since=NOW - since)
    case.heard[PEER] = heard(ago=since, icmp_ago=0.1)
    case.instances[PEER] = replace(case.instances[PEER], state=state)
    assert routes(case.decide()) == ([("adopt", PEER)] if adopts else [])


@pytest.mark.parametrize(("ago", "flaps"), [(1800.0, 1), (1800.125, 0)])
def test_flaps_are_forgotten_after_the_longest_wait_for_a_return(ago, flaps):
    case = Case()
    assert case.config.returns.maximum == 1800
    case.decide()
    case.memory = replace(case.memory, flaps=1, returned_at=NOW - ago)
    case.decide()
    assert case.memory.flaps == flaps


@pytest.mark.parametrize(("flaps", "seconds"), [(0, 30), (1, 60), (5, 960), (6, 1800), (1000, 1800)])
def test_each_flap_doubles_the_wait_up_to_the_longest(flaps, seconds):
    case = Case()
    assert ownership.return_after(case.config, replace(case.memory, flaps=flaps)) == seconds


@pytest.mark.parametrize(("frozen", "adopts"), [(0.3125, True), (0.5, False)])
def test_a_gap_of_half_of_silent_after_between_two_ticks_is_no_freeze(frozen, adopts):
    case = exact()
    case.silent(seconds=2.0, verdict="failed", since=NOW - 1.0)
    case.memory = replace(case.memory, last_tick=NOW - frozen + 0.0625)
    assert routes(case.decide()) == ([("adopt", PEER)] if adopts else [])


# --- fences ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "expected"), [(29.875, []), (30.0, ["mark"])])
def test_a_fence_begins_when_the_silence_is_exactly_long_enough(ago, expected):
    case = dead()
    assert (case.config.fence.after, case.config.rank(ME)) == (30, 0)
    case.silent(seconds=ago + 0.5, suspected_at=NOW - ago, verdict="failed")
    assert steps(case) == expected


@pytest.mark.parametrize(("ago", "expected"), [(3599.5, []), (3600.0, ["mark"]), (3600.5, ["mark"])])
def test_the_budget_of_fences_is_that_of_the_last_hour(ago, expected):
    case = dead()
    assert case.config.fence.max_per_hour == 2
    case.memory = replace(case.memory, fences=(NOW - ago, NOW - ago))
    assert steps(case) == expected


def test_fences_of_more_than_an_hour_ago_are_forgotten():
    case = Case()
    case.now = 9000.0
    case.memory = replace(case.memory, fences=(5399.0, 5400.0, 5401.0, 8990.0))
    memory, _steps = fencing.plan(about(case))
    assert memory.fences == (5401.0, 8990.0)


@pytest.mark.parametrize(("ago", "expected"), [(11.875, ["mark"]), (12.0, ["mark"]), (12.125, [])])
def test_a_fence_rests_on_a_list_of_tables_that_is_two_polls_and_a_call_old_at_most(ago, expected):
    case = dead()
    assert (case.config.ec2.poll, case.config.ec2.read_timeout) == (5, 2)
    case.tables_at = NOW - ago
    assert steps(case) == expected


@pytest.mark.parametrize(("ago", "expected"), [(7.0, ["mark"]), (7.125, [])])
def test_a_fence_rests_on_a_reading_of_the_flare_that_is_a_poll_and_a_call_old_at_most(ago, expected):
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - ago)
    assert steps(case) == expected


@pytest.mark.parametrize(("ago", "expected"), [(10.0, []), (10.125, ["unmark"])])
def test_a_mark_of_a_stop_stays_until_ec2_surely_shows_the_stop(ago, expected):
    case = Case()
    case.tag(PEER, fence="nat-a:stop")
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], since=NOW - ago)})
    assert steps(case) == expected


@pytest.mark.parametrize("beyond", [0.0, A_BIT])
def test_a_stop_is_forced_after_the_time_of_a_stop_and_not_at_it(beyond):
    case = dead()
    limit = case.config.fence.stop_timeout
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    case.tag(PEER, fence="nat-a:stop")
    stopped = replace(case.memory.peers[PEER], fence_stage="stopped", fence_at=NOW - limit - beyond)
    case.memory = replace(case.memory, peers={PEER: stopped})
    assert steps(case) == (["force_stop"] if beyond else [])


# --- pause -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beyond", "pauses"), [(0, True), (1, False)])
def test_a_pause_of_seven_days_by_a_clock_that_is_an_hour_ahead_is_the_longest(beyond, pauses):
    now, case = 1_800_000_000.0, Case()
    until = now + 7 * 86400 + 3600 + beyond
    case.tag(PEER, pause=pause.value(until))
    assert bool(pause.paused(case.instances, now)) == pauses
    assert bool(pause.ignored(case.instances, now)) == (not pauses)


@pytest.mark.parametrize(("left", "pauses"), [(1, True), (0, False)])
def test_a_pause_is_over_at_its_end(left, pauses):
    now, case = 1_800_000_000.0, Case()
    case.tag(PEER, pause=pause.value(now + left))
    assert bool(pause.paused(case.instances, now)) == pauses
    assert pause.ignored(case.instances, now) == {}


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


@pytest.mark.parametrize(("awake", "reason"), [(0.375, ""), (0.5, "does not forward")])
def test_claims_need_an_heir_only_when_this_node_is_awake_for_silent_after(awake, reason):
    case = exact()
    sick = replace(case.memory.peers[PEER], verdict="sick")
    case.memory = replace(case.memory, awake_since=NOW - awake, peers={PEER: sick})
    assert ownership.vacancy_reason(about(case).peer(PEER)) == reason


@pytest.mark.parametrize(("ago", "flaps"), [(1799.875, 1), (1800.0, 0)])
def test_a_loss_counts_as_a_flap_until_the_longest_wait_after_the_return(ago, flaps):
    case = Case()
    assert case.config.returns.maximum == 1800
    case.decide()
    case.memory = replace(case.memory, returned_at=NOW - ago)
    case.point(ME, "eni-" + PEER)
    case.decide()
    assert case.memory.flaps == flaps


@pytest.mark.parametrize(("changes", "refresh"), [({}, None), ({"verdict": "sick"}, NOW - 0.5)])
def test_claims_of_a_sick_peer_rest_on_evidence_that_is_younger_than_its_fault(changes, refresh):
    case = Case()
    peer = replace(case.memory.peers[PEER], since=NOW - 0.5, **changes)
    case.memory = replace(case.memory, peers={PEER: peer})
    case.heard[PEER] = heard(ago=0.05, icmp_ago=0.25)
    case.routes = {claim: replace(view, read_at=NOW - 1) for claim, view in case.routes.items()}
    assert probe_plan.must_refresh(about(case)) == refresh


def test_an_answer_to_icmp_makes_no_evidence_too_old():
    case = Case()
    case.silent(seconds=60, verdict="unmanaged", suspected_at=NOW - 5)
    case.heard[PEER] = heard(ago=60, icmp_ago=0.1)
    case.routes = {claim: replace(view, read_at=NOW - 6) for claim, view in case.routes.items()}
    assert probe_plan.must_refresh(about(case)) == NOW - 5


def test_the_budget_counts_fences_by_their_age_however_long_the_node_is_up(monkeypatch):
    monkeypatch.setattr(policy_case, "NOW", 90_000.0)
    case = policy_case.dead()
    assert steps(case) == ["mark"]
    case = policy_case.dead()
    case.memory = replace(case.memory, fences=(89_800.0, 89_900.0))
    assert steps(case) == []


@pytest.mark.parametrize(("ago", "returns"), [(3.0, [("return", ME)]), (3.125, [])])
def test_a_return_rests_on_a_reading_as_old_as_a_call_may_take(ago, returns):
    case = Case()
    assert case.config.ec2.connect_timeout + case.config.ec2.read_timeout == 3
    case.point(ME, "eni-" + PEER)
    claim = case.claim(ME)
    case.routes[claim] = replace(case.routes[claim], read_at=NOW - ago)
    assert routes(case.decide()) == returns


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("1", 1), ("7d", 604800)])
def test_a_pause_is_as_short_or_long_as_an_operator_says(text, seconds):
    assert pause.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "604801", "8d"])
def test_a_pause_of_no_time_or_of_more_than_seven_days_is_refused(text):
    with pytest.raises(NatFailoverError, match="choose up to 7 days"):
        pause.seconds(text)


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


@pytest.mark.parametrize(("ago", "expected"), [(9.875, []), (10.0, ["unlock"])])
def test_the_fence_lock_is_kept_until_ec2_surely_shows_the_stop(ago, expected):
    case = test_fence_lock.dead(test_fence_lock.MINE, fence_stage="stopped", fence_at=NOW - ago)
    assert steps(case) == expected
