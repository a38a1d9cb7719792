# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many writes at once: their pace while EC2 throttles, and shared calls to re-read them.

No EC2 and no clock here.
"""

from __future__ import annotations

import asyncio
import typing as t

from ..model.cluster import Claim, RouteView

FIRST, LEAST, MOST = 0.05, 0.01, 2.0  # seconds between two tries
SLOWER, FASTER = 1.5, 0.93  # factors of the interval, by each refusal and by each success
OVER = 10.0  # seconds without a refusal, after which the next one begins with FIRST again
CATCH_UP = 0.15  # seconds; ``release`` is called about ten times a second

Key = tuple[str, ...]


class AdaptiveThrottle:
    """Lets throttled writes go on one after the other, at a pace that follows the token bucket of
    the EC2 API.

    A refusal slows it down and a success speeds it up. So it stays near the rate of the bucket, a
    little above it, and no token is left unused. Times: monotonic seconds.
    """

    def __init__(self) -> None:
        self.interval = FIRST
        self.waiting: dict[Key, None] = {}  # in the order of their refusals
        self.reported = False  # that EC2 throttles, since the last success
        self._next = self._slowed_at = self._refused_at = float("-inf")

    def refused(self, key: Key, began: float, now: float) -> None:
        """A write that began at ``began`` was refused at ``now``."""
        self.waiting[key] = None
        if now - self._refused_at > OVER:
            self.interval, self._next, self._slowed_at = FIRST, now + FIRST, now
        elif began >= self._slowed_at:  # earlier ones began before the slower pace
            self.interval, self._slowed_at = min(self.interval * SLOWER, MOST), now
        self._refused_at = now

    def granted(self) -> None:
        """A write was not refused."""
        self.reported = False
        self.interval = max(self.interval * FASTER, LEAST)

    def release(self, now: float) -> None:
        """Remove the keys that may be written now from ``waiting``."""
        self._next = max(self._next, now - CATCH_UP)
        while self.waiting and self._next <= now:
            del self.waiting[next(iter(self.waiting))]
            self._next += self.interval


class ReadBatcher:
    """Reads routes after their writes (law L9).

    Requests that arrive during a call share the next one.

    A single read does not wait, and two hundred cost a few calls instead of two hundred.
    """

    def __init__(self, read: t.Callable[[t.Sequence[Claim]], t.Awaitable[t.Mapping[Claim, RouteView]]]) -> None:
        self._read_all = read
        self._waiting: list[tuple[Claim, asyncio.Future[RouteView]]] = []
        self._under_way: asyncio.Future[None] | None = None

    async def read(self, claim: Claim) -> RouteView:
        """The route of a claim, by a call that begins after this one.

        Raises what that call raises.
        """
        answer: asyncio.Future[RouteView] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, answer))
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._work())
        return await answer

    def close(self) -> None:
        """Cancel the call under way."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                try:
                    found = await self._read_all(sorted({claim for claim, _answer in asked}))
                    views = [found[claim] for claim, _answer in asked]
                except Exception as error:  # pylint: disable=broad-except  # every request of this call gets the error
                    self._fail(asked, error)
                    continue
                for (_claim, answer), view in zip(asked, views):
                    if not answer.done():
                        answer.set_result(view)
        finally:
            self._under_way = None

    @staticmethod
    def _fail(asked: t.Sequence[tuple[Claim, asyncio.Future[RouteView]]], error: Exception) -> None:
        for _claim, answer in asked:
            if not answer.done():
                answer.set_exception(error)
