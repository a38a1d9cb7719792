# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a quiet node wakes up: as rarely as it can, for a wake-up costs more than what is done in it.

Heartbeats go to all peers at their interval. One that is nearly due leaves at once when a peer's comes in, so that hearing and sending
share a wake-up; of two nodes one sets the pace and the other follows. Work that is not urgent waits for a heartbeat.
"""

from __future__ import annotations

import asyncio
import typing as t

EARLY = 0.5  # of an interval: a heartbeat that is due within it may leave with one that comes in
LAG = 0.05  # of an interval: how long a node that follows waits for the other's heartbeat before it sends its own
PRECISE = 4  # intervals: a pause that is shorter ends to the moment, a longer one with a heartbeat


class Rhythm:
    """Heartbeats and what goes with them. Times are seconds of ``clock``; ``interval`` may be replaced at any time."""

    def __init__(self, interval: float, clock: t.Callable[[], float]) -> None:
        self.interval = interval
        self.clock = clock
        self.beat_at = float("inf")  # when the next heartbeats are due
        self._follows = False  # they are due because a peer's came in
        self._resting: t.List[t.Tuple[float, "asyncio.Future[None]"]] = []

    @property
    def longest(self) -> float:
        """The longest time between heartbeats of a loop that is not held up."""
        return self.interval * (1 + LAG)

    def begin(self, now: float) -> None:
        """The loop runs from now on: heartbeats are due at once."""
        self.beat_at = now

    def end(self) -> None:
        """The loop runs no more: pauses end by themselves again."""
        self.beat_at = float("inf")
        self._release(float("inf"))

    def heard(self, now: float) -> bool:
        """A peer's packet came in; returns whether the own heartbeats are due by that."""
        self._follows = self.beat_at - now < self.interval * EARLY
        if self._follows:
            self.beat_at = now
        return self._follows

    def beaten(self, now: float) -> None:
        """The heartbeats that were due have left; who waited for them goes on."""
        if self._follows:
            self.beat_at = now + self.longest
        else:
            self.beat_at = max(self.beat_at + self.interval, now)
        self._follows = False
        self._release(now + self.interval / 2)

    def rest(self, seconds: float) -> "asyncio.Future[None]":
        """Done after about so many seconds: with a heartbeat if that is long and the loop runs, else to the moment."""
        loop = asyncio.get_running_loop()
        waiter: "asyncio.Future[None]" = loop.create_future()
        if seconds < PRECISE * self.interval or self.beat_at == float("inf"):
            loop.call_later(seconds, _wake, waiter)
        else:
            self._resting.append((self.clock() + seconds, waiter))
        return waiter

    def _release(self, until: float) -> None:
        due = [waiter for at, waiter in self._resting if at <= until]
        if due:
            self._resting = [each for each in self._resting if each[0] > until]
        for waiter in due:
            _wake(waiter)


class Pause:
    """The pause between two rounds of a worker, which anybody may end."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._ended = False
        self._waiter: t.Optional["asyncio.Future[None]"] = None

    def end(self) -> None:
        """End it now; if nobody pauses, the next one will not begin."""
        self._ended = True
        if self._waiter is not None:
            _wake(self._waiter)

    def forget(self) -> None:
        """What asked for an end so far is answered by the round that begins now."""
        self._ended = False

    async def wait(self, seconds: float) -> bool:
        """Returns whether somebody ended it."""
        if not self._ended:
            self._waiter = self._rhythm.rest(seconds)
            try:
                await self._waiter
            finally:
                self._waiter = None
        ended, self._ended = self._ended, False
        return ended


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
