# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tick loop. A tick sends the heartbeats that are due, decides, and schedules the next tick.

In quiet times not every heartbeat brings a decision, since a decision costs far more.

The event loop itself starts a tick. A task would cost two more rounds of it for each tick.
"""

from __future__ import annotations

import asyncio
import typing as t

from ..model.settings import Heartbeat
from ..runtime.base import Runtime, Timer
from ..timing import TimerCoalescer

# Seconds between decisions without news, if heartbeats are more frequent than that
LONGEST_TICK = 0.2
# The longest tick as a share of silent_after. From 0.5 on the policy takes the gap for a freeze
# (law L10: after a freeze all silence counts anew).
LONGEST_SHARE = 0.42


def pace(heartbeat: Heartbeat, probes: t.Mapping[str, float]) -> tuple[int, float]:
    """(heartbeats, seconds at the latest) until the next decision without news.

    ``probes``: suspect -> seconds between probes of it. Each probe brings a decision.
    """
    longest = LONGEST_SHARE * heartbeat.silent_after
    count = max(1, int(min(LONGEST_TICK, longest) / heartbeat.interval))
    if count > 1:  # the heartbeats are ticks, too; a gap in which none left must be judged
        longest = min((count + 0.5) * heartbeat.interval, heartbeat.silent_after / 2)
    return count, min([longest, *probes.values()])


class TickLoop:
    """Calls ``send(now)`` to send heartbeats and ``decide(now)`` to decide.

    ``pace()`` returns what is awaited without news until the next decision: a number of heartbeats,
    and the seconds at the latest. ``late()`` returns the moment from which a heartbeat is late, and
    the peer that owes it. Moments are seconds of ``Runtime.now``.
    """

    def __init__(
        self,
        runtime: Runtime,
        timers: TimerCoalescer,
        send: t.Callable[[float], None],
        decide: t.Callable[[float], None],
        pace: t.Callable[[], tuple[int, float]],
        late: t.Callable[[], tuple[float, str]],
    ) -> None:
        self._runtime = runtime
        self._timers = timers
        self._send, self._decide = send, decide
        self._pace, self._late = pace, late
        self.awake_at: float | None = None  # the moment of the tick before this one
        self._ticked_at: float | None = None
        # Exists while the loop lives. Only an error completes it.
        self._pulse: asyncio.Future[None] | None = None
        self._woken = False  # a tick is queued or under way
        self._wanted = False  # a tick follows once all packets are read
        self._news = True  # the next tick decides, since the evidence has changed
        self._heartbeats_left = 0  # that leave before the next decision
        self._decision_due = float("-inf")  # the moment of the next decision at the latest
        self._late_at = float("inf")  # the moment from which the awaited heartbeat is late
        self._due = float("inf")  # the moment of the next tick at the latest
        self._awaited = ""  # the peer whose next heartbeat puts off the alarm
        self._alarm: Timer | None = None

    async def live(self) -> None:
        """Tick until an error or a cancellation. Raises the error of ``send`` or ``tick``."""
        self._pulse = asyncio.get_running_loop().create_future()
        self._timers.begin(self._runtime.now())
        self._turn()
        try:
            await self._pulse
        finally:
            self._pulse = None
            self._timers.end()
            if self._alarm is not None:
                self._alarm.cancel()

    # --- causes of an early tick ------------------------------------------------------------------

    def wake(self) -> None:
        """Tick now, since there is new evidence.

        Evidence that arrives in the same round of the event loop shares the tick.
        """
        self._news = True
        if self._pulse is not None and not self._woken:
            self._woken = True
            self._runtime.later(0, self._turn)

    def packet_received(self, name: str) -> None:
        """A packet of the peer ``name`` has arrived. This node's heartbeats may leave with it."""
        if self._timers.packet_received(self._runtime.now()):
            self._wanted = True
        elif name == self._awaited:
            self._set_alarm()

    def wake_after_read(self) -> None:
        """Tick once all packets are read, since one of them changed the evidence."""
        self._wanted = self._news = True

    def all_read(self) -> None:
        """All packets that had arrived are read. A tick that they need is now."""
        if self._wanted and not self._woken:
            self._turn()

    # --- ticks ------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """One tick. Heartbeats and a decision share a wake-up where possible."""
        if self._pulse is None or self._pulse.done():
            return
        self._woken, self._wanted = True, False
        try:
            now = self._runtime.now()
            self.awake_at, self._ticked_at = self._ticked_at, now
            heartbeats = now >= self._timers.due_at
            if heartbeats:
                self._send(now)
                self._timers.heartbeats_sent(now)
                self._heartbeats_left -= 1
            if not heartbeats or self._must_decide(now):
                self._news = False
                self._decide(now)
                self._heartbeats_left, seconds = self._pace()
                self._decision_due = now + seconds
            self._due = min(self._timers.due_at, self._decision_due)
            self._set_alarm()
        # Any error ends the service, as an error of any worker does.
        except Exception as error:  # pylint: disable=broad-except
            self._pulse.set_exception(error)
        finally:
            self._woken = False

    def _must_decide(self, now: float) -> bool:
        return self._news or self._heartbeats_left <= 0 or now >= min(self._decision_due, self._late_at)

    def _set_alarm(self) -> None:
        """Schedule a tick for when one is due, or when a peer's heartbeat becomes late."""
        if self._alarm is not None:
            self._alarm.cancel()
        late, name = self._late()
        self._awaited, self._late_at = name if late < self._due else "", late
        delay = max(0.0, min(self._due, late) - self._runtime.now())
        self._alarm = self._runtime.later(delay, self._turn)
