# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the internet answer this node?

Checked at an easy pace, and at once when a suspicion needs to know.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t

from ..model.settings import Config, Target
from ..runtime.base import Runtime
from ..timing import Pause, TimerCoalescer, finish
from ..wire.prober import ProbeImpossible, Prober, Reach

STAGGER = 0.1  # seconds before a further target is probed beside one that has not answered yet
LOST_AFTER = 3  # failed checks in a row before this node calls itself cut off
RETRY = 0.2  # seconds after a failed check, at most
SHORTEST_PAUSE = 0.02  # seconds between two checks, however many are demanded


class InternetCheck:
    """Probes targets until ``minimum`` of them have answered, each within ``timeout`` seconds.

    Each round begins with another target, and probes a further one only when an answer is late, so
    that a fleet of nodes does not hammer one target.
    """

    def __init__(
        self, runtime: Runtime, targets: t.Sequence[Target], *, minimum: int, timeout: float, reach: Reach
    ) -> None:
        """``reach(target, timeout)`` probes one target and returns "" or the reason why it did not
        answer.
        """
        self._runtime = runtime
        self._targets = list(targets)
        self._minimum = minimum
        self._timeout = timeout
        self._first = 0
        self._reach = reach

    async def run(self) -> tuple[bool, str]:
        """One round. Returns whether enough targets answered, and the result in words.

        Raises what ``reach`` raises.
        """
        waiting = self._targets[self._first :] + self._targets[: self._first]
        self._first = (self._first + 1) % len(self._targets)
        running: set[asyncio.Future[str]] = set()
        answered, problems = 0, []
        try:
            while answered < self._minimum and (waiting or running):
                while waiting and len(running) < self._minimum - answered:
                    running.add(self._start(waiting.pop(0)))
                done, running = await self._first_done(running, STAGGER if waiting else None)
                if not done:
                    running.add(self._start(waiting.pop(0)))
                for task in done:
                    problem = task.result()
                    answered += not problem
                    problems += [problem] if problem else []
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        ok = answered >= self._minimum
        return ok, f"{answered} of {self._minimum} answered" if ok else "; ".join(sorted(problems))

    def _start(self, target: Target) -> asyncio.Future[str]:
        return asyncio.ensure_future(self._reach(target, self._timeout))

    async def _first_done(
        self, running: set[asyncio.Future[str]], seconds: float | None
    ) -> tuple[set[asyncio.Future[str]], set[asyncio.Future[str]]]:
        """The probes that have ended, at least one of them unless ``seconds`` pass before, and the
        others.
        """
        if seconds is None:
            return await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        late: asyncio.Future[t.Any] = asyncio.get_running_loop().create_future()
        timer = self._runtime.later(seconds, finish, late)
        try:
            done, others = await asyncio.wait({*running, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return done - {late}, others - {late}


def from_here(prober: Prober) -> Reach:
    """A node's own way to a target, past its own rules.

    A target that cannot be probed has not answered.
    """

    async def reach(target: Target, timeout: float) -> str:
        try:
            return await prober.reach(target, timeout)
        except ProbeImpossible as error:
            return f"{target}: {error}"

    return reach


class InternetWatch:
    """Repeats the check. One lost check decides nothing.

    ``reachable`` is the result of the last decisive check. ``proven_at`` is when the last good one
    began.
    """

    def __init__(
        self,
        config: Config,
        prober: Prober,
        runtime: Runtime,
        timers: TimerCoalescer,
        *,
        changed: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        self.config = config
        self.reachable = False
        self.proven_at: float | None = None
        self._prober = prober
        self._runtime = runtime
        self._changed = changed
        self._emit = emit
        self._failed = 0  # checks in a row
        self._pause = Pause(timers)

    @property
    def judged(self) -> bool:
        """Whether there was a decisive check since the start of the service."""
        return self.reachable or self._failed >= LOST_AFTER

    def check_soon(self) -> None:
        """Check now. A check that is under way counts."""
        self._pause.end()

    def close(self) -> None:
        """Close the prober."""
        self._prober.close()

    async def work(self) -> None:
        """The loop that the service runs."""
        known, reach = None, from_here(self._prober)
        while True:
            settings = self.config.self_check
            if settings != known:  # at the start, and after a reload that changed it
                known = settings
                check = InternetCheck(
                    self._runtime, settings.targets, minimum=settings.minimum, timeout=settings.timeout, reach=reach
                )
            self._pause.forget()
            began = self._runtime.now()
            ok, detail = await check.run()
            self._failed = 0 if ok else self._failed + 1
            if ok or self._failed >= LOST_AFTER:
                self._conclude(ok, began, detail)
            pause = settings.interval if ok else min(settings.interval, RETRY)
            if await self._pause.wait(pause):
                await self._runtime.sleep(SHORTEST_PAUSE)

    def _conclude(self, ok: bool, began: float, detail: str) -> None:
        changed = ok != self.reachable
        self.reachable = ok
        self.proven_at = began if ok else self.proven_at
        if changed and ok:
            self._emit("internet", "the internet answers this node", logging.INFO)
        elif changed:
            self._emit("internet", f"the internet does not answer this node: {detail}", logging.WARNING)
        self._changed()
