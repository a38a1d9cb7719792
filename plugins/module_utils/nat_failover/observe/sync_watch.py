# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches conntrackd through the root helper, and tells it the places of identities.

All of it is a help to connections and no more: a failure is a problem for the operator, and changes
no decision about routes.
"""

from __future__ import annotations

import typing as t

from ..host.state_sync import ARRANGE, CHECK, PUSH
from ..model.settings import Config
from ..model.sync import AWAY, WORD, SyncReading
from ..runtime.base import Runtime
from ..timing import Pause, TimerCoalescer
from . import root_helper

WITHIN = 10.0  # seconds for one order: 60,000 flows take a few
CHECK_EVERY = 60.0  # seconds between readings at rest: each one is a process, and three lines of the journal
CHECK_SOON = 10.0  # while something is away from its home, or wrong
PUSH_EVERY = 120.0  # a third of the time after which an idle UDP flow ends (docs/forwarding.md)
SETTLE = 10.0  # seconds before an identity counts as away: its Elastic IP may still lead here for a while
AGAIN_AFTER = 10.0  # seconds after an order that failed
SILENT = 25.0  # seconds without a byte of the peer's conntrackd, which sends one every second or so


class SyncWatch:
    """``reading`` is the newest one, ``problem`` the fault of the synchronisation, "" for none.

    ``flows``: identity -> its flows here, for those that are away from their home.
    """

    def __init__(self, config: Config, runtime: Runtime, timers: TimerCoalescer) -> None:
        self.config = config
        self.orders = False  # only the service gives orders; a single observation changes nothing
        self.reading = SyncReading()
        self.problem = ""
        self.arranged: dict[str, str] = {}  # identity -> the place that conntrackd was told last
        self._runtime = runtime
        self._pause = Pause(timers)
        self._wanted: t.Mapping[str, str] = {}
        self._away: tuple[str, ...] = ()
        self._since: dict[tuple[str, str], float] = {}  # (identity, place) -> since when
        self._again_at = self._checked_at = self._pushed_at = float("-inf")
        self._heard_at = runtime.now()
        self._refusal = ""  # why the last order was not carried out

    @property
    def flows(self) -> t.Mapping[str, int]:
        """Identity -> its flows here. Empty while the synchronisation does not work."""
        return {} if self.problem else self.reading.flows

    def place(self, places: t.Mapping[str, str], away: tuple[str, ...]) -> None:
        """The places of identities at this moment.

        ``away``: the identities whose flows are to be counted.
        """
        if places == self._wanted and away == self._away:
            return
        now = self._runtime.now()
        self._since = {each: self._since.get(each, now) for each in places.items()}
        self._wanted, self._away = places, away
        self._pause.end()

    async def work(self) -> None:
        """The loop that the service runs. It rests without ``state_sync``."""
        while True:
            self._pause.forget()
            await self._pause.wait(await self._round() if self.config.state_sync else CHECK_EVERY)

    async def _round(self) -> float:
        """Orders first, then a push and a reading if they are due.

        Returns the seconds to the next round.
        """
        if self.orders and self.config.mode != "observe":
            due = self._runtime.now() - self._pushed_at >= PUSH_EVERY
            # Also if nothing has moved: conntrackd fills its cache by itself after an overrun.
            await self._arrange(again=due)
            if due:
                self._pushed_at = self._runtime.now()
                await self._ask(PUSH)
        if self._runtime.now() - self._checked_at >= self._every * 0.9:
            await self._check()
        return 1.0 if self._wanted != self.arranged else self._every

    @property
    def _every(self) -> float:
        """Seconds between two readings."""
        wrong = self.problem or self._refusal or not self.reading.received
        return CHECK_SOON if self._away or wrong else CHECK_EVERY

    def _settled(self) -> dict[str, str]:
        """The places without those identities that have left a moment ago."""
        now = self._runtime.now()
        since = {name: now - self._since[name, place] for name, place in self._wanted.items()}
        return {name: place for name, place in self._wanted.items() if place != AWAY or since[name] >= SETTLE}

    async def _arrange(self, again: bool) -> None:
        places = self._settled()
        if not places or self._runtime.now() < self._again_at:
            return
        if places.items() <= self.arranged.items() and not again:
            return
        self._refusal = await self._ask(ARRANGE, *(f"{name}={place}" for name, place in sorted(places.items())))
        if self._refusal:
            self._again_at = self._runtime.now() + AGAIN_AFTER
        else:
            self.arranged = places

    async def _check(self) -> None:
        now = self._checked_at = self._runtime.now()
        line = await self._line(CHECK, *self._away)
        before, self.reading = self.reading, SyncReading.of(line)
        if before.problem or self.reading.received < before.received:
            self.arranged = {}  # conntrackd has started anew, and has filled its cache from the kernel
        if self.reading.received != before.received:
            self._heard_at = now
        self.problem = self._judge(before, now)

    def _judge(self, before: SyncReading, now: float) -> str:
        """The fault of the synchronisation, in words, or ""."""
        reading, silent = self.reading, now - self._heard_at
        if reading.problem:
            return reading.problem
        if silent > SILENT:
            return f"conntrackd of the peer was not heard for {silent:.0f} s"
        for text, count in (
            ("messages of the peer were lost", reading.lost - before.lost),
            ("connections of the peer were not taken by this kernel", reading.refused - before.refused),
        ):
            if count > 0:
                return f"{count} {text} since the last reading"
        return f"an order was not carried out: {self._refusal}" if self._refusal else ""

    async def _ask(self, *words: str) -> str:
        """Give an order. Returns "" if it was carried out, else the reason why it was not."""
        return root_helper.refusal(await self._line(*words))

    async def _line(self, *words: str) -> str:
        path = self.config.repair_socket
        try:
            return await root_helper.ask(self._runtime, path, " ".join((WORD, *words)), WITHIN)
        except FileNotFoundError as error:
            return f"{path}: {error}"
