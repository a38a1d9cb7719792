# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next observations of the shell: probes, flares, fresh readings.

Pure. It changes nothing but tags of this node.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import DRAINED, DRAINING, OFF, WITNESS
from ..model.evidence import FAILED, HEALTHY, NOTHING_HEARD, PARTITIONED, SICK, SILENT, SUSPECTED, UNMANAGED
from ..model.memory import Memory
from ..model.settings import Config
from .case import Case, PeerCase
from .suspicion import LATE, doubted_at, late_at, silent_since
from .verdict import second_half

FLARE_INTERVAL = 3.0  # seconds
# Nodes that may all read at that pace. More nodes share it: EC2 has one budget of calls for an
# account
FEW = 4
BURST_LENGTH = 3  # times silent_after. A longer silence is probed at the heartbeat's pace
SUSPICIOUS = (SUSPECTED, SILENT, FAILED, PARTITIONED, UNMANAGED)


def next_late(config: Config, memory: Memory, heartbeats: t.Mapping[str, float]) -> tuple[float, str]:
    """(the moment from which the next heartbeat is late, the peer that it is due from).

    The moment is infinite and the peer "" while no peer is heard, or all are suspected.
    """
    first = (float("inf"), "")
    for name, at in heartbeats.items():
        peer = memory.peers.get(name)
        if peer is not None and peer.suspected_at is None and (at, name) < first:
            first = (at, name)
    return late_at(config, memory, first[0]), first[1]


def probes(case: Case) -> dict[str, float]:
    """Suspect -> seconds between probes of it.

    A burst first, then the heartbeat's pace. A burst again when a peer that only answered ICMP
    falls silent.
    """
    heartbeat, now = case.config.heartbeat, case.evidence.now
    found = {}
    for name, peer in case.memory.peers.items():
        if peer.suspected_at is None:
            continue
        falls = peer.verdict == UNMANAGED and not _answers_icmp(case.peer(name))
        burst = falls or now - peer.suspected_at < BURST_LENGTH * heartbeat.silent_after
        found[name] = heartbeat.burst_interval if burst else heartbeat.interval
    return found


def _answers_icmp(case: PeerCase) -> bool:
    """Whether a suspect, which is probed at least at the heartbeat's pace, has just answered."""
    icmp_at = case.heard.icmp_at
    return icmp_at is not None and case.evidence.now - icmp_at <= LATE * case.config.heartbeat.interval


def _suspects(case: Case) -> list[float]:
    """The start of each suspicion of a peer whose machine may still run.

    A machine that is off shows nothing and stops nobody.
    """
    found = []
    for name, peer in case.memory.peers.items():
        if peer.suspected_at is None:
            continue
        view = case.evidence.instances.get(name)
        if view is None or view.state not in OFF:
            found.append(peer.suspected_at)
    return found


def watch(case: Case) -> float | None:
    """Seconds between readings of EC2, or None without a suspicion.

    EC2 is read often while a flare may still come in time, then steadily.
    """
    began = _suspects(case)
    if not began:
        return None
    silent_after = case.config.heartbeat.silent_after
    crowd = max(1.0, len(case.config.nodes) / FEW)
    return crowd * (silent_after / 4 if case.evidence.now - max(began) < 2 * silent_after else 1.0)


def must_flare(case: Case) -> bool:
    """Whether this node flares: it suspects a peer, or a peer that it hears suspects it."""
    evidence, peers = case.evidence, case.memory.peers
    if evidence.me.state == WITNESS:
        return False  # a witness is never fenced
    if _suspects(case):
        return True
    return any(
        heard.report is not None
        and heard.report.views.get(case.config.self_name) in SUSPICIOUS
        and peers[name].verdict in (HEALTHY, SICK)
        for name, heard in evidence.heard.items()
        if name in peers
    )


def must_refresh(case: Case) -> float | None:
    """The moment from which evidence is needed, or None if it is all younger.

    Evidence means the routes, the internet access of this node and the health of the EC2 API.
    """
    evidence, needed = case.evidence, None
    for name, peer in case.memory.peers.items():
        report = evidence.heard.get(name, NOTHING_HEARD).report
        drains = report is not None and report.state in (DRAINING, DRAINED)
        # Its claims may soon need an heir
        if peer.suspected_at is not None or peer.verdict == SICK or drains:
            since = _younger_than(case.peer(name))
            needed = since if needed is None else max(needed, since)
    if needed is None:
        return None
    known = [evidence.me.internet_at, evidence.me.ec2_at, *(view.read_at for view in evidence.routes.values())]
    return needed if any(at is None or at < needed for at in known) else None


def _younger_than(case: PeerCase) -> float:
    """The moment before which evidence decides nothing about this peer."""
    peer = case.peer
    if peer.suspected_at is None or _answers_icmp(case):
        return doubted_at(peer)
    half = second_half(case)
    return half if peer.verdict == UNMANAGED and case.evidence.now >= half else silent_since(peer, case.heard)
