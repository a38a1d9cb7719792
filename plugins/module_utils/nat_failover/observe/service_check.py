# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of this node that claims depend on: whether each works, by the file of its health
program.

It is no part of the proof of forwarding (``forwarding_facts.CHECKS``): a dead proxy makes no node
unfit.
"""

from __future__ import annotations

import logging
import typing as t

from ..errors import NatFailoverError
from ..host.verdict_file import ServiceVerdict
from ..model.settings import Config
from ..model.text import plain
from ..runtime.base import Runtime
from ..timing import TimerCoalescer
from .this_host import Host

READ_EVERY = 1.0  # seconds
# Seconds. A health program says something every few seconds; one that is silent for so long says
# nothing
STALE = 15.0
EARLY_BY = 1.0  # seconds that a verdict may seem to be from the future
# Readings in a row that must be bad: 3 s at this pace. They are counted, for a freeze of this
# process is no evidence
BAD_READINGS = 4


class Debounce:
    """Several bad readings in a row make a service unwell, and one good reading makes it well.

    The first reading of all counts at once.
    """

    def __init__(self) -> None:
        self._bad: dict[str, int] = {}
        self.problems: t.Mapping[str, str] = {}  # service -> what is wrong by the last reading
        self.unwell: frozenset[str] = frozenset()

    def update(self, found: t.Mapping[str, str]) -> frozenset[str]:
        """The services that do not work. ``found``: service -> what is wrong, "" for nothing."""
        bad: dict[str, int] = {}
        for name, problem in found.items():
            if problem:
                bad[name] = self._bad[name] + 1 if name in self._bad else BAD_READINGS
            else:
                bad[name] = 0
        self._bad, self.problems = bad, {name: problem for name, problem in found.items() if problem}
        unwell = frozenset(name for name, count in bad.items() if count >= BAD_READINGS)
        self.unwell = self.unwell if self.unwell == unwell else unwell
        return self.unwell


def judge(read: t.Callable[[str], ServiceVerdict], file: str, now: float) -> str:
    """The fault of a service, by its file, or ""."""
    try:
        verdict = read(file)
    except NatFailoverError as error:
        return str(error)
    age = now - verdict.at
    if not -EARLY_BY <= age <= STALE:
        return f"{file} is {age:.0f} s old"
    return "" if verdict.well else plain(verdict.reason) or "its health program gives no reason"


class ServiceCheck:
    """``unwell`` names the services that do not work, ``problems`` what is wrong with each.

    It counts once ``complete`` is true.
    """

    def __init__(
        self,
        config: Config,
        host: Host,
        runtime: Runtime,
        timers: TimerCoalescer,
        *,
        changed: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``changed()`` is called after a change of ``unwell``."""
        self.config = config
        self._read = False
        self._host, self._runtime, self._timers = host, runtime, timers
        self._changed, self._emit = changed, emit
        self._debounce = Debounce()

    @property
    def complete(self) -> bool:
        """Whether each service was read once."""
        return self._read or not self.config.services

    @property
    def unwell(self) -> frozenset[str]:
        """The services that do not work, by their names."""
        return self._debounce.unwell

    @property
    def problems(self) -> t.Mapping[str, str]:
        """Service -> what is wrong by the last reading."""
        return self._debounce.problems

    def facts(self) -> dict[str, str]:
        """The state of each service, for ``status``."""
        return {f"service {each.name}": self.problems.get(each.name, "well") for each in self.config.services}

    async def work(self) -> None:
        """The loop that the service runs."""
        while True:
            self.check()
            await self._timers.rest(READ_EVERY)

    def check(self) -> None:
        """Read the files now."""
        before, now, first = self.unwell, self._runtime.now(), not self.complete
        services = {each.name: each.file for each in self.config.services}
        found = {name: judge(self._host.read_service, file, now) for name, file in services.items()}
        after = self._debounce.update(found)
        self._read = True
        for name in sorted(after - before):
            self._emit("service", f"the service {name} does not work: {self.problems[name]}", logging.WARNING)
        for name in sorted((before - after) & services.keys()):
            self._emit("service", f"the service {name} works again", logging.INFO)
        if first or after != before:
            self._changed()
