# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heir of a claim: the one node that all nodes expect to take it. Pure."""

from __future__ import annotations

import hashlib
import typing as t

from ..model.cluster import ACTIVE, Claim
from ..model.evidence import HEALTHY, NOTHING_HEARD
from .case import Case


class Heirs(t.NamedTuple):
    """The nodes as owners of claims in this tick."""

    eligible: t.Sequence[str]  # may own claims
    willing: t.Sequence[str]  # the same, or, if that is nobody, the heirs of last resort


def heirs_of(case: Case) -> Heirs:
    """All nodes in their role as owners."""
    eligible = eligible_nodes(case)
    return Heirs(eligible, eligible or last_resort(case))


def eligible_nodes(case: Case) -> list[str]:
    """The nodes that may own claims, in order: proven forwarding, not drained, no witness."""
    config, evidence = case.config, case.evidence
    names = [config.self_name] if not case.unfit and evidence.me.state == ACTIVE else []
    for name, peer in case.memory.peers.items():
        report = evidence.heard.get(name, NOTHING_HEARD).report
        well = peer.verdict == HEALTHY and report is not None and report.state == ACTIVE
        if well and name not in config.witnesses:
            names.append(name)
    return sorted(names)


def last_resort(case: Case) -> list[str]:
    """The nodes that drain only for an interruption announced by EC2, and still forward.

    An outage now is worse than one in two minutes (L1).
    """
    config, evidence = case.config, case.evidence
    names = [config.self_name] if not case.unfit and evidence.me.interruption else []
    for name, peer in case.memory.peers.items():
        report = evidence.heard.get(name, NOTHING_HEARD).report
        if peer.verdict == HEALTHY and report is not None and report.last_resort:
            names.append(name)
    return sorted(names)


def heir(claim: Claim, nodes: t.Sequence[str], subject: str = "") -> str | None:
    """The home if it is among the nodes, else one by rendezvous hashing.

    All nodes agree without a leader. Claims with the same ``subject`` have the same heir. Without
    one, a claim is its own.
    """
    if claim.home in nodes:
        return claim.home
    return max(
        nodes, key=lambda name: (hashlib.sha256((f"{subject or claim} {name}").encode()).digest(), name), default=None
    )
