# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's instance is replaced by another one."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.model.evidence import Heard
from nat_failover.policy import fence_objections

from .policy_case import (
    ME,
    NOW,
    PEER,
    Case,
    fence_case,
    heard,
    replaced,
    routes,
)


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
    assert fence_objections.objection(fence_case(case)) == "it was never seen healthy"


def test_a_heartbeat_from_before_the_instance_was_known_may_be_its_predecessors():
    case = Case()
    case.memory = replace(case.memory, machines={})
    assert case.verdict() == "healthy" and not case.memory.peers[PEER].seen_healthy
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW + 0.01)
    assert case.verdict() == "healthy" and case.memory.peers[PEER].seen_healthy


def test_a_route_to_the_interface_of_a_predecessor_is_taken_over_at_once():
    plan = replaced(Case()).decide()
    assert routes(plan) == [("mend", PEER)]
    assert "the interface of a former nat-b" in plan.routes[0].reason
    assert plan.drift == {}


def test_a_replaced_home_takes_its_route_itself():
    case = replaced(Case(), node=ME)
    case.me = replace(case.me, instance_id="i-00000009")
    case.heard[PEER] = heard(ago=0.05, icmp_ago=0.5)
    plan = case.decide()
    assert [(action.kind, action.claim.home, action.interface_id) for action in plan.routes] == [
        ("mend", ME, "eni-new")
    ]


def test_an_interface_that_went_along_to_the_new_instance_is_no_former_one():
    case = replaced(Case())
    case.instances[PEER] = replace(case.instances[PEER], interface_id="eni-" + PEER)
    plan = case.decide()
    assert (routes(plan), plan.drift) == ([], {})
