# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions one by one: which evidence leads to which verdict, which verdict to which write. The simulation tries them together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
from nat_failover.model.cluster import (
    ACTIVE,
    DRAINED,
    DRAINING,
    STOPPING,
    WITNESS,
    Claim,
    Evidence,
    Heard,
    InstanceView,
    Memory,
    Node,
    PeerMemory,
    Report,
    RouteView,
    SelfCheck,
)
from nat_failover.policy import decide as policy
from nat_failover.policy import fencing

NOW = 1000.0
FINE = Report(ACTIVE, True)
ME, PEER, THIRD = "nat-a", "nat-b", "nat-c"
TABLES = {ME: "rtb-0aaaaaaa", PEER: "rtb-0bbbbbbb", THIRD: "rtb-0ccccccc"}


def make_config(names=(ME, PEER), witness="", witness_table=None, **changes):
    nodes = [
        {"name": n, "instance_id": "i-0000000%d" % i, "witness": True}
        if n == witness
        else {"name": n, "instance_id": "i-0000000%d" % i, "route_tables": [TABLES[n]]}
        for i, n in enumerate(names)
    ]
    raw = {
        "cluster": "c",
        "self": ME,
        "region": "eu-west-1",
        "nodes": nodes,
        "interface": "ens5",
        "key_file": "/k",
        "witness": witness_table or {},
        **changes,
    }
    return configuration.parse(raw)


class Case:
    """A settled cluster, and what differs from that."""

    def __init__(self, names=(ME, PEER), **changes):
        self.config = make_config(names, **changes)
        self.me = SelfCheck(True, "", NOW, True, NOW, True)
        self.heard = {n: Heard(NOW - 0.05, NOW - 0.5, FINE, "b") for n in names if n != ME}
        self.routes = {claim: RouteView("active", "eni-" + claim.home, NOW) for claim in self.config.claims}
        self.instances = {
            n: InstanceView("running", "eni-" + n, "10.0.0.1", {}, NOW, False, None, "i-0000000%d" % i)
            for i, n in enumerate(names)
        }
        peers = {n: PeerMemory("healthy", NOW - 500, "", seen_healthy=True) for n in names if n != ME}
        machines = {name: (view.instance_id, view.interface_id) for name, view in self.instances.items()}
        self.memory = Memory(NOW - 600, NOW - 0.05, peers, fit_since=NOW - 600, machines=machines)
        self.witness = None
        self.busy = ()
        self.tables_at = NOW - 1

    def claim(self, home):
        return next(claim for claim in self.config.claims if claim.home == home)

    def point(self, home, target, state="active"):
        self.routes[self.claim(home)] = RouteView(state, target, NOW)

    def silent(self, peer=PEER, seconds=0.7, unanswered=40, **memory):
        """The peer has been silent for so long, and I have proven myself meanwhile."""
        began = NOW - seconds + 0.15
        self.heard[peer] = Heard(NOW - seconds, NOW - seconds, FINE, "b", unanswered)
        changes = {"suspected_at": began, "proven_at": began + 0.05, "flare_baseline": "", **memory}
        self.memory = replace(
            self.memory, peers={**self.memory.peers, peer: replace(self.memory.peers[peer], **changes)}
        )

    def tag(self, node, **tags):
        named = {"nat-failover:" + key: value for key, value in tags.items()}
        self.instances[node] = replace(self.instances[node], tags=named)

    def evidence(self):
        return Evidence(
            NOW,
            self.me,
            self.heard,
            self.routes,
            self.instances,
            busy=frozenset(self.busy),
            witness=self.witness,
            tables_at=self.tables_at,
        )

    def decide(self):
        self.memory, plan = policy.decide(self.config, self.memory, self.evidence())
        return plan

    def verdict(self, peer=PEER):
        return next(v.kind for v in self.decide().verdicts if v.peer == peer)


def routes(plan):
    return [(action.kind, action.claim.home) for action in plan.routes]


def test_a_healthy_cluster_does_nothing():
    plan = Case().decide()
    assert (plan.routes, plan.fence, plan.withheld, plan.probe, plan.flare) == ((), (), (), {}, False)
    assert plan.forbidden == ""


# --- verdicts --------------------------------------------------------------------------------------------------------------------


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
def test_without_proof_of_my_own_access_i_am_the_suspect(change, words):
    case = Case()
    case.silent(proven_at=None)
    case.me = replace(case.me, **change)
    plan = case.decide()
    assert plan.verdicts[0].kind == "silent" and words in plan.verdicts[0].evidence
    assert plan.routes == ()


def test_an_access_that_is_proven_only_just_now_gives_the_peer_a_chance():
    case = Case()
    case.silent(seconds=3.0, proven_at=NOW - 0.1)
    assert case.verdict() == "silent"


def test_an_access_that_is_proven_late_gives_the_peer_the_time_that_silence_takes():
    case = Case()
    case.silent(seconds=5.0, proven_at=NOW - 0.5)
    assert case.verdict() == "silent", "I may have been cut off for more than four seconds"
    case.silent(seconds=5.0, proven_at=NOW - 1.3)
    assert case.verdict() == "failed"


def test_probes_that_did_not_leave_prove_nothing():
    case = Case()
    case.silent(seconds=3.0, unanswered=2)
    assert case.verdict() == "silent"


@pytest.mark.parametrize("memory", [{"flare_at": NOW - 2}, {"took_mine_at": NOW - 2}])
def test_a_sign_of_life_elsewhere_makes_it_a_partition(memory):
    case = Case()
    case.silent(seconds=3.0, **memory)
    plan = case.decide()
    assert plan.verdicts[0].kind == "partitioned" and plan.routes == ()


def test_a_claim_taken_before_the_last_heartbeat_says_no_more_than_that():
    case = Case()
    case.silent(took_mine_at=NOW - 2)
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


def test_who_hears_nobody_waits_for_one_that_has_just_been_replaced_too():
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


def test_who_has_fallen_silent_vouches_for_nobody_any_more():
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


def test_who_hears_not_even_the_witness_waits():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.silent(PEER)
    case.silent(THIRD)
    assert {v.kind for v in case.decide().verdicts} == {"silent"}


def test_a_witness_whose_service_is_dead_holds_up_no_takeover():
    """Its kernel still answers ICMP: so I am not cut off, and the peer that died is dead."""
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.silent(PEER)
    case.silent(THIRD, seconds=60, verdict="unmanaged")
    case.heard[THIRD] = replace(case.heard[THIRD], icmp_at=NOW - 0.1, unanswered=1)
    plan = case.decide()
    assert {v.peer: v.kind for v in plan.verdicts} == {PEER: "failed", THIRD: "unmanaged"}
    assert routes(plan) == [("adopt", PEER)]


def test_a_witness_is_no_heir_and_never_fenced():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.heard[THIRD] = replace(case.heard[THIRD], report=Report(ACTIVE, True))
    assert policy._eligible(case.config, case.memory, Evidence(NOW, case.me, case.heard, {}, {}), True) == [ME, PEER]
    case.silent(THIRD, seconds=100, verdict="failed")
    assert steps(case) == []


def test_a_route_that_somebody_pointed_to_a_witness_is_drift():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.point(PEER, "eni-" + THIRD)
    plan = case.decide()
    assert plan.routes == () and "no node of this cluster" in plan.drift[str(case.claim(PEER))]


def test_as_a_witness_it_judges_and_writes_nothing():
    case = Case((ME, PEER, THIRD), witness=ME)
    case.me = replace(case.me, forwarding=False, fact="", state=WITNESS)
    case.silent(PEER, seconds=100)
    case.point(PEER, None, "missing")
    plan = case.decide()
    assert {v.peer: v.kind for v in plan.verdicts} == {PEER: "failed", THIRD: "healthy"}
    assert (plan.routes, plan.fence, plan.flare) == ((), (), False) and plan.forbidden == "this node is a witness"
    assert plan.probe == {PEER: 0.1}


def test_among_three_who_hears_nobody_waits():
    case = Case((ME, PEER, THIRD))
    case.silent(PEER)
    case.silent(THIRD)
    plan = case.decide()
    assert {v.kind for v in plan.verdicts} == {"silent"} and plan.routes == ()


def test_who_is_cut_off_from_all_while_one_was_silent_for_long_waits_too():
    """Isolation counts from whom I heard last, not from the silence of each."""
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=60, verdict="partitioned")
    case.silent(PEER)
    plan = case.decide()
    assert {v.kind for v in plan.verdicts} == {"silent"} and plan.routes == ()


def test_who_is_cut_off_from_all_adopts_nothing_from_one_that_failed_just_before():
    """It may be back, and have taken its claims home, and I would not know."""
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=5, verdict="failed", since=NOW - 4)
    case.silent(PEER, seconds=3, verdict="partitioned")
    assert case.decide().routes == ()


def test_one_that_was_replaced_in_this_moment_is_still_one_that_i_should_hear():
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


def test_one_whose_service_is_dead_is_probed_faster_and_longer_before_it_is_silent():
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


# --- routes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [Report(ACTIVE, False, "ip_forward=0"), Report(DRAINING, True), Report(DRAINED, True)],
)
def test_a_peer_that_says_so_is_relieved_without_a_fence(report):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], report=report)
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == ()


def test_nothing_is_taken_by_who_is_drained():
    case = Case()
    case.silent()
    case.me = replace(case.me, state=DRAINED)
    assert case.decide().routes == ()


NOTICED = Report(DRAINED, True, "spot interruption: stop at noon")


def test_who_drains_for_a_notice_takes_over_when_nobody_else_can():
    case = Case()
    case.me = replace(case.me, state=DRAINED, notice="spot interruption: stop at noon")
    case.point(ME, "eni-" + PEER)
    assert case.decide().routes == (), "as long as the peer does"
    case.silent()
    assert sorted(routes(case.decide())) == [("adopt", ME), ("adopt", PEER)]
    case.me = replace(case.me, notice="")
    assert case.decide().routes == (), "drained by the operator, it takes nothing"


def test_two_that_drain_for_a_notice_take_nothing_from_each_other():
    case = Case()
    case.me = replace(case.me, state=DRAINING, notice="rebalance recommended")
    case.heard[PEER] = replace(case.heard[PEER], report=NOTICED)
    case.point(ME, "eni-" + PEER)
    assert case.decide().routes == ()
    case.point(ME, None, "missing")
    assert routes(case.decide()) == [("mend", ME)]


def test_of_two_heirs_of_last_resort_all_agree_on_one():
    takers = []
    for me, other in ((ME, PEER), (PEER, ME)):
        case = Case((ME, PEER, THIRD))
        case.config = replace(case.config, self_name=me)
        case.me = replace(case.me, state=DRAINED, notice="rebalance recommended")
        case.heard = {n: Heard(NOW - 0.05, NOW - 0.5, NOTICED, "b") for n in (other, THIRD)}
        case.memory = replace(
            case.memory,
            peers={n: PeerMemory("healthy", NOW - 500, "", seen_healthy=True) for n in (other, THIRD)},
        )
        case.silent(THIRD)
        takers += [me for action in case.decide().routes if action.claim.home == THIRD]
    assert len(takers) == 1


@pytest.mark.parametrize("last", [Report(DRAINING, True, "spot interruption"), Report(DRAINING, True), NOTICED])
def test_who_announced_its_end_is_adopted_from_and_never_fenced(last):
    case = Case()
    case.silent(seconds=3600)
    case.heard[PEER] = replace(case.heard[PEER], report=last)
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == ()
    case.point(PEER, "eni-" + ME)
    assert case.decide().fence == ()


def test_orphans_spread_and_all_agree():
    names = ["n%02d" % number for number in range(6)]
    claims = [Claim("rtb-%d" % number, "0.0.0.0/0", "dead") for number in range(600)]
    shares = Counter(policy.heir(claim, names) for claim in claims)
    assert set(shares) == set(names) and max(shares.values()) < 2 * min(shares.values())
    moved = [c for c in claims if policy.heir(c, names) != policy.heir(c, names[:-1])]
    assert len(moved) == shares["n05"], "only what the missing one had moves"


def test_old_readings_move_nothing():
    case = Case()
    case.silent()
    case.routes[case.claim(PEER)] = RouteView("active", "eni-nat-b", NOW - 3)
    assert case.decide().routes == ()


@pytest.mark.parametrize(("state", "target"), [("blackhole", "eni-gone"), ("missing", None)])
def test_a_broken_route_is_mended_by_its_home(state, target):
    case = Case()
    case.point(ME, target, state)
    assert routes(case.decide()) == [("mend", ME)]
    case.point(ME, "eni-" + ME)
    case.point(PEER, target, state)
    assert case.decide().routes == (), "its own home is well and will do it"


def test_claims_on_one_table_are_decided_one_by_one():
    """IPv4, IPv6 and a prefix list: each has its own route, owner and state."""
    destinations = ["0.0.0.0/0", "::/0", "pl-0123abcd"]
    case = Case(destinations=destinations, sources=["10.0.0.0/16", "2001:db8::/56"])
    mine = {claim.destination: claim for claim in case.config.claims if claim.home == ME}
    assert list(mine) == destinations
    case.routes[mine["::/0"]] = RouteView("missing", None, NOW)
    case.routes[mine["pl-0123abcd"]] = RouteView("active", "vpce-1", NOW)
    plan = case.decide()
    assert [(action.kind, action.claim.destination) for action in plan.routes] == [("mend", "::/0")]
    assert list(plan.drift) == [str(mine["pl-0123abcd"])]

    case = Case(destinations=destinations, sources=["10.0.0.0/16", "2001:db8::/56"])
    case.silent()
    taken = [action.claim for action in case.decide().routes]
    assert sorted(claim.destination for claim in taken) == sorted(destinations), "all of a failed home's, at once"
    assert {claim.home for claim in taken} == {PEER}


def test_somebody_elses_route_and_a_missing_table_are_only_reported():
    case = Case()
    case.point(ME, "igw-1")
    case.point(PEER, None, "no-table")
    plan = case.decide()
    assert plan.routes == ()
    assert "no node of this cluster" in plan.drift[str(case.claim(ME))]
    assert "does not exist" in plan.drift[str(case.claim(PEER))]


@pytest.mark.parametrize(
    ("memory", "returns"),
    [
        ({}, True),
        ({"fit_since": NOW - 29}, False),
        ({"lost_at": NOW - 29}, False),
        ({"lost_at": NOW - 31}, True),
        ({"fit_since": NOW - 59, "flaps": 1}, False),
        ({"fit_since": NOW - 61, "flaps": 1}, True),
    ],
)
def test_return_is_damped(memory, returns):
    case = Case()
    case.point(ME, "eni-" + PEER)
    case.memory = replace(case.memory, **memory)
    assert routes(case.decide()) == ([("return", ME)] if returns else [])


def test_a_return_rests_on_a_reading_that_is_not_old():
    case = Case()
    case.point(ME, "eni-" + PEER)
    claim = next(claim for claim in case.config.claims if claim.home == ME)
    case.routes[claim] = replace(case.routes[claim], read_at=NOW - 4)
    plan = case.decide()
    assert plan.routes == () and plan.refresh == NOW - 3
    case.routes[claim] = replace(case.routes[claim], read_at=NOW - 2)
    plan = case.decide()
    assert routes(plan) == [("return", ME)] and plan.refresh is None


def test_manual_return_waits_for_the_operator():
    case = Case(**{"return": {"policy": "manual"}})
    case.point(ME, "eni-" + PEER)
    assert case.decide().routes == ()


def test_a_claim_taken_from_me_counts_as_a_flap_if_it_had_just_come_home():
    case = Case()
    case.decide()
    case.memory = replace(case.memory, returned_at=NOW - 60)
    case.point(ME, "eni-" + PEER)
    case.decide()
    assert case.memory.flaps == 1 and case.memory.lost_at == NOW and case.memory.peers[PEER].took_mine_at == NOW
    assert policy.return_after(case.config, case.memory) == 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"forwarding": False, "fact": "ip_forward=0"}, "does not forward"),
        ({"internet": False}, "internet"),
        ({"ec2": False}, "EC2 API"),
    ],
)
def test_an_unfit_node_writes_nothing(change, words):
    case = Case()
    case.point(ME, None, "missing")
    case.me = replace(case.me, **change)
    plan = case.decide()
    assert plan.routes == () and words in plan.forbidden


def test_observe_says_what_it_would_have_done():
    case = Case(mode="observe")
    case.silent()
    plan = case.decide()
    assert plan.routes == () and plan.forbidden == "mode is observe"
    assert [str(action) for action in plan.withheld] == ["adopt rtb-0bbbbbbb 0.0.0.0/0"]


# --- fences ----------------------------------------------------------------------------------------------------------------------


def dead(**memory):
    """The peer died long ago, and its route is with me."""
    case = Case()
    case.silent(seconds=100, verdict="failed", **memory)
    case.point(PEER, "eni-" + ME)
    return case


def steps(case):
    return [step.step for step in case.decide().fence]


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
    case.heard[PEER] = Heard(NOW, NOW, FINE, "new")
    assert steps(case) == ["unmark"]
    case.tag(PEER)
    assert steps(case) == [] and case.memory.peers[PEER].fence_stage == ""


def test_what_somebody_else_stops_after_the_mark_has_its_time_to_stop():
    case = dead()
    assert steps(case) == ["mark"]
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == [], "a stop is not forced before it has had its time"


def test_a_node_that_boots_after_it_was_switched_off_is_not_fenced_for_the_time_it_was_off():
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == []
    case.instances[PEER] = replace(case.instances[PEER], state="running")
    assert steps(case) == [], "EC2 says running long before a machine has booted"
    case.heard[PEER] = Heard(NOW, NOW, FINE, "new")
    assert steps(case) == [] and case.memory.peers[PEER].seen_healthy


def test_a_mark_that_could_not_be_written_is_tried_again():
    case = dead()
    assert steps(case) == steps(case) == ["mark"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case.silent(seconds=20, verdict="failed"),
        lambda case: case.silent(seconds=100, verdict="failed", flare_at=NOW - 25),
        lambda case: case.silent(seconds=100, verdict="failed", took_mine_at=NOW - 25),
        lambda case: case.silent(seconds=100, verdict="failed", seen_healthy=False),
        lambda case: case.heard.update({PEER: replace(case.heard[PEER], report=Report(DRAINED, True))}),
        lambda case: case.heard.update({PEER: replace(case.heard[PEER], report=Report(STOPPING, True))}),
        lambda case: case.tag(PEER, maintenance="kernel"),
        lambda case: case.tag(PEER, drained="operator"),
        lambda case: case.tag(ME, fence="nat-b:stop"),
        lambda case: case.tag(PEER, fence="nat-c:stop"),
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
    case.heard["a-first"] = Heard(NOW, NOW, FINE, "b")
    case.silent(seconds=seconds, verdict="failed")
    assert (case.config.rank(ME), steps(case)) == (1, expected)


def test_who_comes_back_before_the_stop_is_spared():
    case = dead()
    case.tag(PEER, fence="nat-a:stop")
    case.heard[PEER] = Heard(NOW, NOW, FINE, "b")
    assert steps(case) == [], "a stop may be under way already: wait until EC2 surely shows it"
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], since=NOW - 11)})
    assert steps(case) == ["unmark"]


def test_a_restarted_fencer_starts_what_it_stopped():
    case = Case()
    case.memory = Memory(awake_since=NOW - 5, last_tick=NOW - 0.05)
    case.heard[PEER] = Heard(unanswered=20)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]


def test_what_a_failed_fencer_left_stopped_is_started_by_the_next():
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


def test_reboot_is_another_way():
    case = dead()
    case.config = make_config(fence={"policy": "reboot"})
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["reboot"]


def test_holder_reads_the_tag():
    view = Case().instances[ME]
    assert fencing.holder(view) == ("", "")
    assert fencing.holder(replace(view, tags={"nat-failover:fence": "nat-a:stop"})) == ("nat-a", "stop")


@pytest.mark.parametrize(
    ("state", "flares"), [("running", True), ("stopping", True), ("stopped", False), ("terminated", False)]
)
def test_no_flare_is_shown_to_a_machine_that_is_off(state, flares):
    case = dead()
    case.instances[PEER] = replace(case.instances[PEER], state=state)
    plan = case.decide()
    assert plan.flare is flares and (plan.watch is not None) is flares


# --- replaced instances ------------------------------------------------------------------------------------------------------------


def replaced(case, node=PEER, instance="i-00000009", state="running"):
    """Another instance has taken a node's place; nothing has been heard from it."""
    case.decide()
    view = InstanceView(state, "eni-new", "10.0.0.9", {}, NOW, False, None, instance)
    case.instances[node] = view
    if node in case.heard:
        case.heard[node] = Heard()  # the radio forgets the predecessor
    return case


def test_a_replaced_peer_is_unknown_and_was_never_seen_healthy():
    case = replaced(Case())
    case.memory = replace(
        case.memory,
        peers={PEER: replace(case.memory.peers[PEER], fence_stage="stopped", suspected_at=NOW - 90, verdict="failed")},
    )
    assert case.verdict() == "unknown"
    peer = case.memory.peers[PEER]
    assert (peer.seen_healthy, peer.fence_stage, peer.suspected_at) == (False, "", None)


def test_a_replacement_that_never_came_up_is_not_fenced():
    case = replaced(Case())
    case.decide()
    peer = replace(case.memory.peers[PEER], born=NOW - 100, suspected_at=NOW - 95, proven_at=NOW - 90)
    case.memory = replace(case.memory, peers={PEER: replace(peer, flare_baseline="")})
    case.heard[PEER] = Heard(unanswered=90)
    case.point(PEER, "eni-nat-a")
    plan = case.decide()
    assert [v.kind for v in plan.verdicts] == ["failed"]
    assert plan.fence == ()
    assert fencing.objection(fence_case(case)) == "it was never seen healthy"


def test_who_was_heard_before_its_instance_was_known_may_have_been_another_one():
    case = Case()
    case.memory = replace(case.memory, machines={})
    assert case.verdict() == "healthy" and not case.memory.peers[PEER].seen_healthy
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW + 0.01)
    assert case.verdict() == "healthy" and case.memory.peers[PEER].seen_healthy


def test_what_the_kernel_had_in_store_at_the_start_is_no_proof_of_health():
    case = Case()
    case.memory = replace(case.memory, peers={})
    assert case.verdict() == "healthy" and not case.memory.peers[PEER].seen_healthy


def test_while_the_cluster_is_paused_no_silence_counts_towards_a_fence():
    case = dead()
    paused, _plan = policy.decide(case.config, case.memory, replace(case.evidence(), paused="paused by an operator"))
    case.memory = paused
    assert paused.paused_at == NOW and steps(case) == []


def fence_case(case):
    return fencing.Case(
        case.config,
        case.memory,
        Evidence(NOW, case.me, case.heard, case.routes, case.instances),
        {},
        PEER,
        case.memory.peers[PEER],
        case.instances[PEER],
    )


def test_a_route_to_the_interface_of_a_predecessor_is_taken_over_at_once():
    plan = replaced(Case()).decide()
    assert routes(plan) == [("mend", PEER)]
    assert "the interface of a former nat-b" in plan.routes[0].reason
    assert plan.drift == {}


def test_the_home_takes_it_when_it_is_the_one_that_was_replaced():
    case = replaced(Case(), node=ME)
    case.me = replace(case.me, instance_id="i-00000009")
    case.heard[PEER] = Heard(NOW - 0.05, NOW - 0.5, FINE, "b")
    plan = case.decide()
    assert [(action.kind, action.claim.home, action.interface_id) for action in plan.routes] == [
        ("mend", ME, "eni-new")
    ]


def test_an_interface_that_went_along_to_the_new_instance_is_no_former_one():
    case = replaced(Case())
    case.instances[PEER] = replace(case.instances[PEER], interface_id="eni-" + PEER)
    plan = case.decide()
    assert (routes(plan), plan.drift) == ([], {})


def test_a_fence_names_the_instance_that_ec2_shows():
    case = Case()
    case.instances[PEER] = replace(case.instances[PEER], instance_id="i-00000009")
    case.memory = replace(case.memory, machines={PEER: ("i-00000009", "eni-nat-b")})
    case.decide()
    case.silent(seconds=100)
    case.point(PEER, "eni-nat-a")
    [step] = case.decide().fence
    assert (step.step, step.instance_id) == ("mark", "i-00000009")


def test_a_node_that_ec2_shows_no_instance_of_is_not_fenced():
    case = Case()
    case.silent(seconds=100)
    case.point(PEER, "eni-nat-a")
    case.instances[PEER] = replace(case.instances[PEER], instance_id="")
    assert case.decide().fence == ()


@pytest.mark.parametrize(
    "mine, shown, reason",
    [
        ("", "i-00000009", "nat-a is another instance now: i-00000009, and this is i-00000000"),
        ("i-00000009", "i-00000009", ""),
        ("i-00000008", "i-00000009", "nat-a is another instance now: i-00000009, and this is i-00000008"),
        ("", "", ""),
    ],
)
def test_who_is_not_its_node_any_more_writes_nothing(mine, shown, reason):
    case = Case()
    case.me = replace(case.me, instance_id=mine)
    case.instances[ME] = replace(case.instances[ME], instance_id=shown)
    case.point(PEER, None, "missing")
    case.heard[PEER] = replace(case.heard[PEER], report=Report(ACTIVE, False, "ip_forward=0"))
    plan = case.decide()
    assert plan.forbidden == reason
    assert bool(plan.routes) is (not reason)


def test_a_node_that_does_not_know_its_instance_writes_nothing():
    case = Case()
    nodes = (replace(case.config.nodes[0], instance_id=""), case.config.nodes[1])
    case.config = replace(case.config, nodes=nodes)
    case.point(ME, None, "missing")
    assert "does not know its instance id" in case.decide().forbidden
    case.me = replace(case.me, instance_id="i-00000000")
    assert routes(case.decide()) == [("mend", ME)]
