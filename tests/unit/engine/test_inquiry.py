# SPDX-License-Identifier: GPL-3.0-or-later
"""When to look again: as soon as a heartbeat is late, and not before."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.model.cluster import Memory, PeerMemory
from nat_failover.policy import probe_plan as inquiry

from .test_policy import NOW, PEER, THIRD, Case, make_config

CONFIG = make_config(("nat-a", PEER, THIRD))
LATE = 0.15  # one and a half heartbeats


def next_late(heartbeats, **suspected):
    peers = {name: PeerMemory(suspected_at=suspected.get(name.replace("-", "_"))) for name in (PEER, THIRD)}
    return inquiry.next_late(CONFIG, Memory(NOW, peers=peers), heartbeats)


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
    memory, evidence = case.memory, case.evidence()
    few = inquiry.watch(case.config, memory, evidence)
    many = inquiry.watch(replace(case.config, nodes=case.config.nodes * 4), memory, evidence)
    assert (few, round(many, 3)) == (0.15, 0.45)
