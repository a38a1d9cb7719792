# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs of identities: they follow their claims, they are never stolen, and they hold up no route."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
from nat_failover.model.cluster import ROUTE_NO_TABLE, AddressView, Claim, RouteView
from nat_failover.policy import address_order, heirs, identities

from .policy_case import ME, NOW, PEER, TABLES, THIRD, Case

ELASTIC = {ME: "eipalloc-0aaaaaaa", PEER: "eipalloc-0bbbbbbb", THIRD: "eipalloc-0ccccccc"}
OWN = {ME: "10.0.0.20", PEER: "10.0.1.20", THIRD: "10.0.2.20"}
NETWORKS = {ME: "10.0.10.0/24", PEER: "10.0.11.0/24", THIRD: "10.0.12.0/24"}


def waiting(node, other):
    """The private address of a node that waits for the identity of another one."""
    return OWN[node].replace(".20", f".2{1 + sorted(OWN).index(other)}")


def cluster(names=(ME, PEER), waits=None, **changes):
    """A settled cluster in which each node has an identity, and all ``waits`` have waiting addresses for all others."""
    case = Case(names, **changes)
    case.config = with_identities(case.config, names, names if waits is None else waits)
    case.addresses = {ELASTIC[n]: AddressView(f"203.0.113.{i}", "eni-" + n, OWN[n], NOW) for i, n in enumerate(names)}
    for n in names:
        case.instances[n] = replace(case.instances[n], address=OWN[n].replace(".20", ".10"))
    return case


def with_identities(config, names, waits):
    raw = {
        "cluster": "c",
        "self": ME,
        "region": "eu-west-1",
        "interface": "ens5",
        "key_file": "/k",
        "mode": config.mode,
        "destinations": list(config.destinations),
        "takeover": {"early": config.takeover.early},
        "nodes": [
            {
                "name": n,
                "instance_id": f"i-0000000{i}",
                "route_tables": [TABLES[n], *(["rtb-0ddddddd"] if n == PEER else [])],
                "egress_address": ELASTIC[n],
                "egress_private_address": OWN[n],
                "egress_networks": [NETWORKS[n]],
                "egress_waiting": {other: waiting(n, other) for other in names if other != n} if n in waits else {},
            }
            for i, n in enumerate(names)
        ],
    }
    return configuration.parse(raw)


def claims_of(case, home):
    return [claim for claim in case.config.claims if claim.home == home]


def point(case, home, node, at=NOW):
    for claim in claims_of(case, home):
        case.routes[claim] = replace(next(iter(case.routes.values())), target="eni-" + node, read_at=at)


def elastic(case, home, **changes):
    case.addresses[ELASTIC[home]] = replace(case.addresses[ELASTIC[home]], **changes)


@pytest.fixture
def case():
    made = cluster()
    point(made, PEER, PEER)
    return made


def moved(plan):
    return [(each.identity, each.interface_id, each.private) for each in plan.addresses]


# --- an adoption ----------------------------------------------------------------------------------


def test_in_calm_nothing_moves(case):
    plan = case.decide()
    assert (plan.routes, plan.addresses, plan.drift) == ((), (), {})


def test_the_elastic_ip_of_a_dead_node_comes_with_its_routes_in_the_same_tick(case):
    case.silent()
    plan = case.decide()
    assert len(plan.routes) == 2
    assert moved(plan) == [(PEER, "eni-" + ME, waiting(ME, PEER))]
    assert plan.addresses[0].reason == f"address {ELASTIC[PEER]} of nat-b from nat-b to nat-a: adopt of its claims"


@pytest.mark.parametrize("known", [False, True], ids=["not read", "refused"])
def test_without_a_reading_or_a_permission_the_routes_move_all_the_same(case, known):
    case.silent()
    if known:
        case.busy = (("address", ELASTIC[PEER]),)
    else:
        case.addresses = {}
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()


def test_without_a_waiting_address_the_elastic_ip_stays():
    case = cluster(waits=())
    point(case, PEER, PEER)
    case.silent()
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()


def test_an_elastic_ip_that_was_taken_beside_the_routes_is_not_taken_so_again(case):
    """A node that cannot write the routes would hold the address against their owner."""
    case.silent()
    assert len(case.decide().addresses) == 1
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    case.memory = replace(case.memory, led={PEER: NOW - case.config.returns.maximum})
    assert len(case.decide().addresses) == 1


@pytest.mark.parametrize(
    ("routes", "address", "read", "again"),
    [(ME, ME, True, True), (PEER, ME, True, False), (ME, PEER, True, False), (ME, ME, False, False)],
    ids=["both came", "the routes did not", "the Elastic IP did not", "the Elastic IP was not read"],
)
def test_one_that_has_come_with_its_routes_is_taken_beside_them_at_the_next_death(case, routes, address, read, again):
    case.silent()
    case.decide()
    assert case.memory.led == {PEER: NOW}
    point(case, PEER, routes)
    elastic(case, PEER, interface_id="eni-" + address, private=waiting(ME, PEER) if address == ME else OWN[PEER])
    shown = case.addresses
    case.addresses = shown if read else {}
    case.decide()
    assert (case.memory.led == {}) == again
    case.addresses = shown
    point(case, PEER, PEER)
    elastic(case, PEER, interface_id="eni-" + PEER, private=OWN[PEER])
    assert [each.after for each in case.decide().addresses] == ([()] if again else [])


def test_a_claim_of_an_identity_that_was_removed_from_the_configuration_is_forgotten(case):
    case.memory = replace(case.memory, led={"nat-x": NOW})
    case.decide()
    assert case.memory.led == {}


def test_a_table_that_cannot_be_taken_now_keeps_the_elastic_ip(case):
    case.silent()
    claim = claims_of(case, PEER)[0]
    case.busy = (("route", claim.route_table, claim.destination),)
    plan = case.decide()
    assert len(plan.routes) == 1 and plan.addresses == ()


def test_an_older_reading_of_the_elastic_ip_is_renewed_first(case):
    case.silent()
    elastic(case, PEER, read_at=NOW - 9)
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    assert plan.refresh is not None and plan.refresh > NOW - 9


@pytest.mark.parametrize("reason", ["observe", "pause"])
def test_the_gate_holds_it_back_and_names_it(reason):
    case = cluster(mode="observe") if reason == "observe" else cluster()
    point(case, PEER, PEER)
    case.silent()
    if reason == "pause":
        real = case.evidence
        case.evidence = lambda: replace(real(), paused="an operator")
    plan = case.decide()
    assert plan.addresses == () and f"address {ELASTIC[PEER]}" in [str(each) for each in plan.withheld]
    assert case.memory.led == {}


# --- the claims are here, the Elastic IP is not ---------------------------------------------------


def test_a_free_elastic_ip_is_taken_at_once(case):
    elastic(case, ME, interface_id=None, private=None)
    assert moved(case.decide()) == [(ME, "eni-" + ME, OWN[ME])]


def test_one_at_another_private_address_of_this_node_is_corrected(case):
    elastic(case, ME, private="10.0.0.99")
    assert moved(case.decide()) == [(ME, "eni-" + ME, OWN[ME])]


def test_one_at_a_living_peer_is_fetched_after_a_moment(case):
    """Route and address of one takeover are seen one after the other."""
    elastic(case, ME, interface_id="eni-" + PEER, private=waiting(PEER, ME))
    assert case.decide().addresses == ()
    case.memory = replace(case.memory, astray={ME: NOW - address_order.PATIENCE})
    assert moved(case.decide()) == [(ME, "eni-" + ME, OWN[ME])]


def test_the_moment_counts_anew_once_the_address_was_right(case):
    case.memory = replace(case.memory, astray={ME: NOW - 100})
    case.decide()
    assert case.memory.astray == {}


def test_a_reading_that_is_not_recent_moves_nothing_and_is_renewed(case):
    elastic(case, ME, interface_id=None, private=None, read_at=NOW - 4)
    plan = case.decide()
    assert plan.addresses == () and plan.refresh == NOW - 3


def test_one_that_a_former_instance_of_a_node_holds_follows(case):
    case.memory = replace(case.memory, former={"eni-old": ME})
    elastic(case, ME, interface_id="eni-old")
    assert moved(case.decide()) == [(ME, "eni-" + ME, OWN[ME])]


def test_a_node_takes_no_elastic_ip_of_claims_that_are_not_here(case):
    elastic(case, PEER, interface_id=None, private=None)
    assert case.decide().addresses == ()
    first, *_rest = claims_of(case, PEER)
    case.routes[first] = replace(case.routes[first], target="eni-" + ME)  # one of two
    assert case.decide().addresses == ()


def test_a_claim_whose_route_table_was_deleted_holds_no_elastic_ip_abroad(case):
    """A configured table that nobody can repair once kept the Elastic IP from its home for good."""
    first, *rest = claims_of(case, PEER)
    assert rest
    case.routes[first] = RouteView(ROUTE_NO_TABLE, None, NOW)
    case.silent()
    assert moved(case.decide()) == [(PEER, "eni-" + ME, waiting(ME, PEER))]
    for claim in rest:
        case.routes[claim] = RouteView(ROUTE_NO_TABLE, None, NOW)
    assert case.decide().addresses == (), "an identity without any claim moves nowhere"


# --- what is never taken --------------------------------------------------------------------------


def test_an_elastic_ip_of_somebody_else_is_drift(case):
    case.silent()
    elastic(case, PEER, interface_id="eni-foreign", private="10.0.9.9")
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    assert "eni-foreign, which is no node of this cluster; it is left alone" in plan.drift[ELASTIC[PEER]]


def test_the_public_address_of_a_node_itself_never_moves(case):
    case.silent()
    elastic(case, PEER, private="10.0.1.10")
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    assert "is the public address of nat-b itself, at 10.0.1.10" in plan.drift[ELASTIC[PEER]]


def test_none_is_put_on_the_primary_address_of_this_node(case):
    case.silent()
    case.instances[ME] = replace(case.instances[ME], address=waiting(ME, PEER))
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    assert "is the primary address of nat-a" in plan.drift[ELASTIC[PEER]]


def test_a_private_address_that_is_not_assigned_is_named(case):
    case.silent()
    case.instances[ME] = replace(case.instances[ME], addresses=("10.0.0.10", OWN[ME]))
    plan = case.decide()
    assert plan.addresses == () and "AssignPrivateIpAddresses" in plan.drift[ELASTIC[PEER]]
    case.instances[ME] = replace(case.instances[ME], addresses=("10.0.0.10", OWN[ME], waiting(ME, PEER)))
    assert ELASTIC[PEER] not in case.decide().drift


def test_an_address_of_another_interface_of_this_node_is_named(case):
    """AssociateAddress with the primary interface and that address would be refused, each time."""
    case.silent()
    here = ("10.0.0.10", OWN[ME], waiting(ME, PEER))
    case.instances[ME] = replace(case.instances[ME], addresses=here, further_addresses=(waiting(ME, PEER),))
    plan = case.decide()
    assert len(plan.routes) == 2 and plan.addresses == ()
    assert "is an address of another interface of nat-a" in plan.drift[ELASTIC[PEER]]


def test_an_id_that_ec2_does_not_know_is_named(case):
    elastic(case, PEER, public="", interface_id=None, private=None)
    assert "EC2 shows no Elastic IP eipalloc-0bbbbbbb in this region" in case.decide().drift[ELASTIC[PEER]]


# --- heirs ----------------------------------------------------------------------------------------


def test_all_claims_of_an_identity_have_one_heir_and_those_of_others_are_spread():
    config = cluster((ME, PEER, THIRD)).config
    claims = [Claim(f"rtb-{number:08x}", "0.0.0.0/0", PEER) for number in range(20)]
    drawn = {heirs.heir(claim, [ME, THIRD], identities.subject(config, claim)) for claim in claims}
    assert len(drawn) == 1
    assert len({heirs.heir(claim, [ME, THIRD]) for claim in claims}) == 2


def test_an_heir_that_can_carry_the_identity_comes_first():
    config = cluster((ME, PEER, THIRD), waits=(THIRD,)).config
    claim = Claim(TABLES[PEER], "0.0.0.0/0", PEER)
    assert identities.heirs_among(config, [ME, THIRD], claim) == [THIRD]
    assert identities.heirs_among(config, [ME], claim) == [ME]  # better than none


def test_without_identities_heirs_are_drawn_as_before():
    config = Case((ME, PEER, THIRD)).config
    claim = Claim(TABLES[PEER], "0.0.0.0/0", PEER)
    assert identities.heirs_among(config, [ME, THIRD], claim) == [ME, THIRD]
    assert identities.subject(config, claim) == str(claim)


# --- an operator's view -----------------------------------------------------------------------------------------------


def test_a_refusal_to_read_elastic_ips_is_a_warning_that_stands(case):
    assert case.decide().warnings == {}
    real = case.evidence
    case.evidence = lambda: replace(real(), addresses_refused="denied; allow ec2:DescribeAddresses")
    assert "connections end with a takeover; routes move as ever" in case.decide().warnings[f"unread_addresses {ME}"]
