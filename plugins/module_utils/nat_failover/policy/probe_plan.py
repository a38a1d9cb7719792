# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shell must find out next: probes, flares, fresh readings. Pure. None of it changes anything but tags of this node."""

from __future__ import annotations

import typing as t

from ..model.cluster import (
    DRAINED,
    DRAINING,
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    SUSPECTED,
    UNMANAGED,
    WITNESS,
    Evidence,
    Memory,
    PeerMemory,
)
from ..model.settings import Config
from .verdict import LATE, doubted_at, second_half, silent_since

FLARE_INTERVAL = 3.0
FEW = 4  # nodes that may all read at that pace; more share it, since EC2 has one budget of calls for all of an account
BURST_LENGTH = 3  # times silent_after; a longer silence is probed at the heartbeat's pace
SUSPICIOUS = (SUSPECTED, SILENT, FAILED, PARTITIONED, UNMANAGED)


def next_late(config: Config, memory: Memory, heartbeats: t.Mapping[str, float]) -> t.Tuple[float, str]:
    """When the next heartbeat will be late, if it does not come, and whose; never, as far as all peers are suspected already."""
    first = (float("inf"), "")
    for name, at in heartbeats.items():
        peer = memory.peers.get(name)
        if peer is not None and peer.suspected_at is None and (at, name) < first:
            first = (at, name)
    return first[0] + LATE * config.heartbeat.interval, first[1]


def probes(config: Config, memory: Memory, evidence: Evidence) -> t.Dict[str, float]:
    """Seconds between probes of each suspect: a burst first, then the heartbeat's pace; a burst again when one that only answered ICMP falls silent."""
    beat = config.heartbeat
    found = {}
    for name, peer in memory.peers.items():
        if peer.suspected_at is None:
            continue
        falls = peer.verdict == UNMANAGED and not _answers_icmp(config, evidence, name)
        burst = falls or evidence.now - peer.suspected_at < BURST_LENGTH * beat.silent_after
        found[name] = beat.burst_interval if burst else beat.interval
    return found


def _answers_icmp(config: Config, evidence: Evidence, name: str) -> bool:
    """Has a suspect, which is asked at least at the heartbeat's pace, just answered?"""
    icmp_at = evidence.heard.get(name, NOTHING_HEARD).icmp_at
    return icmp_at is not None and evidence.now - icmp_at <= LATE * config.heartbeat.interval


def _suspects(memory: Memory, evidence: Evidence) -> t.List[t.Tuple[str, float]]:
    """(peer, since when) of those whose machines may still run: who is stopped or terminated has nothing to show, and stops nobody."""
    found = []
    for name, peer in memory.peers.items():
        if peer.suspected_at is None:
            continue
        view = evidence.instances.get(name)
        if view is None or view.state not in ("stopped", "terminated"):
            found.append((name, peer.suspected_at))
    return found


def watch(config: Config, memory: Memory, evidence: Evidence) -> t.Optional[float]:
    """How often to read EC2: often while a flare may still come in time to spare a swap, then steadily, None without a suspicion."""
    began = [at for name, at in _suspects(memory, evidence)]
    if not began:
        return None
    silent_after = config.heartbeat.silent_after
    crowd = max(1.0, len(config.nodes) / FEW)
    return crowd * (silent_after / 4 if evidence.now - max(began) < 2 * silent_after else 1.0)


def must_flare(config: Config, memory: Memory, evidence: Evidence) -> bool:
    """Flare while I suspect a peer, or a peer that I hear suspects me (one-way loss). Nobody would fence a witness."""
    if evidence.me.state == WITNESS:
        return False
    if _suspects(memory, evidence):
        return True
    return any(
        heard.report is not None
        and heard.report.views.get(config.self_name) in SUSPICIOUS
        and memory.peers[name].verdict in (HEALTHY, SICK)
        for name, heard in evidence.heard.items()
        if name in memory.peers
    )


def _leaves(peer: PeerMemory, evidence: Evidence, name: str) -> bool:
    """Is somebody about to need this peer's claims?"""
    report = evidence.heard.get(name, NOTHING_HEARD).report
    drains = report is not None and report.state in (DRAINING, DRAINED)
    return peer.suspected_at is not None or peer.verdict == SICK or drains


def _younger_than(config: Config, evidence: Evidence, name: str, peer: PeerMemory) -> float:
    """What is known from before that moment decides nothing about this peer."""
    if peer.suspected_at is None or _answers_icmp(config, evidence, name):
        return doubted_at(peer)
    heard = evidence.heard.get(name, NOTHING_HEARD)
    half = second_half(config, heard)
    return half if peer.verdict == UNMANAGED and evidence.now >= half else silent_since(peer, heard)


def must_refresh(config: Config, memory: Memory, evidence: Evidence) -> t.Optional[float]:
    """When routes, my internet access or the API's health are known only from before a suspicion, a verdict or a drain: that time."""
    needed = max(
        (
            _younger_than(config, evidence, name, peer)
            for name, peer in memory.peers.items()
            if _leaves(peer, evidence, name)
        ),
        default=None,
    )
    if needed is None:
        return None
    known = [evidence.me.internet_at, evidence.me.ec2_at, *(view.read_at for view in evidence.routes.values())]
    return needed if any(at is None or at < needed for at in known) else None
