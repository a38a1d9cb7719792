# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the internet answer this node? Asked at an easy pace, and at once when a suspicion needs to know who is cut off."""

from __future__ import annotations

import asyncio
import logging
import typing as t

from ..model.settings import Config
from ..timing import Pause, Rhythm
from ..wire.prober import Prober
from . import forwarding_facts as forwarding

LOST_AFTER = 3  # failed checks in a row before this node calls itself cut off
RETRY = 0.2  # seconds after a failed check, at the most
SHORTEST_PAUSE = 0.02  # seconds between checks, whoever asks for them


class Internet:
    """``reachable`` is what the last decisive check said; ``proven_at`` is when the last good one began. One lost check decides nothing."""

    def __init__(
        self,
        config: Config,
        rhythm: Rhythm,
        news: t.Callable[[], None],
        tell: t.Callable[[str, str, int], None],
    ) -> None:
        self.config = config
        self.reachable = False
        self.proven_at: t.Optional[float] = None
        self._clock = rhythm.clock
        self._news = news
        self._tell = tell
        self._failed = 0  # checks in a row
        self._pause = Pause(rhythm)
        self._prober = Prober()

    @property
    def judged(self) -> bool:
        """Is it known since the start of the service whether the internet answers?"""
        return self.reachable or self._failed >= LOST_AFTER

    def check_soon(self) -> None:
        """Somebody needs to know now."""
        self._pause.end()

    def close(self) -> None:
        self._prober.close()

    async def work(self) -> None:
        """The loop that the service runs."""
        known, reach = None, forwarding.from_here(self._prober)
        while True:
            settings = self.config.self_check
            if settings != known:  # at the start, and after a reload that changed it
                known = settings
                check = forwarding.InternetCheck(
                    settings.targets, minimum=settings.minimum, timeout=settings.timeout, reach=reach
                )
            self._pause.forget()
            began = self._clock()
            ok, detail = await check.run()
            self._failed = 0 if ok else self._failed + 1
            if ok or self._failed >= LOST_AFTER:
                self._conclude(ok, began, detail)
            pause = settings.interval if ok else min(settings.interval, RETRY)
            if await self._pause.wait(pause):
                await asyncio.sleep(SHORTEST_PAUSE)

    def _conclude(self, ok: bool, began: float, detail: str) -> None:
        changed = ok != self.reachable
        self.reachable = ok
        self.proven_at = began if ok else self.proven_at
        if changed and ok:
            self._tell("internet", "reachable", logging.INFO)
        elif changed:
            self._tell("internet", "not reachable: %s" % detail, logging.WARNING)
        self._news()
