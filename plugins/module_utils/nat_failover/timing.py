# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timers that share wake-ups, which are the main cost of a quiet node.

Heartbeats go to all peers at their interval. A heartbeat that is nearly due leaves at once when a
peer's heartbeat arrives, so one wake-up serves both. Of two nodes one sets the pace and the other
follows. Work that is not urgent waits for the next heartbeat.
"""

from __future__ import annotations

import asyncio

from .model.settings import Config
from .runtime.base import Runtime

# Share of an interval. A heartbeat that is due within it may leave with one that arrives.
EARLY = 0.5
# Share of an interval. A node that follows waits so long for its peer before it sends its own.
LAG = 0.05
# Intervals. A shorter pause ends exactly in time, a longer one with a heartbeat.
PRECISE = 4


class TimerCoalescer:
    """Schedules heartbeats, and lets long pauses end with them.

    Moments are seconds of ``Runtime.now``.
    """

    def __init__(self, interval: float, runtime: Runtime) -> None:
        """``interval``: seconds between heartbeats. It may be replaced at any time."""
        self.interval = interval
        self.due_at = float("inf")  # Moment of the next heartbeats. Infinite: no tick loop runs
        self._runtime = runtime
        self._follows = False  # the next heartbeats are due early, since a peer's has arrived
        self._resting: list[tuple[float, asyncio.Future[None]]] = []

    def reconfigure(self, config: Config) -> None:
        """Use the interval of a new configuration from now on."""
        self.interval = config.heartbeat.interval

    @property
    def longest(self) -> float:
        """The longest time between two heartbeats, in seconds, unless the event loop is blocked."""
        return self.interval * (1 + LAG)

    def begin(self, now: float) -> None:
        """The tick loop runs from now on. Heartbeats are due at once."""
        self.due_at = now

    def end(self) -> None:
        """The tick loop has ended.

        Every pause ends now, and later ones end by a timer of their own.
        """
        self.due_at = float("inf")
        self._release(float("inf"))

    def packet_received(self, now: float) -> bool:
        """Note a packet of a peer. Returns whether this node's heartbeats are due because of it."""
        self._follows = self.due_at - now < self.interval * EARLY
        if self._follows:
            self.due_at = now
        return self._follows

    def heartbeats_sent(self, now: float) -> None:
        """Schedule the next heartbeats after those that were due.

        Pauses that waited for them end.
        """
        if self._follows:
            self.due_at = now + self.longest
        else:
            self.due_at = max(self.due_at + self.interval, now)
        self._follows = False
        self._release(now + self.interval / 2)

    def rest(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after about so many seconds.

        A long pause ends with a heartbeat, if the tick loop runs. A short one ends exactly in time.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds < PRECISE * self.interval or self.due_at == float("inf"):
            self._runtime.later(seconds, finish, waiter)
        else:
            self._resting.append((self._runtime.now() + seconds, waiter))
        return waiter

    def _release(self, until: float) -> None:
        due = [waiter for at, waiter in self._resting if at <= until]
        if due:
            self._resting = [each for each in self._resting if each[0] > until]
        for waiter in due:
            finish(waiter)


class Pause:
    """The pause between two rounds of a worker. Any part may end it."""

    def __init__(self, timers: TimerCoalescer) -> None:
        self._timers = timers
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def end(self) -> None:
        """End the pause now. If the worker does not pause, its next pause is skipped."""
        self._ended = True
        if self._waiter is not None:
            finish(self._waiter)

    def forget(self) -> None:
        """Forget the calls of ``end`` so far, since the round that begins now serves them."""
        self._ended = False

    async def wait(self, seconds: float) -> bool:
        """Pause for about so many seconds. Returns whether ``end`` was called."""
        if not self._ended:
            self._waiter = self._timers.rest(seconds)
            try:
                await self._waiter
            finally:
                self._waiter = None
        ended, self._ended = self._ended, False
        return ended


def finish(waiter: asyncio.Future[None]) -> None:
    """Let a waiter continue. This does nothing if it is done or cancelled."""
    if not waiter.done():
        waiter.set_result(None)
