# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of a decision as one value.

``Case`` is a tick, ``PeerCase`` a peer in it, ``Fence`` a peer that may be fenced.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import InstanceView, owners_of
from ..model.evidence import FAILED, NOTHING_HEARD, PARTITIONED, SICK, SILENT, UNMANAGED, Evidence, Heard, Mark
from ..model.memory import Memory, PeerMemory
from ..model.settings import Config


class Case(t.NamedTuple):
    """One tick: everything that a decision rests on. Times are monotonic seconds (L10)."""

    config: Config
    memory: Memory
    evidence: Evidence
    owners: t.Mapping[str, str]  # interface id -> node. A witness owns nothing
    unfit: str  # the reason why this node must write nothing; "" = fit

    @classmethod
    def of(cls, config: Config, memory: Memory, evidence: Evidence, unfit: str = "") -> Case:
        """A case with its owners."""
        return cls(config, memory, evidence, owners_of(evidence.instances, config.witnesses), unfit)

    def after(self, memory: Memory) -> Case:
        """The same tick with a later memory.

        Itself when nothing changed, which is the case nearly always.
        """
        if memory is self.memory:
            return self
        return Case(self.config, memory, self.evidence, self.owners, self.unfit)

    def leaves(self, name: str) -> bool:
        """Whether a peer has reported that it hands its claims over."""
        report = self.evidence.heard.get(name, NOTHING_HEARD).report
        return report is not None and report.leaves

    def peer(self, name: str) -> PeerCase:
        """One peer that the memory knows. Raises KeyError for another name."""
        return self.about(name, self.memory.peers[name])

    def about(self, name: str, peer: PeerMemory) -> PeerCase:
        """One peer with a memory of its own."""
        evidence = self.evidence
        heard = evidence.heard.get(name, NOTHING_HEARD)
        return PeerCase(self.config, self.memory, evidence, name, peer, heard, evidence.instances.get(name))


class PeerCase(t.NamedTuple):
    """One peer in one tick."""

    config: Config
    memory: Memory
    evidence: Evidence
    name: str
    peer: PeerMemory
    heard: Heard
    instance: InstanceView | None  # None = EC2 not read yet

    def after(self, peer: PeerMemory) -> PeerCase:
        """The same evidence with a later memory of the peer. Itself when nothing changed."""
        if peer is self.peer:
            return self
        return PeerCase(self.config, self.memory, self.evidence, self.name, peer, self.heard, self.instance)


AnyCase = t.Union[Case, PeerCase]


# Verdicts on peers that an operator may order to fence.
UNWELL = (FAILED, SICK, UNMANAGED, PARTITIONED, SILENT)


class Fence(t.NamedTuple):
    """One peer, with all that a decision on fencing it rests on.

    ``instance`` is the one that EC2 shows.
    """

    case: Case
    name: str
    peer: PeerMemory
    instance: InstanceView

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.case.evidence.now

    @property
    def fencer(self) -> str:
        """The node that has marked the peer, or ""."""
        return self.mark.fencer if self.mark is not None else ""

    @property
    def stage(self) -> str:
        """The stage in the peer's mark, or ""."""
        return self.mark.stage if self.mark is not None else ""

    @property
    def mark(self) -> Mark | None:
        """The peer's mark, unless it counts for nothing."""
        return self.case.evidence.marks.get(self.name)

    @property
    def order(self) -> str:
        """An operator's order to fence the peer, in words, or "". For a peer that is well none counts."""
        return self.case.evidence.fence_ordered.get(self.name, "") if self.peer.verdict in UNWELL else ""

    def refused(self, step: str) -> str:
        """Why EC2 does not take this step on the peer's instance, or ""."""
        return self.case.evidence.refused.get((step, self.instance.instance_id), "")
