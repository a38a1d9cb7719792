# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 has announced for this instance: its metadata service is read again and again. What follows from it: handover.py."""

from __future__ import annotations

import asyncio
import logging
import typing as t
from concurrent.futures import Executor

from ..aws import imds
from ..errors import Ec2Error
from ..model.settings import Config
from ..policy import interruption as handover
from ..timing import Rhythm


class Announcements:
    """``standing`` is replaced, never changed in place. A metadata service that does not answer takes no notice back."""

    def __init__(
        self,
        config: Config,
        pool: Executor,
        rhythm: Rhythm,
        news: t.Callable[[], None],
        tell: t.Callable[[str, str, int], None],
    ) -> None:
        self.config = config
        self.standing: t.Tuple[handover.Notice, ...] = ()
        self._pool = pool
        self._rhythm = rhythm
        self._news = news
        self._tell = tell
        self._metadata = imds.Metadata()

    async def work(self) -> None:
        """The loop that the service runs."""
        problem = ""
        while True:
            try:
                answers = await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._metadata.read, handover.PATHS
                )
                self._take_in(handover.read(answers))
                told, problem = problem, ""
            except Ec2Error as error:
                told, problem = problem, str(error)
            if bool(told) != bool(problem):
                self._tell("metadata", problem or "it answers again", logging.WARNING if problem else logging.INFO)
            await self._rhythm.rest(self.config.handover.poll)

    def _take_in(self, found: t.Tuple[handover.Notice, ...]) -> None:
        for notice in found:
            if notice not in self.standing:
                self._tell("notice", notice.text, logging.WARNING)
        for notice in self.standing:
            if notice not in found:
                self._tell("notice", "no more: %s" % notice.text, logging.INFO)
        self.standing = found
        self._news()
