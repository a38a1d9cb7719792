# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the routes and the Elastic IP of an identity in planned moves: a drain, a switchover, a return."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import DRAINING
from nat_failover.model.evidence import Report
from nat_failover.policy import address_order

from .policy_case import ME, NOW, PEER
from .test_identities import ELASTIC, OWN, claims_of, cluster, elastic, moved, point, waiting

DEPARTS = Report(DRAINING, True)


@pytest.fixture
def case():
    made = cluster()
    point(made, PEER, PEER)
    return made


# --- a hand-over ----------------------------------------------------------------------------------


@pytest.fixture
def departs(case):
    """The peer hands its claims over."""
    case.heard[PEER] = replace(case.heard[PEER], report=DEPARTS)
    return case


def test_in_a_planned_move_it_comes_after_its_routes_in_the_same_plan(departs):
    """The heir learns of a flow by its client's next packet, as long as the client has something to answer."""
    plan = departs.decide()
    assert len(plan.routes) == 2 and moved(plan) == [(PEER, "eni-" + ME, waiting(ME, PEER))]
    [address] = plan.addresses
    assert sorted(address.after) == sorted(claims_of(departs, PEER)) and not address.renews
    assert address.reason == f"address {ELASTIC[PEER]} of nat-b from nat-b to nat-a: adopt of its claims"
    assert departs.memory.led == {}, "it leads no route"


def test_if_the_routes_are_here_already_it_follows_at_once(departs):
    """The service was restarted between the two writes, or the answer to the first one was lost."""
    point(departs, PEER, ME)
    plan = departs.decide()
    assert plan.routes == () and moved(plan) == [(PEER, "eni-" + ME, waiting(ME, PEER))]
    assert plan.addresses[0].reason == f"address {ELASTIC[PEER]} of nat-b from nat-b to nat-a: its claims are here"
    assert plan.addresses[0].after == ()


def test_it_comes_after_those_routes_that_are_not_here_yet(departs):
    """One of two tables was written, and the write of the other one failed."""
    first, second = claims_of(departs, PEER)
    departs.routes[first] = replace(departs.routes[first], target="eni-" + ME)
    [address] = departs.decide().addresses
    assert address.after == (second,)


def test_while_one_of_its_routes_is_written_or_backs_off_it_stays(departs):
    claim = claims_of(departs, PEER)[0]
    departs.busy = (("route", claim.route_table, claim.destination),)
    plan = departs.decide()
    assert len(plan.routes) == 1 and plan.addresses == ()


@pytest.mark.parametrize(
    ("age", "renews"), [(3.0, False), (3.1, True)], ids=["recent enough for an operator's edit", "too old"]
)
def test_in_a_planned_move_an_old_reading_is_renewed_beside_the_routes(departs, age, renews):
    """A drain moves routes by the last reading, which is up to ``poll_s`` old."""
    for claim in claims_of(departs, PEER):
        departs.routes[claim] = replace(departs.routes[claim], read_at=NOW - age)
    elastic(departs, PEER, read_at=NOW - age)
    plan = departs.decide()
    assert len(plan.routes) == 2 and [each.renews for each in plan.addresses] == [renews]


def test_a_reading_that_is_older_than_that_of_its_routes_is_renewed_beside_them(departs):
    elastic(departs, PEER, read_at=NOW - 1)
    assert [each.renews for each in departs.decide().addresses] == [True]


def test_with_synchronised_connections_a_planned_move_takes_it_beside_its_routes(departs):
    """The flows are here before: nothing is to be learned."""
    departs.config = replace(departs.config, state_sync="conntrackd")
    plan = departs.decide()
    assert len(plan.routes) == 2 and [each.after for each in plan.addresses] == [()]
    assert departs.memory.led == {PEER: NOW}
    [again] = departs.decide().addresses
    assert len(again.after) == 2, "a node that cannot write the routes must not hold it a second time"


def test_if_connections_are_not_synchronised_it_comes_after_its_routes_as_at_level_1(departs):
    departs.config = replace(departs.config, state_sync="conntrackd")
    real = departs.evidence
    departs.evidence = lambda: replace(real(), unsynchronised="conntrackd of the peer was not heard for 30 s")
    assert [len(each.after) for each in departs.decide().addresses] == [2]


def test_a_node_that_dies_while_it_drains_is_taken_over_as_any_other(case):
    case.silent()
    case.heard[PEER] = replace(case.heard[PEER], report=DEPARTS)
    assert [each.after for each in case.decide().addresses] == [()]


# --- a return -------------------------------------------------------------------------------------


@pytest.fixture
def abroad(case):
    """The identity of this node is at a living peer, and may come home."""
    point(case, ME, PEER)
    elastic(case, ME, interface_id="eni-" + PEER, private=waiting(PEER, ME))
    return case


def test_a_return_brings_it_home_after_its_routes_in_the_same_plan(abroad):
    """The home learns of a flow by its client's next packet, as long as the client has something to answer."""
    plan = abroad.decide()
    assert [each.kind for each in plan.routes] == ["return"]
    assert [each.after for each in plan.addresses] == [tuple(claims_of(abroad, ME))]


def test_if_the_write_after_the_return_was_given_up_it_follows_at_once(abroad):
    abroad.decide()
    point(abroad, ME, ME)
    plan = abroad.decide()
    assert plan.routes == () and moved(plan) == [(ME, "eni-" + ME, OWN[ME])]
    assert plan.addresses[0].after == () and abroad.memory.led == {}


def test_routes_that_came_home_a_while_ago_wait_as_any_other(abroad):
    abroad.decide()
    abroad.memory = replace(abroad.memory, returned_at=NOW - address_order.GIVE_UP)
    point(abroad, ME, ME)
    assert abroad.decide().addresses == ()


def test_routes_that_came_home_slowly_are_followed_at_once(abroad):
    """EC2 may take seconds for the write of a route."""
    abroad.decide()
    abroad.memory = replace(abroad.memory, returned_at=NOW - 2 * address_order.PATIENCE)
    point(abroad, ME, ME)
    assert moved(abroad.decide()) == [(ME, "eni-" + ME, OWN[ME])]


def test_a_return_of_this_node_says_nothing_about_the_identity_of_a_peer(case):
    """The routes of the peer are here, and a living peer may be about to take them."""
    point(case, PEER, ME)
    case.memory = replace(case.memory, returned_at=NOW)
    assert case.decide().addresses == ()


def test_with_synchronised_connections_a_return_brings_it_home_beside_its_routes(abroad):
    """The flows are at home before: nothing is to be learned."""
    abroad.config = replace(abroad.config, state_sync="conntrackd")
    plan = abroad.decide()
    assert [each.kind for each in plan.routes] == ["return"]
    assert moved(plan) == [(ME, "eni-" + ME, OWN[ME])] and plan.addresses[0].after == ()


def test_if_connections_are_not_synchronised_a_return_goes_by_the_order_of_level_1(abroad):
    abroad.config = replace(abroad.config, state_sync="conntrackd")
    real = abroad.evidence
    abroad.evidence = lambda: replace(real(), unsynchronised="conntrackd does not answer")
    assert [each.after for each in abroad.decide().addresses] == [tuple(claims_of(abroad, ME))]
