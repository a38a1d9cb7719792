# SPDX-License-Identifier: GPL-3.0-or-later
"""When to look again: as soon as a heartbeat is late, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.memory import Memory, PeerMemory
from nat_failover.policy import probe_plan
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import NOW, PEER, THIRD, Case, make_config

CONFIG = make_config(("nat-a", PEER, THIRD))
LATE = 0.15  # one and a half heartbeats


def next_late(heartbeats, **suspected):
    peers = {name: PeerMemory(suspected_at=suspected.get(name.replace("-", "_"))) for name in (PEER, THIRD)}
    return probe_plan.next_late(CONFIG, Memory(NOW - 60, peers=peers), heartbeats)


def test_the_oldest_heartbeat_is_late_first():
    at, name = next_late({PEER: NOW - 0.04, THIRD: NOW - 0.05})
    assert (round(at - NOW - LATE, 3), name) == (-0.05, THIRD)


def test_who_is_suspected_already_is_not_waited_for():
    at, name = next_late({PEER: NOW - 0.04, THIRD: NOW - 5.0}, nat_c=NOW - 4.0)
    assert (round(at - NOW - LATE, 3), name) == (-0.04, PEER)


def test_nobody_is_waited_for_who_was_never_heard_or_is_no_peer():
    assert next_late({}) == (float("inf"), "")
    assert next_late({"nat-z": NOW}) == (float("inf"), "")


def test_many_nodes_share_the_pace_of_reading():
    case = Case(("nat-a", PEER, THIRD))
    case.silent(seconds=0.5)
    case.decide()
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    few = probe_plan.watch(about)
    many = probe_plan.watch(about._replace(config=replace(case.config, nodes=case.config.nodes * 4)))
    assert (few, round(many, 3)) == (0.15, 0.45)


@pytest.mark.parametrize("ago", [0.04, 0.13, 0.1499999])
def test_a_decision_at_the_moment_of_the_wake_up_suspects_the_peer(ago):
    """A clock that stands still between the wake-up and the decision must not make the loop spin."""
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW - ago)
    case.decide()
    at, name = probe_plan.next_late(case.config, case.memory, {PEER: NOW - ago})
    assert name == PEER
    case.now = at
    case.decide()
    assert case.memory.peers[PEER].suspected_at == at
    assert probe_plan.next_late(case.config, case.memory, {PEER: NOW - ago}) == (float("inf"), "")


def test_after_a_freeze_the_next_wake_up_is_not_in_the_past():
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], heartbeat_at=NOW - 5)
    case.memory = replace(case.memory, last_tick=NOW - 5)
    case.decide()
    at, name = probe_plan.next_late(case.config, case.memory, {PEER: NOW - 5})
    assert (round(at - NOW, 3), name) == (LATE, PEER)
