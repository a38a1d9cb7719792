# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a running service, side by side and without behaviour.

``service``, ``drain``, ``commands`` and ``status`` work with them.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..act.executor import Executor
from ..model.cluster import ACTIVE, Claim
from ..model.evidence import Mark
from ..model.liveness import LivenessCounter
from ..model.memory import Memory
from ..model.plan import Plan
from ..model.settings import Config
from ..observe.collector import EvidenceCollector
from ..observe.sign_reader import SignReader
from ..observe.witness_reader import WitnessReader
from ..policy import marks, pause
from ..policy.interruption import Interruption
from ..runtime.base import Runtime
from ..timing import TimerCoalescer
from ..wire.transport import HeartbeatTransport
from .events import EventLog

NO_MARKS: tuple[t.Mapping[str, Mark], t.Mapping[str, str]] = ({}, {})


@dataclass
class DrainState:
    """The state that this node announces, and the reasons for it."""

    state: str = ACTIVE
    operator: str = ""  # The operator's reason for a drain. Empty: no operator drains this node
    ending: str = ""  # The reason for the end of this machine or this service. Empty: neither ends
    interruptions: tuple[Interruption, ...] = ()  # those announced by EC2 that drain this node now

    @property
    def interruption(self) -> str:
        """The announcement of EC2, if it is the only reason for the drain.

        The node is still an heir of last resort then.
        """
        return "" if self.operator or self.ending else "; ".join(each.text for each in self.interruptions)

    @property
    def why(self) -> str:
        """The reason for the drain. Empty: this node does not drain."""
        return self.operator or self.ending or self.interruption


@dataclass
class Settings:
    """The files that this service has loaded."""

    digest: str = ""  # SHA-256 of configuration and keys (config/load.py). Empty: they came from no file
    refused: str = ""  # The error of the last reload. Empty: it was accepted


@dataclass
class Parts:
    """All parts of one service. ``assemble.py`` makes them."""

    config: Config
    runtime: Runtime
    boot_id: str  # of this run of the service
    timers: TimerCoalescer
    liveness: LivenessCounter
    signs: SignReader
    events: EventLog
    transport: HeartbeatTransport
    collector: EvidenceCollector
    witness: WitnessReader
    executor: Executor
    memory: Memory
    started_at: float = 0.0  # monotonic seconds
    plan: Plan = field(default_factory=Plan)
    drain: DrainState = field(default_factory=DrainState)
    settings: Settings = field(default_factory=Settings)
    ordered: frozenset[Claim] = frozenset()  # claims that an operator orders this node to take now
    # Peer -> the order of an operator to fence it, in words
    fence_ordered: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def paused(self) -> str:
        """The pause in words. Empty: the cluster is not paused."""
        return pause.paused(self.collector.instances, self.runtime.wall_time())

    @property
    def ignored_pauses(self) -> t.Mapping[str, str]:
        """The tags of a pause that pause nothing: tag and node -> line for the operator."""
        return pause.ignored(self.collector.instances, self.runtime.wall_time())

    def judge_marks(self, found: t.Mapping[str, Mark]) -> tuple[t.Mapping[str, Mark], t.Mapping[str, str]]:
        """(marks of fences that count, tag and node -> line for those that do not)."""
        if not found:
            return NO_MARKS
        runtime, instances = self.runtime, self.collector.instances
        age, heard = runtime.now() - self.started_at, self.transport.heard()
        return marks.judge(found, marks.Reading(self.config, instances, heard, runtime.wall_time(), age))

    @property
    def owned(self) -> list[Claim]:
        """The claims whose routes target this node."""
        own = self.collector.instances.get(self.config.self_name)
        views = self.collector.routes.items()
        return [claim for claim, view in views if own is not None and view.target in own.interfaces]

    @property
    def warnings(self) -> list[str]:
        """The lines for the operator that stand: of this host, and of the last decision."""
        return [*self.collector.forwarding_check.warnings, *self.plan.warnings.values()]

    def reconfigurable(self) -> t.Iterator[Reconfigurable]:
        """The parts that keep settings of the configuration."""
        yield from (self.timers, self.collector, self.witness, self.executor)


class Reconfigurable(t.Protocol):
    """A part that accepts a changed configuration while it works."""

    def reconfigure(self, config: Config) -> None:
        """Use the new configuration from now on."""
