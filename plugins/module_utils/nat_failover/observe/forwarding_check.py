# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that this node forwards: the checks of its kernel, its canary, and repairs of its own
rules and sysctls.

The kernel's notices and a lost round of the canary bring the next check forward. Else it comes at
an easy pace.
"""

from __future__ import annotations

import typing as t

from ..host import netlink
from ..host.wanted_rules import COMMANDS
from ..model.settings import Config
from ..runtime.base import Pool, Runtime
from ..timing import Pause, TimerCoalescer
from . import forwarding_facts
from .canary_watch import FAMILIES, CanaryWatch
from .capacity import CapacityWatch
from .forwarding_facts import Findings, Subject
from .rules_reader import RulesReader
from .self_repair import NoHelper, SelfRepair
from .this_host import Host
from .traffic_watch import TrafficWatch

CANARY = "canary"  # the key of the defect that a client is not answered
CHECK_EVERY = 1.0  # seconds between checks of the kernel's files
SETTLE = 0.03  # seconds after a notice: changes come in groups


class ForwardingCheck:
    """``fact`` is the first defect in words, "" when forwarding is proven.

    It counts once ``complete`` is true.
    """

    def __init__(
        self,
        config: Config,
        host: Host,
        runtime: Runtime,
        timers: TimerCoalescer,
        pool: Pool,
        *,
        source_dest_check: t.Callable[[], bool | None],
        changed: t.Callable[[], None],
        quiet: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``source_dest_check()`` is EC2's newest value.

        ``changed()`` is called after a change of ``fact``, and ``quiet()`` when clients' traffic
        has stopped.
        """
        self.config = config
        self.fact = ""
        self.repairs = False  # only the service repairs; a single observation changes nothing
        self.findings: Findings = {}  # of the last check
        self.translation: t.Mapping[str, str] = {}  # identity -> the state that its rules are to be in
        self._repair = SelfRepair(config, runtime, emit)
        self.canary = CanaryWatch(
            config,
            runtime,
            timers,
            repaired_at=lambda: self._repair.repaired_at,
            changed=self._conclude,
            lost=self._lost,
            emit=emit,
        )
        self.capacity = CapacityWatch(host, runtime, pool, emit)
        self._host = host
        self._runtime = runtime
        self._source_dest_check = source_dest_check
        self._changed = changed
        self._quiet = quiet
        self._rules = RulesReader(host, runtime, pool)
        self._traffic = TrafficWatch()
        self._pause = Pause(timers)  # between two checks
        self._defect = ""  # of the last check of the kernel, with the reason why it was not repaired
        self._kind: tuple[str, str] = ("", "")  # key of the defect that was reported, reason against its repair
        self._note = ""  # the reason why the last defect of the kernel was not repaired
        self._early = False  # the last check needs the canary's result, and came before the first one
        self._reported = False  # ``fact`` was reported since the start

    @property
    def complete(self) -> bool:
        """Whether the kernel and the canary have been checked since the start of the service."""
        return bool(self.findings) and self.canary.complete and not self._early

    @property
    def translated(self) -> t.Mapping[str, str]:
        """Identity -> the state that its rules were in at the last reading."""
        return self._rules.reading.states

    @property
    def defects(self) -> dict[str, str]:
        """All that keeps this node from forwarding now: key -> defect in words, causes first."""
        found = forwarding_facts.defects(self.findings)
        return {**found, CANARY: self.canary.problem} if self.canary.problem else found

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings for the operator, although packets get out."""
        gone = (f"the canary is {self.canary.state}",) if self.canary.state.startswith("not there") else ()
        return (*self.capacity.warnings, *gone, *forwarding_facts.warnings(self.findings))

    def reconfigure(self, config: Config) -> None:
        """Check by a new configuration, now."""
        self.config = self.canary.config = self._repair.config = config
        self.check_soon(rules=True)

    def facts(self) -> dict[str, t.Any]:
        """The newest values for ``status``, by key. Empty before the first check."""
        if not self.findings:
            return {}
        aside = f" (by its own interface: {self.canary.aside})" if self.canary.aside else ""
        shown = forwarding_facts.shown(self.findings)
        return {**shown, "canary": self.canary.state + aside, **self.capacity.counters}

    def work(self) -> tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        return (self._check_loop(), *self.canary.work())

    def translate(self, states: t.Mapping[str, str]) -> None:
        """The states that the rules of identities are to be in."""
        if states != self.translation:
            self.translation = states
            self.check_soon()

    def check_soon(self, rules: bool = False) -> None:
        """Something may have changed: check now. ``rules``: the rules, too."""
        if rules:
            self._rules.demand()
        self._pause.end()

    def _lost(self) -> None:
        self.check_soon(rules=True)

    async def _check_loop(self) -> None:
        subscription = netlink.subscribe(self._runtime, self._lost)
        try:
            await self._rules.begin(subscription.of_rules)
            while True:
                self._pause.forget()
                await self._check()
                pause = min(CHECK_EVERY, max(0.0, self._rules.due - self._runtime.now()))
                if await self._pause.wait(pause):
                    await self._runtime.sleep(SETTLE)
        finally:
            subscription.close()

    async def _check(self) -> None:
        findings, note = await self._examine(), ""
        if (
            self.repairs
            and self.config.mode != "observe"
            and await self._repair.translate(self.translation, self._rules.reading.states)
        ):
            self._rules.demand_now()
            findings = await self._examine()
        defects = forwarding_facts.repairable(findings)
        if defects and self.repairs and self.config.mode != "observe":
            try:
                note = await self._repair.repair(defects)
            except NoHelper:
                pass
            else:
                self._rules.demand_now()
                findings = await self._examine()
        await self.capacity.read(self.config.nat.interface)
        self.findings, defect = findings, forwarding_facts.first_defect(findings)
        self._defect, self._note = (f"{defect} ({note})" if defect and note else defect), note
        self._conclude()

    async def _examine(self) -> Findings:
        nat = self.config.nat
        reading = await self._rules.read(nat)
        self._early = bool(reading.unreadable) and not self.canary.complete
        if self._traffic.update(self._host.forwarded_packets(), self._runtime.now()):
            self._quiet()
        answers = {command: self.canary.answered(family) for command, family in zip(COMMANDS, FAMILIES)}
        return self._host.examine(
            Subject(
                nat,
                reading,
                self._source_dest_check(),
                {command: answer for command, answer in answers.items() if answer is not None},
                self._rules.foreign,
                self._rules.unknown,
                policy=self._rules.policy,
            )
        )

    def _conclude(self) -> None:
        if self._early and self.canary.complete:
            self.check_soon()
        # Another text for the same defect (a fill level, another target) is no news to peers.
        fact, kind = self._defect or self.canary.problem, (next(iter(self.defects), ""), self._note)
        if self.complete and (kind != self._kind or not self._reported):
            self.fact, self._kind, self._reported = fact, kind, True
            self._changed()
