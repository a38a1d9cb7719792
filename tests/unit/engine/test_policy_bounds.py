# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of the policy, in the units of the documentation: on each side of every bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import DRAINED, DRAINING
from nat_failover.model.evidence import Report, Stranger
from nat_failover.model.memory import Seen, ServiceMemory
from nat_failover.model.nat import CARRY, RESUME
from nat_failover.policy import (
    early,
    fitness,
    identities,
    services,
    signs,
    verdict,
    warnings,
)

from .exact_case import about
from .policy_case import INTERRUPTED, ME, NOW, PEER, Case, make_config, routes
from .service_case import ILL, VIP
from .service_case import cluster as with_service
from .test_identities import ELASTIC, OWN, cluster, elastic, moved, point, waiting
from .test_marks import THIRD
from .test_unseen import unseen

# --- readings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("poll", "age"), [(1, 15.0), (5, 15.0), (10, 30.0)])
def test_a_reading_of_ec2_is_old_after_three_polls_and_after_15_seconds_at_least(poll, age):
    config = make_config(ec2={"poll_s": poll})
    assert not fitness.is_old(config, NOW - age, NOW)
    assert fitness.is_old(config, NOW - age - 0.125, NOW)


# --- forged signs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "told"), [(59.875, True), (60.0, False)])
def test_a_forged_flare_that_is_gone_is_told_for_a_minute(ago, told):
    case = Case()
    case.memory = replace(case.memory, seen={(signs.FLARES, PEER): Seen("", False, NOW - ago, NOW - ago)})
    assert bool(signs.drift(case.memory, case.evidence())) == told


@pytest.mark.parametrize(("ago", "told"), [(59.875, True), (60.0, False)])
def test_a_leap_of_a_sequence_number_is_told_for_a_minute(ago, told):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], leapt_from=7, leapt_to=9999, leapt_at=NOW - ago)
    assert bool(signs.leaps(case.evidence())) == told


def test_a_forged_flare_is_told_with_its_first_48_characters():
    case = Case()
    case.memory = replace(case.memory, seen={(signs.FLARES, PEER): Seen("f" * 60, True, NOW, NOW)})
    [line] = signs.drift(case.memory, case.evidence()).values()
    assert f"(now {'f' * 48!r})" in line


# --- services --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.0), (1, 3.0), (2, 6.0), (11, 1800.0), (10**6, 1800.0)])
def test_a_service_has_worked_for_three_seconds_doubled_by_each_failure_before_claims_come(failures, seconds):
    case = Case()
    assert case.config.returns.maximum == 1800
    assert services.hold(case.config, failures) == seconds


def test_a_service_that_does_not_work_has_worked_for_no_time():
    case = with_service()
    [claim, *_rest] = [claim for claim in case.config.claims if claim.destination == VIP]
    case.memory = replace(case.memory, services={"proxy": ServiceMemory(None, 1)})
    assert services.well_for(about(case), claim) == (0.0, 30.0)
    [claim, *_rest] = [claim for claim in case.config.claims if claim.destination != VIP]
    assert services.well_for(about(case), claim) == (0.0, 0.0), "no service, nothing to wait for"


@pytest.mark.parametrize(("awake", "moves"), [(0.375, False), (0.5, True)])
def test_a_report_of_a_dead_service_counts_when_this_node_is_awake_for_silent_after(awake, moves):
    case = with_service()
    case.config = replace(case.config, heartbeat=replace(case.config.heartbeat, silent_after=0.5))
    case.memory = replace(case.memory, awake_since=NOW - awake)
    case.heard[PEER] = replace(case.heard[PEER], report=ILL)
    claim = next(each for each in case.config.claims if (each.home, each.destination) == (PEER, VIP))
    assert bool(services.claim_vacancy(about(case), claim, PEER)) == moves


def test_a_claim_of_a_node_that_nothing_is_known_of_falls_to_any():
    case = with_service()
    [claim, *_rest] = [claim for claim in case.config.claims if claim.destination == VIP]
    assert services.heirs_among(about(case), [ME, PEER], claim, "a removed node") == [ME, PEER]


# --- Elastic IPs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def case():
    made = cluster()
    point(made, PEER, PEER)
    return made


@pytest.mark.parametrize(("ago", "state"), [(9.875, RESUME), (10.0, CARRY)])
def test_new_flows_leave_by_an_elastic_ip_ten_seconds_after_it_has_come(case, ago, state):
    point(case, PEER, ME)
    elastic(case, PEER, interface_id="eni-" + ME, private=waiting(ME, PEER))
    case.memory = replace(case.memory, arrived={PEER: NOW - ago})
    assert identities.states(about(case))[PEER] == state


@pytest.mark.parametrize(("ago", "follows"), [(2.875, False), (3.0, True)])
def test_an_elastic_ip_that_a_living_peer_holds_is_fetched_three_seconds_after_its_routes(case, ago, follows):
    point(case, PEER, ME)
    case.memory = replace(case.memory, astray={PEER: NOW - ago})
    assert bool(moved(case.decide())) == follows


def test_the_moment_counts_only_while_no_route_is_taken(case):
    point(case, PEER, ME)
    case.decide()
    assert case.memory.astray == {PEER: NOW}
    point(case, PEER, PEER)
    case.silent()
    assert case.decide().addresses and case.memory.astray == {}


@pytest.mark.parametrize(("ago", "follows"), [(19.875, True), (20.0, False)])
def test_an_elastic_ip_comes_home_at_once_for_twenty_seconds_after_a_return(case, ago, follows):
    point(case, ME, ME)
    elastic(case, ME, interface_id="eni-" + PEER, private=waiting(PEER, ME))
    case.memory = replace(case.memory, returned_at=NOW - ago)
    assert moved(case.decide()) == ([(ME, "eni-" + ME, OWN[ME])] if follows else [])


def test_the_elastic_ip_of_a_peer_that_lives_and_does_not_forward_moves_beside_its_routes(case):
    """Nothing is handed over, so nothing is to be learned."""
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], verdict="sick", since=NOW - 5)})
    case.heard[PEER] = replace(case.heard[PEER], report=Report("active", False))
    plan = case.decide()
    assert {each.kind for each in plan.routes} == {"adopt"} and [each.after for each in plan.addresses] == [()]


def test_an_elastic_ip_that_is_nowhere_comes_home_beside_its_routes(case):
    """No data reaches clients by it, so nothing is to be learned."""
    point(case, ME, PEER)
    elastic(case, ME, interface_id=None, private=None)
    plan = case.decide()
    assert {each.kind for each in plan.routes} == {"return"} and [each.after for each in plan.addresses] == [()]


def test_two_identities_that_move_in_one_tick_each_come_after_their_own_routes(case):
    """The peer hands over its own identity and that of this node."""
    case.heard[PEER] = replace(case.heard[PEER], report=Report(DRAINING, True))
    point(case, ME, PEER)
    elastic(case, ME, interface_id="eni-" + PEER, private=waiting(PEER, ME))
    plan = case.decide()
    assert len(plan.routes) == 3
    assert {each.identity: {claim.home for claim in each.after} for each in plan.addresses} == {ME: {ME}, PEER: {PEER}}


@pytest.mark.parametrize("why", ["its peer serves it", "it was not read", "it waits for a peer that lives", "drift"])
def test_an_identity_that_does_not_move_is_in_the_way_of_no_other(why):
    case = cluster((ME, PEER, THIRD), waits=(ME,))
    point(case, PEER, PEER)
    point(case, THIRD, THIRD)
    case.silent(THIRD)
    if why == "it was not read":
        del case.addresses[ELASTIC[PEER]]
    elif why == "drift":
        elastic(case, PEER, interface_id="eni-of-a-stranger")
    elif why != "its peer serves it":
        point(case, PEER, ME)
    assert [name for name, _interface, _address in moved(case.decide())] == [THIRD]


@pytest.mark.parametrize("known", [True, False], ids=["without an interface", "not read"])
def test_a_node_that_ec2_does_not_show_moves_no_elastic_ip(case, known):
    case.silent()
    written = case.decide().routes
    if known:
        case.instances[ME] = replace(case.instances[ME], interface_id=None)
    else:
        del case.instances[ME]
    memory, found = identities.plan(about(case), written)
    assert found == identities.Addresses() and memory == case.memory


# --- swaps -----------------------------------------------------------------------------------------------------------


def test_a_peer_that_took_no_claims_is_not_left_any():
    case = unseen(swaps=0, took_own_claim_at=NOW - 0.125)
    assert not verdict.swapping(about(case).peer(PEER))


@pytest.mark.parametrize(("ago", "waits"), [(39.875, True), (40.0, False)])
def test_the_wait_between_two_swaps_ends_at_its_moment(ago, waits):
    case = unseen(swaps=2, took_own_claim_at=NOW - ago)
    assert verdict.swapping(about(case).peer(PEER)) == waits


@pytest.mark.parametrize(
    ("ago", "swaps"), [(5.0, 3), (5.125, 4), (9.0, 4), (7199.875, 4), (7200.0, 1)], ids=lambda value: str(value)
)
def test_claims_that_move_within_five_seconds_are_one_swap_and_two_hours_end_the_count(ago, swaps):
    case = unseen(seconds=9000.0, verdict="failed", swaps=3, took_own_claim_at=NOW - ago)
    case.memory = replace(case.memory, held_claims=frozenset({case.claim(PEER)}))
    case.decide()
    assert case.memory.peers[PEER].swaps == swaps


@pytest.mark.parametrize("suspected", [PEER, THIRD])
def test_each_silent_peer_that_takes_claims_is_counted_and_no_other(suspected):
    case = Case((ME, PEER, THIRD))
    case.me = replace(case.me, unseen="refused")
    case.silent(suspected, seconds=5)
    case.memory = replace(case.memory, held_claims=frozenset({case.claim(PEER), case.claim(THIRD)}))
    case.decide()
    assert {name: peer.swaps for name, peer in case.memory.peers.items()} == {PEER: 0, THIRD: 0, suspected: 1}


# --- claims of nodes with a notice -----------------------------------------------------------------------------------


def test_a_route_that_leads_nowhere_is_mended_by_an_heir_of_last_resort():
    """All nodes have a notice of EC2, and the owner is well."""
    case = Case()
    case.me = replace(case.me, state=DRAINED, interruption="spot interruption")
    case.heard[PEER] = replace(case.heard[PEER], report=INTERRUPTED)
    case.point(ME, "eni-" + PEER, state="blackhole")
    assert routes(case.decide()) == [("mend", ME)]


# --- warnings --------------------------------------------------------------------------------------------------------


def test_the_refusal_of_an_unknown_instance_hides_no_other():
    case = Case()
    case.refused = {("stop", "i-00000099"): "refused", ("stop", case.instances[PEER].instance_id): "protected"}
    [line] = case.decide().warnings.values()
    assert "protected" in line


def test_an_impostor_that_is_none_hides_no_other():
    case = Case()
    known, new = (Stranger(PEER, address, NOW - 60, NOW) for address in ("10.0.0.1", "10.0.9.9"))
    case.instances[PEER] = replace(case.instances[PEER], address="10.0.0.1", addresses=("10.0.0.1",))
    case.strangers = (known, new)
    assert list(warnings.standing(case.config, case.evidence())) == [f"impostor {PEER} 10.0.9.9"]
    case.strangers = (replace(new, first_at=NOW), new)
    assert list(warnings.standing(case.config, case.evidence())) == [f"impostor {PEER} 10.0.9.9"]


@pytest.mark.parametrize(("ago", "told"), [(9.875, False), (10.0, True)])
def test_an_impostor_is_told_two_polls_after_its_first_packet(ago, told):
    """Within these the peer may have moved to a new address."""
    case = Case()
    assert case.config.ec2.poll == 5
    case.strangers = (Stranger(PEER, "10.0.9.9", NOW - ago, NOW),)
    assert bool(warnings.standing(case.config, case.evidence())) == told


# --- suspicions ------------------------------------------------------------------------------------------------------


def test_a_peer_that_is_not_silent_is_not_unread_however_old_the_reading():
    case = Case(takeover={"early": True})
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW - 900)
    assert not early.is_unread(about(case).peer(PEER))
    case.silent()
    assert early.is_unread(about(case).peer(PEER))


def test_signs_of_life_are_forgotten_with_the_suspicion():
    case = Case()
    case.silent(flare_baseline="x", flare_number=9, flare_at=NOW, item_baseline="y", item_number=8, item_at=NOW)
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW, unanswered=0)
    case.decide()
    peer = case.memory.peers[PEER]
    assert (peer.flare_baseline, peer.flare_number, peer.flare_at) == (None, 0, None)
    assert (peer.item_baseline, peer.item_number, peer.item_at) == (None, 0, None)
