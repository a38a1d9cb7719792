# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The early takeover: a route is written before EC2 has answered since the silence began. Pure.

The setting ``takeover.early`` allows it. ReplaceRoute proves by itself that EC2 answers. The
reading that it does not wait for shows two things: the flare of a peer that lives, and a route that
was edited meanwhile. With a slow API that reading costs a latency, in which packets are lost.

The proofs of this node itself stay: forwarding, and internet access since the silence began (L4).
The late reading is judged as ever. A flare in it makes the peer partitioned, and the home takes its
claims back by the rules of a return (L7).
"""

from __future__ import annotations

from . import readings
from .case import PeerCase
from .suspicion import silent_since


def may_judge(case: PeerCase) -> bool:
    """Whether this peer may be taken for failed by what EC2 showed before its silence."""
    view = case.instance
    if not case.config.takeover.early or view is None or not view.instance_id:
        return False
    return view.read_at >= readings.polled(case) and not _spent(case)


def is_unread(case: PeerCase) -> bool:
    """Whether takeovers may be early, and EC2 has not shown this peer since its silence began."""
    view, peer = case.instance, case.peer
    if not case.config.takeover.early or view is None or peer.suspected_at is None:
        return False
    return view.read_at < silent_since(peer, case.heard)


def covers(case: PeerCase, read_at: float) -> bool:
    """Whether a failed peer's route may be taken by a reading from before its silence."""
    return _judged_early(case) and read_at >= readings.polled(case)


def _judged_early(case: PeerCase) -> bool:
    """Whether the present silence has led to an early verdict."""
    early_at, suspected_at = case.peer.early_at, case.peer.suspected_at
    return early_at is not None and suspected_at is not None and early_at >= suspected_at


def _spent(case: PeerCase) -> bool:
    """Whether an earlier silence of this peer has led to an early verdict, within ``return.max_s``.

    A path that comes and goes costs one needless swap, and not one each time.
    """
    early_at = case.peer.early_at
    if early_at is None or _judged_early(case):
        return False
    return case.evidence.now - early_at < case.config.returns.maximum
