# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a peer: which evidence leads to which verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import (
    WITNESS,
)
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.memory import Memory, PeerMemory

from .policy_case import (
    FINE,
    ME,
    NOW,
    PEER,
    THIRD,
    Case,
    routes,
)


def test_the_first_late_heartbeat_starts_probes_and_a_flare():
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW - 0.2)
    case.me = replace(case.me, internet_at=NOW - 1)
    plan = case.decide()
    assert plan.probe == {PEER: 0.02} and plan.flare and plan.refresh == NOW and plan.watch == 0.15
    assert plan.verdicts[0].kind == "healthy" and plan.routes == ()


def test_silence_with_all_evidence_is_a_failure():
    case = Case()
    case.silent()
    plan = case.decide()
    assert plan.verdicts[0].kind == "failed"
    assert routes(plan) == [("adopt", PEER)]
    assert plan.fence == (), "the route is taken long before anything is stopped"
    assert "40 probes unanswered" in plan.verdicts[0].evidence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"internet": False}, "internet access"),
        ({"internet_at": NOW - 5}, "internet access"),
        ({"ec2": False}, "EC2 API"),
        ({"ec2_at": NOW - 5}, "EC2 API"),
        ({"forwarding": False, "fact": "ip_forward=0"}, "ip_forward=0"),
    ],
)
def test_a_node_without_proof_of_its_own_access_takes_itself_for_the_cause(change, words):
    case = Case()
    case.silent(proven_at=None)
    case.me = replace(case.me, **change)
    plan = case.decide()
    assert plan.verdicts[0].kind == "silent" and words in plan.verdicts[0].evidence
    assert plan.routes == ()


def test_access_proven_only_just_now_gives_the_peer_time_to_be_heard():
    case = Case()
    case.silent(seconds=3.0, proven_at=NOW - 0.1)
    assert case.verdict() == "silent"


def test_access_proven_late_gives_the_peer_twice_the_time_of_a_silence():
    case = Case()
    case.silent(seconds=5.0, proven_at=NOW - 0.5)
    assert case.verdict() == "silent", "I may have been cut off for more than four seconds"
    case.silent(seconds=5.0, proven_at=NOW - 1.3)
    assert case.verdict() == "failed"


def test_probes_that_did_not_leave_prove_nothing():
    case = Case()
    case.silent(seconds=3.0, unanswered=2)
    assert case.verdict() == "silent"


@pytest.mark.parametrize("memory", [{"flare_at": NOW - 2}, {"took_own_claim_at": NOW - 2}])
def test_a_sign_of_life_elsewhere_makes_it_a_partition(memory):
    case = Case()
    case.silent(seconds=3.0, **memory)
    plan = case.decide()
    assert plan.verdicts[0].kind == "partitioned" and plan.routes == ()


def test_a_claim_taken_before_the_last_heartbeat_is_no_sign_of_life():
    case = Case()
    case.silent(took_own_claim_at=NOW - 2)
    assert case.verdict() == "failed", "it lived two seconds ago, but it was heard later than that"


def test_a_flare_counts_when_it_changes_not_when_it_is_there():
    case = Case()
    case.tag(PEER, flare="old:1")
    case.silent(flare_baseline="old:1")
    assert case.verdict() == "failed"
    case.tag(PEER, flare="old:2")
    assert case.verdict() == "partitioned"


@pytest.mark.parametrize(
    ("flare", "verdict"), [("b:6", "failed"), ("b:7", "failed"), ("b:8", "partitioned"), ("other:7", "partitioned")]
)
def test_a_flare_begun_before_the_last_heartbeat_is_no_sign_of_life(flare, verdict):
    case = Case()
    case.silent(flare_baseline="b:5")
    case.heard[PEER] = replace(case.heard[PEER], report=replace(FINE, signs=7))
    case.tag(PEER, flare=flare)
    assert case.verdict() == verdict


def test_an_isolated_node_waits_for_a_peer_that_was_just_replaced():
    case = Case((ME, PEER, THIRD))
    case.silent(seconds=35)
    case.heard[THIRD] = Heard()
    for born, verdict in ((NOW, "silent"), (NOW - 3, "silent"), (NOW - 32, "failed")):
        peers = {**case.memory.peers, THIRD: PeerMemory("unknown", born, born=born)}
        case.memory = replace(case.memory, peers=peers)
        assert case.verdict() == verdict


def test_another_nodes_view_is_a_witness():
    case = Case((ME, PEER, THIRD))
    case.silent()
    case.heard[THIRD] = replace(case.heard[THIRD], report=replace(FINE, views={PEER: "healthy"}))
    assert case.verdict() == "partitioned"
    case.heard[THIRD] = replace(case.heard[THIRD], report=replace(FINE, views={PEER: "suspected"}))
    assert case.verdict() == "failed"


def test_the_view_of_a_silent_node_does_not_count():
    case = Case((ME, PEER, THIRD))
    case.silent(seconds=60)
    case.silent(THIRD, seconds=30, verdict="failed")
    case.heard[THIRD] = replace(case.heard[THIRD], report=replace(FINE, views={PEER: "healthy"}))
    assert case.verdict() == "failed"


def test_a_witness_that_hears_the_peer_makes_it_a_partition():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.silent()
    case.heard[THIRD] = replace(case.heard[THIRD], report=Report(WITNESS, False, "", {PEER: "healthy"}))
    plan = case.decide()
    assert {v.peer: v.kind for v in plan.verdicts} == {PEER: "partitioned", THIRD: "healthy"}
    assert plan.routes == ()


def test_a_node_that_does_not_hear_the_witness_either_waits():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.silent(PEER)
    case.silent(THIRD)
    assert {v.kind for v in case.decide().verdicts} == {"silent"}


def test_a_witness_whose_service_is_dead_holds_up_no_takeover():
    """Its kernel still answers ICMP: so this node is not cut off, and the peer that died is dead."""
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.silent(PEER)
    case.silent(THIRD, seconds=60, verdict="unmanaged")
    case.heard[THIRD] = replace(case.heard[THIRD], icmp_at=NOW - 0.1, unanswered=1)
    plan = case.decide()
    assert {v.peer: v.kind for v in plan.verdicts} == {PEER: "failed", THIRD: "unmanaged"}
    assert routes(plan) == [("adopt", PEER)]


def test_among_three_a_node_that_hears_no_peer_waits():
    case = Case((ME, PEER, THIRD))
    case.silent(PEER)
    case.silent(THIRD)
    plan = case.decide()
    assert {v.kind for v in plan.verdicts} == {"silent"} and plan.routes == ()


def test_an_isolated_node_waits_although_one_peer_was_silent_before():
    """Isolation counts from the peer heard last, not from the silence of each."""
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=60, verdict="partitioned")
    case.silent(PEER)
    plan = case.decide()
    assert {v.kind for v in plan.verdicts} == {"silent"} and plan.routes == ()


def test_a_peer_replaced_at_this_moment_still_counts_for_isolation():
    case = Case((ME, PEER, THIRD))
    case.silent(PEER)
    case.silent(THIRD)
    peers = {name: peer for name, peer in case.memory.peers.items() if name != THIRD}
    case.memory = replace(case.memory, peers=peers)
    assert case.verdict() == "silent"


def test_among_three_the_second_death_is_believed():
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=60, verdict="failed")
    case.silent(PEER)
    assert case.verdict() == "failed"


def test_icmp_alone_is_unmanaged_and_moves_nothing():
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW - 100, icmp_at=NOW - 0.1)
    plan = case.decide()
    assert plan.verdicts[0].kind == "unmanaged" and plan.routes == ()


def test_a_peer_whose_service_is_dead_is_probed_longer_before_it_is_silent():
    """Only ICMP is left to be heard from it: random loss must not make it a dead node (L5)."""
    case = Case()
    case.silent(seconds=60, verdict="unmanaged")
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 0.1)
    assert case.decide().probe == {PEER: 0.1}
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 0.7)
    plan = case.decide()
    assert plan.verdicts[0].kind == "unmanaged" and plan.probe == {PEER: 0.02}
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 1.3)
    assert case.verdict() == "failed"
    case.silent(seconds=60, verdict="unmanaged")
    case.heard[PEER] = replace(case.heard[PEER], icmp_at=NOW - 1.3)
    for proven in (NOW - 1.4, NOW - 1.2):  # younger than the suspicion, or than the silence, but not of its second half
        case.me = replace(case.me, internet_at=proven)
        plan = case.decide()
        assert plan.verdicts[0].kind == "unmanaged" and plan.refresh == pytest.approx(NOW - 0.7)
    case.me = replace(case.me, internet=False)
    assert case.verdict() == "silent", "it is I who is cut off"


def test_after_a_freeze_silence_counts_anew():
    case = Case()
    case.silent(seconds=30)
    case.memory = replace(case.memory, last_tick=NOW - 20)
    plan = case.decide()
    assert plan.verdicts[0].kind == "healthy" and plan.routes == ()


def test_a_peer_never_heard_is_unknown_for_a_while():
    case = Case()
    case.heard[PEER] = Heard(unanswered=50)
    case.memory = Memory(awake_since=NOW - 3)
    assert case.verdict() == "unknown"


def test_packets_queued_before_the_start_are_no_proof_of_health():
    case = Case()
    case.memory = replace(case.memory, peers={})
    assert case.verdict() == "healthy" and not case.memory.peers[PEER].seen_healthy


def test_two_intervals_pass_between_the_own_proof_and_a_failed_peer():
    """The first answer of the internet may come just before the peer's next heartbeat (L4)."""
    case = Case()
    case.silent(seconds=0.7, proven_at=NOW - 0.1)
    assert case.verdict() == "silent"
    case.silent(seconds=0.7, proven_at=NOW - 0.21)
    assert case.verdict() == "failed"


def test_a_flare_counts_for_ten_seconds():
    case = Case()
    case.silent(seconds=25.0, flare_at=NOW - 15)
    assert case.verdict() == "failed"
    case.silent(seconds=25.0, flare_at=NOW - 9)
    assert case.verdict() == "partitioned"
