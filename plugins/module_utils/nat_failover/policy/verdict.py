# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a peer is, and why: the evidence table. Pure. Start with ``_kind``; ``_doubt`` is what protects a peer from my own blindness."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model import liveness as signs
from ..model.cluster import (
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    TAG_FLARE,
    UNKNOWN,
    UNMANAGED,
    WITNESS,
    Evidence,
    Heard,
    Memory,
    PeerMemory,
    Report,
)
from ..model.settings import Config

LATE = 1.5  # heartbeat intervals without a heartbeat that start a burst
ONE_PROTOCOL = 2  # times silent_after without an answer to ICMP, when nothing but that has been heard anyway
LEAST_UNANSWERED = 8  # probes (UDP and ICMP) that must have gone unanswered before silence means anything
NEVER_JUDGED = PeerMemory()
FLARE_VALID = 10.0  # seconds: a flare is rewritten every FLARE_INTERVAL and read every second while suspicion lasts


def judge(config: Config, memory: Memory, evidence: Evidence, name: str) -> PeerMemory:
    peer = memory.peers.get(name) or PeerMemory(since=evidence.now, born=evidence.now)
    heard = evidence.heard.get(name, NOTHING_HEARD)
    peer = _suspect(config, memory, evidence, peer, heard, name)
    kind = _kind(config, memory, evidence, peer, heard, name)
    # What the kernel had in store when I began to look, or to know the instance, may be the last of a predecessor.
    if kind == HEALTHY and not peer.seen_healthy and (heard.heartbeat_at or 0.0) > max(peer.born, peer.known_at):
        peer = replace(peer, seen_healthy=True)
    if kind == peer.verdict:
        return peer
    words = explain(config, memory, evidence, peer, heard, name, kind)
    return replace(peer, verdict=kind, since=evidence.now, evidence=words)


def _suspect(
    config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str
) -> PeerMemory:
    """Suspicion starts with the first late heartbeat and ends with the next one; flares are compared from its start on."""
    if heard.heartbeat_at is None:
        late = evidence.now - max(memory.awake_since, peer.born) > config.unseen_after / 2
    else:
        late = evidence.now - max(heard.heartbeat_at, memory.awake_since) > LATE * config.heartbeat.interval
    if not late and peer.suspected_at is None:
        return peer
    if not late:
        return replace(
            peer,
            suspected_at=None,
            proven_at=None,
            flare_baseline=None,
            flare_at=None,
            item_baseline=None,
            item_at=None,
        )
    if peer.suspected_at is None:
        peer = replace(peer, suspected_at=evidence.now)
    since = silent_since(peer, heard)
    connected = evidence.me.internet and (evidence.me.internet_at or 0.0) >= since
    if connected != (peer.proven_at is not None):
        peer = replace(peer, proven_at=evidence.now if connected else None)
    return _look_for_signs(evidence, peer, heard, name)


def _look_for_signs(evidence: Evidence, peer: PeerMemory, heard: Heard, name: str) -> PeerMemory:
    """What it rewrites while it lives: its flare, and its item in the witness table. Changed since suspicion began is fresh.

    Not so what it began to write before its last heartbeat, and what is only read now.
    """
    view, table = evidence.instances.get(name), evidence.witness
    flare = None if view is None else view.tags.get(TAG_FLARE, "")
    if view is not None and flare != peer.flare_baseline:
        known = peer.flare_baseline is None or signs.older(flare or "", heard)
        seen = peer.flare_at if known else view.read_at
        peer = replace(peer, flare_baseline=flare, flare_at=seen)
    item = None if table is None or view is None else table.items.get(view.instance_id, "")
    if table is not None and item is not None and item != peer.item_baseline:
        known = peer.item_baseline is None or signs.older(item, heard)
        seen = peer.item_at if known else table.read_at
        peer = replace(peer, item_baseline=item, item_at=seen)
    return peer


def _kind(config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str) -> str:
    """The verdict table, first match wins."""
    silent_after = config.heartbeat.silent_after
    udp, icmp = silence(memory, evidence, heard.heartbeat_at), silence(memory, evidence, heard.icmp_at)
    if heard.heartbeat_at is None and evidence.now - max(memory.awake_since, peer.born) < config.unseen_after:
        return UNKNOWN
    if heard.heartbeat_at is not None and udp < silent_after:
        # A freeze resets the count of silence, not what was known before it.
        if evidence.now - heard.heartbeat_at >= silent_after:
            return peer.verdict
        return HEALTHY if _works(config, heard.report, name) else SICK
    # Of a peer whose service is dead only one protocol is left to hear: loss alone must not silence it (L5).
    patience = ONE_PROTOCOL * silent_after if peer.verdict == UNMANAGED else silent_after
    if heard.icmp_at is not None and (icmp < patience or _waits_for_proof(config, evidence, peer, heard)):
        return UNMANAGED
    if heard.unanswered < LEAST_UNANSWERED and udp < 2 * silent_after:
        return peer.verdict  # the burst has not had its time yet
    if alive_elsewhere(config, evidence, peer, name):
        return PARTITIONED
    return FAILED if not _doubt(config, memory, evidence, peer, heard) else SILENT


def second_half(config: Config, heard: Heard) -> float:
    """When half of the patience with a peer is over that answers nothing but ICMP: later proof of my own says that it is not me."""
    return (heard.icmp_at or 0.0) + config.heartbeat.silent_after


def _waits_for_proof(config: Config, evidence: Evidence, peer: PeerMemory, heard: Heard) -> bool:
    """One protocol's silence decides here, and a proof from its first moments does not tell whether I was cut off right after (L5)."""
    me = evidence.me
    return peer.verdict == UNMANAGED and me.internet and (me.internet_at or 0.0) < second_half(config, heard)


def _works(config: Config, report: t.Optional[Report], name: str) -> bool:
    """Does it do what it is there for? A witness need not forward."""
    return report is not None and (report.forwarding or name in config.witnesses)


def silence(memory: Memory, evidence: Evidence, heard_at: t.Optional[float]) -> float:
    """Seconds for which silence can be held against a peer."""
    return evidence.now - (memory.awake_since if heard_at is None else max(memory.awake_since, heard_at))


def alive_elsewhere(config: Config, evidence: Evidence, peer: PeerMemory, name: str) -> str:
    """The witnesses: its flare, its item, my own claim just taken by it, another node's view. Returns what was seen, or nothing."""
    heard_at = evidence.heard.get(name, NOTHING_HEARD).heartbeat_at or 0.0
    for what, at in (
        ("its flare changed", peer.flare_at),
        ("its item in the witness table changed", peer.item_at),
        ("it has just taken my claim", peer.took_mine_at),
    ):
        if at is not None and at >= heard_at and evidence.now - at < FLARE_VALID:
            return "%s %.1f s ago" % (what, evidence.now - at)
    for other, heard in evidence.heard.items():
        # Of now, too: who has fallen silent since does not vouch for anybody any more.
        since = max(
            peer.suspected_at if peer.suspected_at is not None else evidence.now,
            evidence.now - config.heartbeat.silent_after,
        )
        fresh = heard.heartbeat_at is not None and heard.heartbeat_at >= since
        if fresh and heard.report is not None and heard.report.views.get(name) in (HEALTHY, SICK, UNMANAGED):
            return "%s hears it" % other
    return ""


def _unproven(evidence: Evidence, since: float) -> str:
    """What this node has not proven about itself since a moment; evidence from before a suspicion says nothing about it."""
    me = evidence.me
    if not me.forwarding and me.state != WITNESS:
        return me.fact
    if not me.internet or me.internet_at is None or me.internet_at < since:
        return "my own internet access is not proven since the silence began"
    if not me.ec2 or me.ec2_at is None or me.ec2_at < since:
        return "the EC2 API has not answered me since the silence began"
    return ""


def _doubt(config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard) -> str:
    """Why I, not the peer, may be the suspect (L4). Evidence must be younger than the suspicion, so it is gathered during the burst."""
    since = silent_since(peer, heard) if peer.suspected_at is not None else evidence.now
    unproven = _unproven(evidence, since)
    if unproven:
        return unproven
    if heard.unanswered < LEAST_UNANSWERED:
        return "only %d of my probes have left this node" % heard.unanswered
    if peer.proven_at is None or evidence.now - peer.proven_at < _hearing_again(config, peer.proven_at - since):
        return "my own internet access is proven only just now"
    return "I hear none of the other nodes" if peer.verdict != FAILED and isolated(config, memory, evidence) else ""


def _hearing_again(config: Config, late: float) -> float:
    """Seconds that a peer has to be heard again after my own access was proven, ``late`` seconds into its silence.

    The check at the start of a suspicion comes at once. Proof that comes later ends a time in which I may have been cut off; of what I
    should have heard then nothing counts against the peer, whose kernel alone may be left to answer, through loss (L5).
    """
    silent_after = config.heartbeat.silent_after
    return 2 * config.heartbeat.interval if late <= silent_after else ONE_PROTOCOL * silent_after


def isolated(config: Config, memory: Memory, evidence: Evidence) -> bool:
    """Are all peers gone at the same time? Rather I am (L4). A dead one cannot flare, so after a long silence without flares it is they after all."""
    # Who failed long before does not count; who failed a moment before may be part of the same misfortune, which is mine.
    # One that has just been replaced is not known yet, but it is one that I should hear.
    known = [(node.name, memory.peers.get(node.name, NEVER_JUDGED)) for node in config.peers]
    expected = [each for each in known if each[1].verdict != FAILED or evidence.now - each[1].since < FLARE_VALID]
    if len(expected) < 2:
        return False
    # An answer to ICMP is something heard, too: a peer whose service alone is dead shows that I am not cut off.
    latest = [(_latest(evidence.heard.get(other, NOTHING_HEARD)), seen.born) for other, seen in expected]
    # Counted from whom I heard last, not from the silence of each. What the predecessor of a replacement said is forgotten: of one that
    # was never heard the time to be heard begins when it is first known of.
    quiet = min(silence(memory, evidence, at) for at, _born in latest)
    begun = min(silence(memory, evidence, born if at is None else at) for at, born in latest)
    return quiet > LATE * config.heartbeat.interval and begun < config.fence.after


def _latest(heard: Heard) -> t.Optional[float]:
    """When anything at all was heard last."""
    return max((at for at in (heard.heartbeat_at, heard.icmp_at) if at is not None), default=None)


def explain(
    config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str, kind: str
) -> str:
    """The evidence for a verdict in words: one line that an operator can act on (L11)."""
    parts = [_ago("heartbeat", evidence.now, heard.heartbeat_at), _ago("ICMP", evidence.now, heard.icmp_at)]
    if heard.unanswered:
        parts.append("%d probes unanswered" % heard.unanswered)
    if heard.report is not None and heard.report.fact:
        parts.append("it says: %s" % heard.report.fact)
    if kind in (SILENT, FAILED, PARTITIONED):
        parts.append(alive_elsewhere(config, evidence, peer, name) or "no flare")
        parts.append(
            _doubt(config, memory, evidence, peer, heard) or "own forwarding, internet and EC2 API proven meanwhile"
        )
    view = evidence.instances.get(name)
    parts.append("EC2 said %s %.1f s ago" % (view.state, evidence.now - view.read_at) if view else "EC2 not read yet")
    return ", ".join(parts)


def _ago(what: str, now: float, at: t.Optional[float]) -> str:
    return "no %s yet" % what if at is None else "%s %d ms ago" % (what, (now - at) * 1000)


def silent_since(peer: PeerMemory, heard: Heard) -> float:
    """Since when a suspect has not even answered ICMP: what I know of myself from before that says nothing about its silence."""
    started = peer.suspected_at if peer.suspected_at is not None else peer.since
    return started if heard.icmp_at is None else max(started, heard.icmp_at)


def doubted_at(peer: PeerMemory) -> float:
    """Evidence older than this says nothing about the peer's present state."""
    return peer.suspected_at if peer.suspected_at is not None else peer.since
