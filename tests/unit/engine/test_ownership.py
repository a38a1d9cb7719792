# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner of each claim: vacancies, heirs, repairs, returns, drift."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from nat_failover.model.cluster import (
    ACTIVE,
    DRAINED,
    DRAINING,
    Claim,
    RouteView,
)
from nat_failover.model.evidence import Report
from nat_failover.model.memory import PeerMemory
from nat_failover.policy import heirs, ownership
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import (
    FINE,
    INTERRUPTED,
    ME,
    NOW,
    PEER,
    THIRD,
    Case,
    heard,
    routes,
    steps,
)


def test_a_witness_is_no_heir_and_never_fenced():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.heard[THIRD] = replace(case.heard[THIRD], report=Report(ACTIVE, True))
    assert heirs.eligible_nodes(PolicyCase.of(case.config, case.memory, case.evidence())) == [ME, PEER]
    case.silent(THIRD, seconds=100, verdict="failed")
    assert steps(case) == []


def test_a_route_to_a_witness_is_drift():
    case = Case((ME, PEER, THIRD), witness=THIRD)
    case.point(PEER, "eni-" + THIRD)
    plan = case.decide()
    assert plan.routes == () and "no node of this cluster" in plan.drift[str(case.claim(PEER))]


def test_an_isolated_node_adopts_nothing_from_a_peer_that_failed_just_before():
    """It may be back, and have taken its claims home, and this node would not know."""
    case = Case((ME, PEER, THIRD))
    case.silent(THIRD, seconds=5, verdict="failed", since=NOW - 4)
    case.silent(PEER, seconds=3, verdict="partitioned")
    assert case.decide().routes == ()


@pytest.mark.parametrize(
    "report",
    [Report(ACTIVE, False, "ip_forward=0"), Report(DRAINING, True), Report(DRAINED, True)],
)
def test_a_peer_that_reports_it_is_relieved_without_a_fence(report):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], report=report)
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == ()


def test_a_drained_node_takes_nothing():
    case = Case()
    case.silent()
    case.me = replace(case.me, state=DRAINED)
    assert case.decide().routes == ()


def test_a_node_that_drains_for_an_interruption_takes_over_when_no_other_can():
    case = Case()
    case.me = replace(case.me, state=DRAINED, interruption="spot interruption: stop at noon")
    case.point(ME, "eni-" + PEER)
    assert case.decide().routes == (), "as long as the peer does"
    case.silent()
    assert sorted(routes(case.decide())) == [("adopt", ME), ("adopt", PEER)]
    case.me = replace(case.me, interruption="")
    assert case.decide().routes == (), "drained by the operator, it takes nothing"


def test_two_nodes_with_interruptions_take_nothing_from_each_other():
    case = Case()
    case.me = replace(case.me, state=DRAINING, interruption="rebalance recommended")
    case.heard[PEER] = replace(case.heard[PEER], report=INTERRUPTED)
    case.point(ME, "eni-" + PEER)
    assert case.decide().routes == ()
    case.point(ME, None, "missing")
    assert routes(case.decide()) == [("mend", ME)]


def test_of_two_heirs_of_last_resort_all_agree_on_one():
    takers = []
    for me, other in ((ME, PEER), (PEER, ME)):
        case = Case((ME, PEER, THIRD))
        case.config = replace(case.config, self_name=me)
        case.me = replace(case.me, state=DRAINED, interruption="rebalance recommended")
        case.heard = {n: heard(ago=0.05, icmp_ago=0.5, report=INTERRUPTED) for n in (other, THIRD)}
        case.memory = replace(
            case.memory,
            peers={n: PeerMemory("healthy", NOW - 500, "", seen_healthy=True) for n in (other, THIRD)},
        )
        case.silent(THIRD)
        takers += [me for action in case.decide().routes if action.claim.home == THIRD]
    assert len(takers) == 1


def test_orphans_spread_and_all_agree():
    names = [f"n{number:02d}" for number in range(6)]
    claims = [Claim(f"rtb-{number}", "0.0.0.0/0", "dead") for number in range(600)]
    shares = Counter(heirs.heir(claim, names) for claim in claims)
    assert set(shares) == set(names) and max(shares.values()) < 2 * min(shares.values())
    moved = [c for c in claims if heirs.heir(c, names) != heirs.heir(c, names[:-1])]
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


def test_a_foreign_route_and_a_missing_table_are_only_reported():
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


def test_a_claim_lost_soon_after_its_return_counts_as_a_flap():
    case = Case()
    case.decide()
    case.memory = replace(case.memory, returned_at=NOW - 60)
    case.point(ME, "eni-" + PEER)
    case.decide()
    assert case.memory.flaps == 1 and case.memory.lost_at == NOW and case.memory.peers[PEER].took_own_claim_at == NOW
    assert ownership.return_after(case.config, case.memory) == 60


def test_a_freeze_of_this_node_gives_a_sick_peer_time_to_report_that_it_is_well():
    """Everything known of the peer is as old as the freeze was long (L10)."""
    case = Case()
    sick = replace(case.memory.peers[PEER], verdict="sick", since=NOW - 601)
    case.memory = replace(case.memory, last_tick=NOW - 600, peers={PEER: sick})
    case.heard[PEER] = heard(ago=600, report=replace(FINE, forwarding=False, fact="ip_forward=0"))
    case.routes = {claim: replace(view, read_at=NOW - 600) for claim, view in case.routes.items()}
    assert case.decide().routes == ()


def test_flaps_are_remembered_while_the_claims_are_away_from_home():
    """A quiet time counts only at home: otherwise the next return would come as soon as the first (L7)."""
    case = Case()
    case.point(ME, "eni-" + PEER)
    case.memory = replace(case.memory, flaps=3, returned_at=NOW - 5000, lost_at=NOW - 100)
    assert case.decide().routes == () and case.memory.flaps == 3
    case.point(ME, "eni-" + ME)
    case.decide()
    case.decide()
    assert case.memory.flaps == 0, "the claims have been at home for long"


# --- further interfaces ---------------------------------------------------------------------------


def with_further(name, *interfaces):
    case = Case()
    case.instances[name] = replace(case.instances[name], further_interfaces=interfaces)
    return case


@pytest.mark.parametrize("home", [ME, PEER])
@pytest.mark.parametrize("interface", ["eni-second", "eni-third"])
def test_a_route_to_a_further_interface_of_its_home_is_at_home(home, interface):
    case = with_further(home, "eni-second", "eni-third")
    case.point(home, interface)
    plan = case.decide()
    assert (routes(plan), plan.drift) == ([], {})


def test_a_route_to_a_further_interface_of_a_dead_peer_is_adopted():
    case = with_further(PEER, "eni-second")
    case.silent(seconds=100, verdict="failed")
    case.point(PEER, "eni-second")
    plan = case.decide()
    assert routes(plan) == [("adopt", PEER)] and plan.fence == (), "no fence before the route is away"


def test_a_claim_on_a_further_interface_of_a_peer_returns_home():
    case = with_further(PEER, "eni-second")
    case.point(ME, "eni-second")
    assert routes(case.decide()) == [("return", ME)]


def test_a_further_interface_of_a_witness_is_drift():
    names = (ME, PEER, THIRD)
    case = Case(names, witness=THIRD)
    case.instances[THIRD] = replace(case.instances[THIRD], further_interfaces=("eni-second",))
    case.point(ME, "eni-second")
    assert len(case.decide().drift) == 1
