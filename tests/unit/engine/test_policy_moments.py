# SPDX-License-Identifier: GPL-3.0-or-later
"""The moments at which a plan changes: just before, exactly then, just after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import DRAINING
from nat_failover.model.evidence import Report
from nat_failover.policy import fencing, ownership, pause, probe_plan

from . import policy_case, test_fence_lock
from .exact_case import A_BIT, INTERVAL, about, exact
from .policy_case import ME, NOW, PEER, Case, dead, heard, routes, steps

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


def test_a_tick_without_a_decision_in_between_shows_that_there_was_no_freeze():
    case = exact()
    case.silent(seconds=2.0, verdict="failed", since=NOW - 1.0)
    case.memory = replace(case.memory, last_tick=NOW - 0.4375)
    assert routes(case.decide(awake_at=NOW - 0.25)) == [("adopt", PEER)]
    case.memory = replace(case.memory, last_tick=NOW - 0.4375)
    assert routes(case.decide(awake_at=NOW - 0.375)) == [], "the gap after it is a freeze"


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


# --- further moments -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("ago", "moves"), [(8.0, [("adopt", PEER)]), (8.125, [])])
def test_claims_of_a_node_that_hands_over_move_by_the_last_reading_and_by_no_older_one(ago, moves):
    """EC2 fails for a table. Its owner still forwards, and an operator may have edited the route meanwhile."""
    case = Case()
    ec2 = case.config.ec2
    assert ec2.poll + ec2.connect_timeout + ec2.read_timeout == 8
    case.heard[PEER] = replace(case.heard[PEER], report=Report(DRAINING, True))
    case.routes[case.claim(PEER)] = replace(case.routes[case.claim(PEER)], read_at=NOW - ago)
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], since=NOW - 500)})
    plan = case.decide()
    assert routes(plan) == moves
    assert (plan.refresh == NOW - 8) == (not moves), "one that is held back is read again, and no other"


@pytest.mark.parametrize(("before", "written"), [(0.0, True), (0.125, False)])
@pytest.mark.parametrize("kind", ["adopt", "return"])
def test_a_reading_from_before_a_freeze_of_this_node_writes_nothing_that_can_wait(kind, before, written):
    """While this node slept an operator may have edited the route, and no clock says for how long it slept (L10)."""
    case = Case(**{"return": {"after_s": 1}})
    home = PEER if kind == "adopt" else ME
    case.point(home, "eni-" + PEER)
    if kind == "adopt":
        case.heard[PEER] = replace(case.heard[PEER], report=Report(DRAINING, True))
    case.routes[case.claim(home)] = replace(case.routes[case.claim(home)], read_at=NOW - 2 - before)
    case.memory = replace(case.memory, awake_since=NOW - 2)
    plan = case.decide()
    assert routes(plan) == ([(kind, home)] if written else [])
    assert (plan.refresh == NOW - 2) != written


@pytest.mark.parametrize("verdict", ["failed", "sick"])
def test_claims_of_a_node_that_does_not_forward_do_not_wait_for_a_newer_reading(verdict):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], report=Report(DRAINING, verdict != "sick"))
    if verdict == "failed":
        case.silent(seconds=30, verdict="failed", since=NOW - 20)
    else:
        peer = replace(case.memory.peers[PEER], verdict="sick", since=NOW - 20)
        case.memory = replace(case.memory, peers={PEER: peer})
    case.routes[case.claim(PEER)] = replace(case.routes[case.claim(PEER)], read_at=NOW - 15)
    assert routes(case.decide()) == [("adopt", PEER)]


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("1", 1), ("7d", 604800)])
def test_a_pause_is_as_short_or_long_as_an_operator_says(text, seconds):
    assert pause.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "604801", "8d"])
def test_a_pause_of_no_time_or_of_more_than_seven_days_is_refused(text):
    with pytest.raises(NatFailoverError, match="choose up to 7 days"):
        pause.seconds(text)


@pytest.mark.parametrize(("ago", "expected"), [(9.875, []), (10.0, ["unlock"])])
def test_the_fence_lock_is_kept_until_ec2_surely_shows_the_stop(ago, expected):
    case = test_fence_lock.dead(test_fence_lock.MINE, fence_stage="stopped", fence_at=NOW - ago)
    assert steps(case) == expected
