# SPDX-License-Identifier: GPL-3.0-or-later
"""The time from the answer to AssociateAddress until the internet gateway translates so.

AWS promises none. NGINX's guide to high availability by Elastic IP reports five to six seconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

Translation = Mapping[str, str]  # private to public address


class Associations:
    """The translation of the internet gateway, some time after the answers of EC2. With the API's lock held, but for the timers.

    Changes take effect in their order. ``changed`` is called when one is due.
    """

    def __init__(self, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._changed, self._clock = changed, clock
        self._delay_s = 0.0
        self._now: Translation | None = None
        self._coming: deque[tuple[float, Translation]] = deque()
        self._timers: set[threading.Timer] = set()

    @property
    def delay_s(self) -> float:
        """Seconds that a change takes from now on."""
        return self._delay_s

    def delay(self, seconds: float, present: Translation) -> None:
        """Set it. The present associations are no change."""
        if not 0 <= seconds <= 3600:
            raise ValueError(f"delay_s must be from 0 to 3600 seconds, not {seconds!r}")
        self.follow(present)
        self._delay_s = seconds

    def follow(self, wanted: Translation) -> Translation:
        """The translation in effect, when EC2 answers ``wanted``."""
        now = self._clock()
        last = self._coming[-1] if self._coming else (now, self._now)
        if self._now is None:
            self._now = dict(wanted)
        elif wanted != last[1]:
            due = max(now + self._delay_s, last[0])
            self._coming.append((due, dict(wanted)))
            if due > now:
                self._call_at(due - now)
        while self._coming and self._coming[0][0] <= now:
            self._now = self._coming.popleft()[1]
        return self._now

    def settle(self) -> None:
        """No delay, and none for what is under way."""
        self._delay_s = 0.0
        self._coming = deque((0.0, wanted) for _due, wanted in self._coming)

    def close(self) -> None:
        """No call of ``changed`` begins after this."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _call_at(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._changed)
        timer.daemon = True
        self._timers = {each for each in self._timers if each.is_alive()} | {timer}
        timer.start()
