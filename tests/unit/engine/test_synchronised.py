# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision about synchronised connections: the place of an identity, and a return that waits for flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.evidence import Report
from nat_failover.model.nat import CARRY, RESET, RESUME
from nat_failover.model.sync import AWAY, ENDED, HERE
from nat_failover.policy import explain
from nat_failover.policy import synchronised as flows_policy
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import ME, NOW, PEER, heard, routes
from .test_identities import cluster, elastic, point, waiting


def synchronised(**report):
    """This node has come back, and the peer still carries its identity. ``report``: that of the peer."""
    case = cluster()
    case.config = replace(case.config, state_sync="conntrackd")
    case.heard[PEER] = heard(report=Report("active", True, **report))
    point(case, PEER, PEER)
    point(case, ME, PEER)
    case.memory = replace(case.memory, own_claims=frozenset())
    return case


def returns(case, here):
    evidence, given = case.evidence, ({} if here is None else {ME: here})
    case.evidence = lambda: replace(evidence(), flows=given)
    return [home for kind, home in routes(case.decide()) if kind == "return"]


def test_an_identity_is_here_while_any_of_its_claims_is():
    case = cluster()
    case.config = replace(case.config, state_sync="conntrackd")
    point(case, PEER, PEER)
    assert dict(case.decide().places) == {ME: HERE, PEER: AWAY}
    point(case, PEER, ME)
    assert dict(case.decide().places) == {ME: HERE, PEER: HERE}
    assert flows_policy.abroad(case.config, case.decide().places) == (PEER,)
    case.routes[case.claim(PEER)] = replace(case.routes[case.claim(PEER)], target="eni-" + PEER)
    assert dict(case.decide().places) == {ME: HERE, PEER: HERE}, "its other claim still is"
    point(case, PEER, "stranger")
    assert dict(case.decide().places) == {ME: HERE, PEER: AWAY}
    point(case, ME, PEER)
    assert flows_policy.abroad(case.config, case.decide().places) == (ME,)
    case.routes = {}
    assert case.decide().places == {}, "nothing was read yet"


def test_an_identity_whose_elastic_ip_does_not_follow_is_ended():
    case = cluster()
    case.config = replace(case.config, state_sync="conntrackd")
    point(case, PEER, ME)
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    assert flows_policy.places(about, {PEER: RESET, ME: CARRY}) == {PEER: ENDED, ME: HERE}
    assert flows_policy.places(about, {PEER: RESUME}) == {PEER: HERE, ME: HERE}


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("at the peer", {ME: ENDED, PEER: ENDED}),
        ("here", {ME: HERE, PEER: HERE}),
        ("not read", {ME: HERE, PEER: ENDED}),
    ],
)
def test_connections_end_where_the_elastic_ip_is_known_to_be_elsewhere(read, expected):
    """That of this node is at home, if nothing is known."""
    case = cluster()
    case.config = replace(case.config, state_sync="conntrackd")
    point(case, PEER, ME)
    if read == "not read":
        case.addresses = {}
    elif read == "here":
        elastic(case, PEER, interface_id="eni-" + ME, private=waiting(ME, PEER))
    else:
        elastic(case, ME, interface_id="eni-" + PEER, private=waiting(PEER, ME))
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    assert flows_policy.places(about, {PEER: RESET, ME: RESET}) == expected


def test_without_the_setting_there_are_no_places():
    assert cluster().decide().places == {}


@pytest.mark.parametrize(
    ("theirs", "here", "comes"),
    [
        ({ME: 4008}, 1001, False),
        ({ME: 4008}, 4000, True),
        ({ME: 100}, 90, True),
        ({ME: 100}, 89, False),
        ({}, 0, True),  # the heir counts nothing: its conntrackd does not work
        ({ME: 4008}, None, True),  # nor does that of this node
    ],
)
def test_a_return_waits_for_the_flows_of_the_heir(theirs, here, comes):
    assert bool(returns(synchronised(flows=theirs), here)) == comes


def test_it_waits_no_longer_than_a_minute_and_says_so():
    case = synchronised(flows={ME: 4008})
    assert not returns(case, 1001)
    assert case.memory.due_since == NOW
    case.memory = replace(case.memory, due_since=NOW - flows_policy.FLOWS_WITHIN + 10)
    assert not case.decide().routes
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    text = "1001 of the 4008 connections of nat-b have arrived here; the return waits 10 s at most"
    assert flows_policy.lacks_flows(about, case.claim(ME)) == text
    assert [told.waits for told in explain.explain(*about[:3]) if told.subject == case.claim(ME).route_table] == [
        (text,)
    ]
    case.memory = replace(case.memory, due_since=NOW - flows_policy.FLOWS_WITHIN)
    assert [each.kind for each in case.decide().routes] == ["return"]


def test_the_minute_begins_when_the_node_could_take_its_claims_back():
    case = synchronised(flows={ME: 4008})
    case.memory = replace(case.memory, fit_since=NOW - case.config.returns.after + 1)
    assert not returns(case, 1001)
    assert case.memory.due_since is None
    case.memory = replace(case.memory, fit_since=NOW - 600, due_since=NOW - 5)
    point(case, ME, ME)
    case.decide()
    assert case.memory.due_since is None


def test_an_order_of_an_operator_does_not_wait():
    case = synchronised(flows={ME: 4008})
    evidence = case.evidence
    case.evidence = lambda: replace(evidence(), ordered=frozenset({case.claim(ME)}))
    assert returns(case, 1001)


def test_without_the_setting_no_return_waits():
    case = synchronised(flows={ME: 4008})
    case.config = replace(case.config, state_sync="")
    assert returns(case, 1001)
