# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The announcements of EC2 for this instance, read from the metadata service.

``policy/interruption.py`` judges it.
"""

from __future__ import annotations

import logging
import typing as t

from ..aws.imds import Metadata
from ..errors import Ec2Error
from ..model.settings import Config
from ..policy import interruption
from ..runtime.base import Pool
from ..timing import TimerCoalescer


class InterruptionWatch:
    """``standing`` holds the notices that stand. It is replaced, never changed in place.

    A metadata service that does not answer takes no notice back.
    """

    def __init__(
        self,
        config: Config,
        metadata: Metadata,
        timers: TimerCoalescer,
        pool: Pool,
        *,
        wake: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        self.config = config
        self.standing: tuple[interruption.Interruption, ...] = ()
        self.problem = ""  # why the metadata service does not answer, in words
        self._metadata = metadata
        self._timers = timers
        self._pool = pool
        self._wake = wake
        self._emit = emit

    async def work(self) -> None:
        """The loop that the service runs."""
        while True:
            problem = ""
            try:
                self._take_in(interruption.read(await self._pool.run(self._metadata.read, interruption.PATHS)))
            except Ec2Error as error:
                problem = str(error)
            if problem and not self.problem:
                self._emit("metadata", f"{problem}; notices that stand are kept", logging.WARNING)
            elif self.problem and not problem:
                self._emit("metadata", "the instance metadata service answers again", logging.INFO)
            self.problem = problem
            await self._timers.rest(self.config.handover.poll)

    def _take_in(self, found: tuple[interruption.Interruption, ...]) -> None:
        for notice in found:
            if notice not in self.standing:
                self._emit("notice", notice.text, logging.WARNING)
        for notice in self.standing:
            if notice not in found:
                self._emit("notice", f"no more: {notice.text}", logging.INFO)
        self.standing = found
        self._wake()
