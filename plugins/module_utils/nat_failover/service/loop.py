# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's loop: turn after turn, each of heartbeats that are due and a decision. When the next one is, and what makes it come sooner.

A turn is begun by the event loop itself: a task would cost two more of its rounds for every turn.
"""

from __future__ import annotations

import asyncio
import typing as t

from ..timing import Rhythm


class Turns:
    """``beat(now)`` sends the heartbeats, ``tick(now)`` decides. An error of theirs ends ``live``.

    ``longest()``: seconds until the next turn, whatever is heard. ``late()``: when a turn is due unless a packet comes, and from whom.
    """

    def __init__(
        self,
        rhythm: Rhythm,
        beat: t.Callable[[float], None],
        tick: t.Callable[[float], None],
        longest: t.Callable[[], float],
        late: t.Callable[[], t.Tuple[float, str]],
    ) -> None:
        self._rhythm = rhythm
        self._clock = rhythm.clock
        self._beat, self._tick = beat, tick
        self._longest, self._late = longest, late
        self._pulse: t.Optional["asyncio.Future[None]"] = None  # while the loop lives; never done but by an error
        self._woken = False  # a turn is queued already, or going on
        self._wanted = False  # what is being read from the radio wants a turn
        self._due = float("inf")  # when to wake up, whatever is heard until then
        self._awaited = ""  # the peer whose next heartbeat puts off the wake-up that is set
        self._alarm: t.Optional[asyncio.TimerHandle] = None

    async def live(self) -> None:
        """Until an error, or until it is cancelled."""
        self._pulse = asyncio.get_running_loop().create_future()
        self._rhythm.begin(self._clock())
        self._turn()
        try:
            await self._pulse
        finally:
            self._pulse = None
            self._rhythm.end()
            if self._alarm is not None:
                self._alarm.cancel()

    # --- what makes a turn come sooner -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """New evidence: decide now rather than later. What comes in the same round of the loop is judged together."""
        if self._pulse is not None and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._turn)

    def heard(self, name: str) -> None:
        """A heartbeat came in time: no need to wake up for its being late. Mine may leave with it."""
        if self._rhythm.heard(self._clock()):
            self._wanted = True
        elif name == self._awaited:
            self._set_alarm()

    def news(self, name: str) -> None:
        """A peer says something new, or lives."""
        self._wanted = True

    def read(self) -> None:
        """All that had arrived has been read, and is judged at once."""
        if self._wanted and not self._woken:
            self._turn()

    # --- turns -------------------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Heartbeats and decision together where they can be: a quiet node's cost is that of its wake-ups."""
        if self._pulse is None or self._pulse.done():
            return
        self._woken, self._wanted = True, False
        try:
            now = self._clock()
            if now >= self._rhythm.beat_at:
                self._beat(now)
                self._rhythm.beaten(now)
            self._tick(now)
            self._due = min(self._rhythm.beat_at, self._clock() + self._longest())
            self._set_alarm()
        except Exception as error:  # pylint: disable=broad-except  # it is to end the service, as that of any worker
            self._pulse.set_exception(error)
        finally:
            self._woken = False

    def _set_alarm(self) -> None:
        """Wake up when a turn is due, or from when on a peer's heartbeat is late."""
        if self._alarm is not None:
            self._alarm.cancel()
        late, name = self._late()
        self._awaited = name if late < self._due else ""
        delay = max(0.0, min(self._due, late) - self._clock())
        self._alarm = asyncio.get_running_loop().call_later(delay, self._turn)
