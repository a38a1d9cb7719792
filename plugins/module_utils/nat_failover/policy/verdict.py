# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a peer, and its evidence in words. Pure.

``TABLE`` holds the verdicts. ``self_doubt`` protects a peer from the blindness of this node.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model.cluster import GONE, WITNESS
from ..model.evidence import (
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    UNKNOWN,
    UNMANAGED,
    Heard,
)
from ..model.memory import PeerMemory
from . import early
from .case import AnyCase, Case, PeerCase
from .suspicion import LATE, silence, silent_since, suspect

ONE_PROTOCOL = 2  # times silent_after: patience with a peer of which only ICMP is left to be heard
# Probes (UDP and ICMP) that must have gone unanswered before silence means anything
LEAST_UNANSWERED = 8
NEVER_JUDGED = PeerMemory()
# Seconds: a flare is rewritten every FLARE_INTERVAL and read every second while suspicion lasts
FLARE_VALID = 10.0
SWAP_FACTOR, SWAP_LONGEST = 4.0, 1800.0  # see ``swapping``
KEEP = ""  # in the table: the last verdict stays


def judge(case: Case, name: str) -> PeerMemory:
    """The memory of one peer after this tick: verdict, evidence, suspicion."""
    now = case.evidence.now
    known = case.memory.peers.get(name) or PeerMemory(since=now, born=now)
    before = case.about(name, known)
    peer = suspect(before)
    about = before.after(peer)
    row = _first_row(about)
    kind = row.verdict or peer.verdict
    # Packets queued in the socket at start, or from before the instance was known, may come from
    # its predecessor.
    if kind == HEALTHY and not peer.seen_healthy:
        if (about.heard.heartbeat_at or 0.0) > max(peer.born, peer.known_at):
            peer = replace(peer, seen_healthy=True)
    if kind == peer.verdict:
        return peer
    if kind == FAILED and early.is_unread(about) and early.may_judge(about):
        peer = replace(peer, early_at=now)
    return replace(peer, verdict=kind, since=now, evidence=explain(about, row))


# --- the table ------------------------------------------------------------------------------------


def _is_new(case: PeerCase) -> bool:
    since = max(case.memory.awake_since, case.peer.born)
    return case.heard.heartbeat_at is None and case.evidence.now - since < case.config.unseen_after


def _is_heard(case: PeerCase) -> bool:
    heartbeat_at = case.heard.heartbeat_at
    return heartbeat_at is not None and silence(case, heartbeat_at) < case.config.heartbeat.silent_after


def _was_silent_before_a_freeze(case: PeerCase) -> bool:
    # A freeze of this node resets the count of silence, not what was known before it.
    long_ago = case.evidence.now - (case.heard.heartbeat_at or 0.0) >= case.config.heartbeat.silent_after
    return long_ago and _is_heard(case)


def _serves(case: PeerCase) -> bool:
    # A witness need not forward.
    report = case.heard.report
    serves = report is not None and (report.forwarding or case.name in case.config.witnesses)
    return serves and _is_heard(case)


def _answers_icmp(case: PeerCase) -> bool:
    heard, silent_after = case.heard, case.config.heartbeat.silent_after
    if heard.icmp_at is None:
        return False
    # One protocol is left to be heard of a peer whose service is dead: random loss alone must not
    # silence it (L5).
    patience = ONE_PROTOCOL * silent_after if case.peer.verdict == UNMANAGED else silent_after
    return silence(case, heard.icmp_at) < patience or waits_for_proof(case)


def _burst_goes_on(case: PeerCase) -> bool:
    few = case.heard.unanswered < LEAST_UNANSWERED
    return few and silence(case, case.heard.heartbeat_at) < 2 * case.config.heartbeat.silent_after


def _lives_elsewhere(case: PeerCase) -> bool:
    return bool(alive_elsewhere(case))


def _is_doubtful(case: PeerCase) -> bool:
    return bool(self_doubt(case))


def _always(case: PeerCase) -> bool:
    return True


def _first_row(case: PeerCase) -> Row:
    """The row of the table that decides."""
    for row in TABLE:
        if row.holds(case):
            break
    return row


class Row(t.NamedTuple):
    """``verdict`` is the conclusion where ``holds`` is the first of the table that is true.

    KEEP: the last one stays.
    """

    verdict: str
    holds: t.Callable[[PeerCase], bool]
    reason: str


# First match wins. The order is the law: what speaks for the life of a peer comes before what
# speaks for its death.
TABLE: tuple[Row, ...] = (
    Row(UNKNOWN, _is_new, "never heard, and not known for long enough to be missed"),
    Row(KEEP, _was_silent_before_a_freeze, "this node was frozen and starts to count silence anew"),
    Row(HEALTHY, _serves, "its heartbeats arrive and it serves"),
    Row(SICK, _is_heard, "its heartbeats arrive and it does not forward; its claims need an heir"),
    Row(UNMANAGED, _answers_icmp, "its heartbeats are missing and its kernel answers ICMP; its routes stay"),
    Row(KEEP, _burst_goes_on, "too few probes have gone unanswered so far"),
    Row(PARTITIONED, _lives_elsewhere, "it is silent here and alive by a witness; its routes stay"),
    Row(SILENT, _is_doubtful, "it is silent and this node may be the cause; nothing moves"),
    Row(FAILED, _always, "it is silent and all evidence agrees; its claims need an heir"),
)


# --- witnesses ------------------------------------------------------------------------------------


def alive_elsewhere(case: PeerCase) -> str:
    """A sign of life besides packets, in words, or "": a flare, an item, a claim taken, a view."""
    now, peer = case.evidence.now, case.peer
    heard_at = case.heard.heartbeat_at or 0.0
    for sign, at in (
        ("its flare changed", peer.flare_at),
        ("its item in the witness table changed", peer.item_at),
        ("it took a claim of this node", peer.took_own_claim_at),
    ):
        if at is not None and at >= heard_at and now - at < FLARE_VALID:
            return f"{sign} {now - at:.1f} s ago"
    # The view of a third node that has itself gone silent does not count.
    suspected_at = peer.suspected_at if peer.suspected_at is not None else now
    since = max(suspected_at, now - case.config.heartbeat.silent_after)
    for other, heard in case.evidence.heard.items():
        fresh = heard.heartbeat_at is not None and heard.heartbeat_at >= since
        view = heard.report.views.get(case.name) if fresh and heard.report is not None else None
        if view in (HEALTHY, SICK, UNMANAGED):
            return f"{other} reports it as {view}"
    return ""


def swapping(case: PeerCase) -> bool:
    """Whether this peer must be left its claims, although it is silent and shows no flare.

    This node cannot be seen, for EC2 does not take its flare. So the peer may take this node for
    dead, and it may be unseen itself, for the same reason. Each time that it took claims from this
    node while it was silent, it was alive: the next takeover waits ``SWAP_FACTOR`` times as long as
    the one before, ``SWAP_LONGEST`` at most. An instance that EC2 shows as gone is not waited for.
    """
    peer, instance = case.peer, case.instance
    if not case.evidence.me.unseen or peer.took_own_claim_at is None or not peer.swaps:
        return False
    if instance is not None and instance.state in GONE:
        return False
    return case.evidence.now - peer.took_own_claim_at < swap_wait(peer.swaps)


def swap_wait(swaps: int) -> float:
    """Seconds until the next takeover from a silent peer that took claims ``swaps`` times."""
    return min(FLARE_VALID * SWAP_FACTOR ** min(swaps - 1, 8), SWAP_LONGEST)


# --- self doubt -----------------------------------------------------------------------------------


def self_doubt(case: PeerCase) -> str:
    """The reason why this node, not the peer, may be cut off (L4 isolated means silent), or "".

    Proofs of its own access must be younger than the silence.
    """
    now, peer, heard = case.evidence.now, case.peer, case.heard
    since = silent_since(peer, heard) if peer.suspected_at is not None else now
    unproven = _unproven(case, since)
    if unproven:
        return unproven
    if heard.unanswered < LEAST_UNANSWERED:
        return f"only {heard.unanswered} probes have left this node"
    if peer.proven_at is None or now - peer.proven_at < _grace(case, peer.proven_at - since):
        return "the internet access of this node is proven only just now"
    return "this node hears none of its peers" if peer.verdict != FAILED and isolated(case) else ""


def _unproven(case: PeerCase, since: float) -> str:
    """The first thing that this node has not proven about itself since a moment, or ""."""
    own = case.evidence.me
    if not own.forwarding and own.state != WITNESS:
        return f"this node does not forward ({own.fact})"
    if not own.internet or own.internet_at is None or own.internet_at < since:
        return "the internet access of this node is not proven since the silence began"
    if not own.ec2 or own.ec2_at is None or (own.ec2_at < since and not early.may_judge(case)):
        return "the EC2 API has not answered this node since the silence began"
    return ""


def _grace(case: PeerCase, late: float) -> float:
    """Seconds of grace for the peer after a proof ``late`` seconds into its silence.

    The check at the start of a suspicion comes at once. A later proof ends a time in which this
    node may have been cut off. Nothing that was not heard in that time counts against the peer
    (L5).
    """
    heartbeat = case.config.heartbeat
    return 2 * heartbeat.interval if late <= heartbeat.silent_after else ONE_PROTOCOL * heartbeat.silent_after


def second_half(case: PeerCase) -> float:
    """The moment when half of the patience with a peer is over that answers only ICMP."""
    return (case.heard.icmp_at or 0.0) + case.config.heartbeat.silent_after


def waits_for_proof(case: PeerCase) -> bool:
    """Whether this node has yet to prove its internet access in the second half of an ICMP silence.

    One protocol's silence decides here. A proof from its first moments does not tell whether this
    node was cut off right after it (L5).
    """
    own = case.evidence.me
    return case.peer.verdict == UNMANAGED and own.internet and (own.internet_at or 0.0) < second_half(case)


def isolated(case: AnyCase) -> bool:
    """Whether all peers fell silent at the same time, so that this node is the likely cause (L4).

    A dead peer cannot flare. After ``fence.after`` seconds without flares the peers are the cause
    after all.
    """
    config, memory, evidence = case.config, case.memory, case.evidence
    # A peer that failed long ago does not count. One that failed a moment ago may share the cause.
    # A peer that has just been replaced is not known yet, but its heartbeats are expected.
    known = [(node.name, memory.peers.get(node.name, NEVER_JUDGED)) for node in config.peers]
    expected = [each for each in known if each[1].verdict != FAILED or evidence.now - each[1].since < FLARE_VALID]
    if len(expected) < 2:
        return False
    # An answer to ICMP shows a connection, too.
    latest = [(_latest(evidence.heard.get(other, NOTHING_HEARD)), seen.born) for other, seen in expected]
    # The count begins with the newest packet of any peer. The time of a peer that was never heard,
    # such as a replacement, begins when it is first known of.
    quiet = min(silence(case, at) for at, _born in latest)
    begun = min(silence(case, born if at is None else at) for at, born in latest)
    return quiet > LATE * config.heartbeat.interval and begun < config.fence.after


def _latest(heard: Heard) -> float | None:
    """The moment of the newest packet of any kind, or None."""
    return max((at for at in (heard.heartbeat_at, heard.icmp_at) if at is not None), default=None)


# --- words ----------------------------------------------------------------------------------------


def explain(case: PeerCase, row: Row) -> str:
    """One line that an operator can act on (L11): reason, consequence, evidence in parentheses."""
    now, heard, view = case.evidence.now, case.heard, case.instance
    parts = [_ago("heartbeat", now, heard.heartbeat_at), _ago("ICMP", now, heard.icmp_at)]
    if heard.unanswered:
        parts.append(f"{heard.unanswered} probes unanswered")
    if heard.report is not None and heard.report.fact:
        parts.append(f"it reports: {heard.report.fact}")
    if row.verdict in (SILENT, FAILED, PARTITIONED):
        parts.append(alive_elsewhere(case) or "no flare seen")
        parts.append(self_doubt(case) or _proven(case))
    parts.append(f"EC2 showed it as {view.state} {now - view.read_at:.1f} s ago" if view else "EC2 not read yet")
    return "{} ({})".format(row.reason, ", ".join(parts))


def _proven(case: PeerCase) -> str:
    """The proofs of this node itself since the silence began, in words."""
    if early.is_unread(case):
        return "own forwarding and internet proven meanwhile, EC2 not read since"
    return "own forwarding, internet and EC2 API proven meanwhile"


def evidence_now(case: PeerCase) -> str:
    """The evidence about a peer at this moment, in the words of ``explain``."""
    return explain(case, _first_row(case))


def _ago(what: str, now: float, at: float | None) -> str:
    return f"no {what} yet" if at is None else f"{what} {int((now - at) * 1000)} ms ago"
