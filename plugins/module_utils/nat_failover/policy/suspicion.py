# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suspicion of a peer: when it begins and ends, and which signs of life are seen during it.

Pure.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model import liveness
from ..model.evidence import NO_SIGN, VALID, Heard, Sign
from ..model.memory import Memory, PeerMemory
from ..model.settings import Config
from .case import AnyCase, PeerCase

LATE = 1.5  # heartbeat intervals without a heartbeat that start a burst
# The fields of ``PeerMemory`` for a sign of life: its baseline, its highest number, its last change
FLARE = ("flare_baseline", "flare_number", "flare_at")
ITEM = ("item_baseline", "item_number", "item_at")


def late_at(config: Config, memory: Memory, heard_at: float) -> float:
    """The moment from which a peer's next heartbeat is late, the last one having come at
    ``heard_at``.

    The shell wakes up at this moment and the policy suspects the peer from this moment on. Both use
    this function, so that no clock is too coarse to get past it.
    """
    return max(heard_at, memory.awake_since) + LATE * config.heartbeat.interval


def suspect(case: PeerCase) -> PeerMemory:
    """The memory with the state of the suspicion.

    It starts with the first late heartbeat and ends with the next one.
    """
    config, evidence, peer, heard = case.config, case.evidence, case.peer, case.heard
    if heard.heartbeat_at is None:
        late = evidence.now - max(case.memory.awake_since, peer.born) > config.unseen_after / 2
    else:
        late = evidence.now >= late_at(config, case.memory, heard.heartbeat_at)
    if not late and peer.suspected_at is None:
        return peer
    if not late:
        return replace(
            peer,
            suspected_at=None,
            proven_at=None,
            flare_baseline=None,
            flare_number=0,
            flare_at=None,
            item_baseline=None,
            item_number=0,
            item_at=None,
        )
    if peer.suspected_at is None:
        peer = replace(peer, suspected_at=evidence.now)
    since = silent_since(peer, heard)
    connected = evidence.me.internet and (evidence.me.internet_at or 0.0) >= since
    if connected != (peer.proven_at is not None):
        peer = replace(peer, proven_at=evidence.now if connected else None)
    return note_signs(case.after(peer))


def note_signs(case: PeerCase) -> PeerMemory:
    """The memory with the peer's signs of life: its flare, its item in the witness table.

    A value that changed since the suspicion began is a sign. The first reading is only the
    baseline. A value that was begun before the last heartbeat is no sign, however late it is read.
    Neither is a value that a stranger wrote, or wrote again.
    """
    view, table = case.instance, case.evidence.witness
    if view is None:
        return case.peer
    peer = _note(case, case.peer, FLARE, case.evidence.flares, view.read_at)
    return peer if table is None else _note(case, peer, ITEM, case.evidence.items, table.read_at)


def _note(
    case: PeerCase, peer: PeerMemory, fields: t.Sequence[str], signs: t.Mapping[str, Sign], read_at: float
) -> PeerMemory:
    """The memory with one sign. ``fields``: those that hold its baseline, number and time."""
    sign = signs.get(case.name, NO_SIGN)
    baseline, highest, at = (getattr(peer, each) for each in fields)
    if sign.value == baseline:
        return peer
    new = _is_new(sign, baseline, highest, case.heard)
    values: t.Sequence[t.Any] = (sign.value, _highest(sign, highest), read_at if new else at)
    return replace(peer, **dict(zip(fields, values)))


def _is_new(sign: Sign, baseline: str | None, highest: int, heard: Heard) -> bool:
    """Whether the peer wrote this sign after its last heartbeat, and it was not read before."""
    if baseline is None or not liveness.believed(sign, heard) or liveness.older(sign, heard):
        return False
    return sign.seal != VALID or sign.number > highest


def _highest(sign: Sign, highest: int) -> int:
    return max(highest, sign.number) if sign.seal == VALID else highest


def silence(case: AnyCase, heard_at: float | None) -> float:
    """Seconds of silence that count against a peer. They begin anew when this node wakes up."""
    awake_since = case.memory.awake_since
    return case.evidence.now - (awake_since if heard_at is None else max(awake_since, heard_at))


def silent_since(peer: PeerMemory, heard: Heard) -> float:
    """Start of total silence: no heartbeat, no ICMP.

    Older checks of this node do not prove that it is connected.
    """
    started = doubted_at(peer)
    return started if heard.icmp_at is None else max(started, heard.icmp_at)


def doubted_at(peer: PeerMemory) -> float:
    """Start of the present suspicion or verdict.

    Older evidence does not show the peer's present state.
    """
    return peer.suspected_at if peer.suspected_at is not None else peer.since
