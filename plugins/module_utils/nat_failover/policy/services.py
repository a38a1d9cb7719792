# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims that depend on a service: which service works where, and when it is trusted again.

Pure. A service that does not work moves the claims that depend on it, and nothing else. It is no
verdict on its node: its other claims stay, and nobody fences it.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import Claim
from ..model.evidence import HEALTHY, NOTHING_HEARD
from ..model.memory import Memory, ServiceMemory
from ..model.settings import Config
from . import heirs
from .case import Case

# Seconds that a service must have worked after a failure before claims come to it. Doubles with
# each further failure.
HOLD = 3.0
LONGEST_DOUBLING = 30


# --- this node ------------------------------------------------------------------------------------


def note(case: Case) -> Memory:
    """The memory with the services of this node: since when each works, and how often it failed.

    A failure counts as a further one if the service had worked for less than ``return.max_s``. All
    are forgotten once it has worked for longer.
    """
    config, memory = case.config, case.memory
    if not config.services and not memory.services:
        return memory
    unwell = case.evidence.me.unwell
    found = {each.name: _noted(case, memory.services.get(each.name), each.name in unwell) for each in config.services}
    return memory.updated(services=found)


def _noted(case: Case, known: ServiceMemory | None, unwell: bool) -> ServiceMemory:
    now = case.evidence.now
    if known is None:
        return ServiceMemory(None if unwell else now)
    quiet = known.well_since is not None and now - known.well_since > case.config.returns.maximum
    failures = 0 if quiet else known.failures
    if unwell:
        return known if known.well_since is None else ServiceMemory(None, failures + 1)
    return ServiceMemory(now if known.well_since is None else known.well_since, failures)


def hold(config: Config, failures: int) -> float:
    """Seconds for which a service must have worked before this node is an heir of its claims."""
    return min(HOLD * _factor(failures), config.returns.maximum) if failures else 0.0


def return_after(config: Config, failures: int) -> float:
    """Seconds for which a service must have worked before its claims come home (L7)."""
    return min(config.returns.after * _factor(failures), config.returns.maximum)


def _factor(failures: int) -> int:
    factor: int = 2 ** min(max(failures - 1, 0), LONGEST_DOUBLING)
    return factor


def unwell(config: Config, memory: Memory, now: float) -> frozenset[str]:
    """The services of this node that do not work, or not for long enough since they failed.

    It is what this node reports, so all nodes agree on the heirs.
    """
    return frozenset(each.name for each in config.services if not _counts(config, memory, each.name, now))


def _counts(config: Config, memory: Memory, name: str, now: float) -> bool:
    known = memory.services.get(name)
    if known is None:
        return True  # nothing is known yet, as right after a reload
    return known.well_since is not None and now - known.well_since >= hold(config, known.failures)


def well_for(case: Case, claim: Claim) -> tuple[float, float]:
    """(seconds for which the service of a claim has worked here, seconds that its return needs).

    Both are 0 for a claim that depends on no service.
    """
    name = case.config.service_of.get(claim.destination)
    known = case.memory.services.get(name or "")
    if known is None:
        return 0.0, 0.0
    worked = case.evidence.now - known.well_since if known.well_since is not None else 0.0
    return worked, return_after(case.config, known.failures)


def settled(case: Case, claim: Claim) -> bool:
    """Whether this node's service has worked for long enough that the claim may be here (L7)."""
    worked, needed = well_for(case, claim)
    return worked >= needed


# --- all nodes ------------------------------------------------------------------------------------


def works_at(case: Case, name: str, claim: Claim) -> bool:
    """Whether a claim depends on no service, or on one that works at a node as far as is known."""
    service = case.config.service_of.get(claim.destination)
    if service is None:
        return True
    if name == case.config.self_name:
        return _counts(case.config, case.memory, service, case.evidence.now)
    report = case.evidence.heard.get(name, NOTHING_HEARD).report
    return report is None or service not in report.unwell


def claim_vacancy(case: Case, claim: Claim, owner: str) -> str:
    """Why this one claim needs another owner although its node is well, or "".

    It stands beside ``ownership.VACANCIES``, which are about all claims of a node. Only a node that
    is heard and well is believed. Of any other node the verdict decides.
    """
    peer = case.memory.peers.get(owner)
    if peer is None or peer.verdict != HEALTHY or works_at(case, owner, claim):
        return ""
    if case.evidence.now - case.memory.awake_since < case.config.heartbeat.silent_after:
        return ""  # the report is as old as the freeze was long (L10)
    return f"reports that its service {case.config.service_of[claim.destination]} does not work"


def serving(case: Case, nodes: t.Sequence[str], claim: Claim) -> list[str]:
    """Those of ``nodes`` at which the service of a claim works. If that is none: the heirs of last
    resort at which it works.

    A node that EC2 is about to take serves until then, and a dead service serves nobody (L1). A
    node that an operator drains is no heir of last resort.
    """
    return [name for name in nodes if works_at(case, name, claim)] or [
        name for name in heirs.last_resort(case) if works_at(case, name, claim)
    ]


def heirs_among(case: Case, nodes: t.Sequence[str], claim: Claim, owner: str | None) -> t.Sequence[str]:
    """Those of ``nodes`` that may take a claim from its owner, or an heir of last resort.

    An heir serves better than the owner. If the service works nowhere, an owner that lost nothing
    else keeps the claim, and one that is lost leaves it to any: a route to a living node without
    the service is better than one to a dead node, which could not be fenced (L2).
    """
    if claim.destination not in case.config.service_of:
        return nodes
    well = serving(case, nodes, claim)
    peer = case.memory.peers.get(owner or "")
    if owner is None or peer is None or peer.verdict != HEALTHY:
        return well or nodes
    if works_at(case, owner, claim):
        # It drains. A move to another node that is about to go would gain nothing.
        return [name for name in well if name in nodes]
    # Nothing is lost if a node that drains gives the claim up
    return well or (nodes if case.leaves(owner) else [])
