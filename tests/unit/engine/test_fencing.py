# SPDX-License-Identifier: GPL-3.0-or-later
"""When a peer is stopped and started, and every objection to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import (
    ACTIVE,
    DRAINED,
    DRAINING,
    STOPPING,
    Node,
)
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.memory import Memory
from nat_failover.policy import decide as policy
from nat_failover.policy import fence_steps

from .policy_case import (
    INTERRUPTED,
    ME,
    NOW,
    PEER,
    THIRD,
    Case,
    dead,
    heard,
    make_config,
    routes,
    steps,
)


@pytest.mark.parametrize("last", [Report(DRAINING, True, "spot interruption"), Report(DRAINING, True), INTERRUPTED])
def test_a_peer_that_announced_its_end_is_adopted_from_and_never_fenced(last):
    case = Case()
    case.silent(seconds=3600)
    case.heard[PEER] = replace(case.heard[PEER], report=last)
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == ()
    case.point(PEER, "eni-" + ME)
    assert case.decide().fence == ()


def test_a_fence_is_marked_read_back_stopped_started_and_forgotten():
    case = dead()
    assert steps(case) == ["mark"]
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"]
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == []
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]
    case.instances[PEER] = replace(case.instances[PEER], state="running")
    case.tag(PEER, fence="nat-a:started")
    assert steps(case) == [], "it boots: no second fence"
    case.heard[PEER] = heard(boot_id="new")
    assert steps(case) == ["unmark"]
    case.tag(PEER)
    assert steps(case) == [] and case.memory.peers[PEER].fence_stage == ""


def test_an_instance_stopped_by_another_hand_has_its_time_to_stop():
    case = dead()
    assert steps(case) == ["mark"]
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == [], "a stop is not forced before it has had its time"


def test_a_node_that_boots_is_not_fenced_for_the_time_it_was_off():
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == []
    case.instances[PEER] = replace(case.instances[PEER], state="running")
    assert steps(case) == [], "EC2 says running long before a machine has booted"
    case.heard[PEER] = heard(boot_id="new")
    assert steps(case) == [] and case.memory.peers[PEER].seen_healthy


def test_a_mark_that_could_not_be_written_is_tried_again():
    case = dead()
    assert steps(case) == steps(case) == ["mark"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case.silent(seconds=20, verdict="failed"),
        lambda case: case.silent(seconds=100, verdict="failed", flare_at=NOW - 25),
        lambda case: case.silent(seconds=100, verdict="failed", took_own_claim_at=NOW - 25),
        lambda case: case.silent(seconds=100, verdict="failed", seen_healthy=False),
        lambda case: case.heard.update({PEER: replace(case.heard[PEER], report=Report(DRAINED, True))}),
        lambda case: case.heard.update({PEER: replace(case.heard[PEER], report=Report(STOPPING, True))}),
        lambda case: case.tag(PEER, maintenance="kernel"),
        lambda case: case.tag(PEER, drained="operator"),
        lambda case: case.tag(ME, fence="nat-b:stop"),
        lambda case: case.point(PEER, "eni-" + PEER),
        lambda case: setattr(case, "tables_at", None),
        lambda case: setattr(case, "tables_at", NOW - 60),
        lambda case: case.instances.update({PEER: replace(case.instances[PEER], state="stopping")}),
        lambda case: case.instances.update({PEER: replace(case.instances[PEER], state="terminated")}),
        lambda case: case.instances.update({PEER: replace(case.instances[PEER], read_at=NOW - 60)}),
        lambda case: setattr(case, "memory", replace(case.memory, fences=(NOW - 100, NOW - 200))),
        lambda case: setattr(case, "memory", replace(case.memory, awake_since=NOW - 20)),
        lambda case: setattr(case, "memory", replace(case.memory, paused_at=NOW - 20)),
        lambda case: setattr(case, "me", replace(case.me, internet=False)),
        lambda case: setattr(case, "config", make_config(mode="route")),
        lambda case: setattr(case, "config", make_config(fence={"policy": "none"})),
    ],
)
def test_each_objection_alone_prevents_a_fence(spoil):
    case = dead()
    spoil(case)
    assert steps(case) == []


@pytest.mark.parametrize(("seconds", "expected"), [(40, []), (50, ["mark"])])
def test_the_lower_rank_waits_longer(seconds, expected):
    case = dead()
    first = Node("a-first", "i-00000009", ())
    case.config = replace(case.config, nodes=(*case.config.nodes, first))
    case.heard["a-first"] = heard()
    case.silent(seconds=seconds, verdict="failed")
    assert (case.config.rank(ME), steps(case)) == (1, expected)


def test_a_peer_that_comes_back_before_the_stop_is_spared():
    case = dead()
    case.tag(PEER, fence="nat-a:stop")
    case.heard[PEER] = heard()
    assert steps(case) == [], "a stop may be under way already: wait until EC2 surely shows it"
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], since=NOW - 11)})
    assert steps(case) == ["unmark"]


def test_an_order_takes_the_place_of_the_verdict_and_of_nothing_else():
    case = Case()
    case.point(PEER, "eni-" + ME)
    case.heard[PEER] = heard(report=Report(ACTIVE, False, "ip_forward=0"))
    assert case.verdict() == "sick" and steps(case) == []
    case.fence_ordered = {PEER: "ordered by alice: it hangs"}
    assert [step.reason for step in case.decide().fence] == [
        "mark nat-b: ordered by alice: it hangs; the mark comes before the stop"
    ]
    case.tag(PEER, maintenance="disk")
    assert steps(case) == []
    case.tag(PEER)
    case.heard[PEER] = heard()
    assert case.verdict() == "healthy" and steps(case) == [], "a peer that is well is not fenced on any order"


def test_the_mark_stays_while_a_stop_may_be_under_way():
    """Also where no verdict has changed since: an objection came up, or an order has ended."""
    case = dead()
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"]
    case.tag(PEER, fence="nat-a:stop", maintenance="disk")
    assert steps(case) == [], "EC2 may show the stop late; without the mark the node would stay stopped"
    peer = case.memory.peers[PEER]
    case.memory = replace(case.memory, peers={PEER: replace(peer, fence_at=NOW - fence_steps.SETTLED - 1)})
    assert steps(case) == ["unmark"]


def test_a_restarted_fencer_starts_the_node_that_it_stopped():
    case = Case()
    case.memory = Memory(awake_since=NOW - 5, last_tick=NOW - 0.05)
    case.heard[PEER] = Heard(unanswered=20)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]


def test_a_node_left_stopped_by_a_failed_fencer_is_started_by_the_next():
    case = Case((ME, PEER, THIRD))
    case.silent(PEER, seconds=100, verdict="failed")
    case.silent(THIRD, seconds=50, verdict="failed")
    case.point(PEER, "eni-" + ME)
    case.point(THIRD, "eni-" + ME)
    case.tag(PEER, fence="nat-c:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert ("start", PEER) in [(step.step, step.peer) for step in case.decide().fence]


def test_a_hanging_stop_is_forced_in_the_end():
    case = dead(fence_stage="stop", fence_at=NOW - 200)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == [], "its stopping is seen for the first time"
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], fence_at=NOW - 121)})
    assert steps(case) == ["force_stop"]


def test_fence_policy_reboot_reboots():
    case = dead()
    case.config = make_config(fence={"policy": "reboot"})
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["reboot"]


@pytest.mark.parametrize(
    ("state", "flares"), [("running", True), ("stopping", True), ("stopped", False), ("terminated", False)]
)
def test_no_flare_is_shown_to_a_machine_that_is_off(state, flares):
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], state=state)
    plan = case.decide()
    assert plan.flare is flares and (plan.watch is not None) is flares


def test_while_the_cluster_is_paused_no_silence_counts_towards_a_fence():
    case = dead()
    paused, _plan = policy.decide(case.config, case.memory, replace(case.evidence(), paused="paused by an operator"))
    case.memory = paused
    assert paused.paused_at == NOW and steps(case) == []


def test_a_fence_names_the_instance_that_ec2_shows():
    case = Case()
    case.instances[PEER] = replace(case.instances[PEER], instance_id="i-00000009")
    case.memory = replace(case.memory, machines={PEER: ("i-00000009", "eni-nat-b")})
    case.decide()
    case.silent(seconds=100)
    case.point(PEER, "eni-nat-a")
    [step] = case.decide().fence
    assert (step.step, step.instance_id) == ("mark", "i-00000009")


def test_a_node_without_an_instance_is_not_fenced():
    case = Case()
    case.silent(seconds=100)
    case.point(PEER, "eni-nat-a")
    case.instances[PEER] = replace(case.instances[PEER], instance_id="")
    assert case.decide().fence == ()


def test_no_fence_rests_on_a_reading_of_the_instance_that_is_ten_seconds_old():
    """A flare or a tag of the last seconds would be overlooked (L3)."""
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - 10)
    assert steps(case) == []
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - 6)
    assert steps(case) == ["mark"]


def test_a_restarted_fencer_keeps_its_mark_until_ec2_surely_shows_the_stop():
    """Without the mark, a node that is still being stopped would stay stopped."""
    case = dead()
    case.tag(PEER, fence="nat-a:stop")
    case.heard[PEER] = heard()
    healthy = replace(case.memory.peers[PEER], verdict="healthy", since=NOW - 60)
    case.memory = replace(case.memory, awake_since=NOW - 3, peers={PEER: healthy})
    assert steps(case) == []
    case.memory = replace(case.memory, awake_since=NOW - 11)
    assert steps(case) == ["unmark"]
