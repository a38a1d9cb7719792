# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many writes at once: how fast, where EC2 throttles, and how few calls re-read them. No EC2 and no clock in here."""

from __future__ import annotations

import asyncio
import typing as t

from ..model.cluster import Claim, RouteView

FIRST, LEAST, MOST = 0.05, 0.01, 2.0  # seconds between two tries
SLOWER, FASTER = 1.5, 0.93  # by each refusal, by each success
OVER = 10.0  # seconds without a refusal: the next one begins with FIRST again
CATCH_UP = 0.15  # seconds: who asks for what may go on comes by about ten times a second

Key = t.Tuple[str, ...]


class Pace:
    """Which of the writes that were throttled may go on: one after the other, at a pace that follows the token bucket of the API.

    A refusal slows it down, a success speeds it up, so it swings around the bucket's own rate, a little too fast: no token is left unused.
    """

    def __init__(self) -> None:
        self.interval = FIRST
        self.waiting: t.Dict[Key, None] = {}  # in their order
        self._next = self._slowed_at = self._refused_at = float("-inf")

    def refused(self, key: Key, began: float, now: float) -> None:
        """A try that began then was refused."""
        self.waiting[key] = None
        if now - self._refused_at > OVER:
            self.interval, self._next, self._slowed_at = FIRST, now + FIRST, now
        elif began >= self._slowed_at:  # earlier ones knew nothing of the slower pace yet
            self.interval, self._slowed_at = min(self.interval * SLOWER, MOST), now
        self._refused_at = now

    def granted(self) -> None:
        """A try was not refused."""
        self.interval = max(self.interval * FASTER, LEAST)

    def release(self, now: float) -> None:
        """Let those go on whose time has come."""
        self._next = max(self._next, now - CATCH_UP)
        while self.waiting and self._next <= now:
            del self.waiting[next(iter(self.waiting))]
            self._next += self.interval


class Rereads:
    """What EC2 says of a route after its write (law L9). Who asks while a call is under way shares the next one with all who do.

    So a single write waits for nobody, and two hundred cost a handful of calls instead of two hundred.
    """

    def __init__(self, read: t.Callable[[t.Sequence[Claim]], t.Awaitable[t.Mapping[Claim, RouteView]]]) -> None:
        self._read = read
        self._waiting: t.List[t.Tuple[Claim, "asyncio.Future[RouteView]"]] = []
        self._under_way: t.Optional["asyncio.Future[None]"] = None

    async def ask(self, claim: Claim) -> RouteView:
        """By a call that begins after this one; raises what that call raises."""
        answer: "asyncio.Future[RouteView]" = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, answer))
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._work())
        return await answer

    def close(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                try:
                    found = await self._read(sorted({claim for claim, _answer in asked}))
                    views = [found[claim] for claim, _answer in asked]
                except Exception as error:  # pylint: disable=broad-except  # whatever it is, it is theirs who wait
                    self._fail(asked, error)
                    continue
                for (_claim, answer), view in zip(asked, views):
                    if not answer.done():
                        answer.set_result(view)
        finally:
            self._under_way = None

    @staticmethod
    def _fail(asked: t.Sequence[t.Tuple[Claim, "asyncio.Future[RouteView]"]], error: Exception) -> None:
        for _claim, answer in asked:
            if not answer.done():
                answer.set_exception(error)
