# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator sees: one line per thing, with the time since the demo began or since the node died."""

from __future__ import annotations

import sys
import threading
import time

WIDTH = 150
LAG = 0.4  # seconds that an event waits, so that what others saw before it, and tell later, comes first


class Show:
    """Lines to stderr; stdout is for the figures alone. Safe to use from several threads."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._guard = threading.Lock()
        self._zero: float | None = None
        self._waiting: list[tuple[float, str, str]] = []
        threading.Thread(target=self._keep_telling, daemon=True).start()

    def head(self, text: str) -> None:
        """A new part begins."""
        self._tell_until(float("inf"))
        self._write(f"\n== {text}")

    def line(self, text: str) -> None:
        """Something was done; seconds since the beginning."""
        self._write(f"{time.monotonic() - self.began:8.1f} s  {text}")

    def zero(self, at: float) -> None:
        """From now on ``event`` counts from here (monotonic)."""
        self._zero = at

    def event(self, at: float, who: str, text: str) -> None:
        """Something happened at a known moment; shown in the order of these moments, in milliseconds since zero."""
        with self._guard:
            self._waiting.append((at, who, text))

    def _keep_telling(self) -> None:
        while True:
            time.sleep(LAG / 4)
            self._tell_until(time.monotonic() - LAG)

    def _tell_until(self, moment: float) -> None:
        with self._guard:
            due = sorted(event for event in self._waiting if event[0] <= moment)
            self._waiting = [event for event in self._waiting if event[0] > moment]
            for at, who, text in due:
                since = (at - (self._zero or at)) * 1000
                print(f"{since:+9.0f} ms  {who:<9}{text[:WIDTH]}", file=sys.stderr, flush=True)

    def plain(self, text: str) -> None:
        """Text as it is."""
        self._write(text)

    def _write(self, text: str) -> None:
        with self._guard:
            print(text, file=sys.stderr, flush=True)
