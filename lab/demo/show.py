# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's view: one line per thing, with the time since the demo began or since the node died.

A sign of progress is one line that is written anew, on a terminal, and an occasional line elsewhere.
"""

from __future__ import annotations

import sys
import threading
import time

WIDTH = 150
NARROW = 78  # what goes on must not wrap, or it could not be written over
RARELY = 15.0  # seconds between two lines of what goes on, where there is no terminal
LAG = 0.4  # seconds that an event waits, so that what others saw before it, and tell later, comes first


class Show:
    """Lines to stderr; stdout is for the figures alone. Safe to use from several threads."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._guard = threading.Lock()
        self._zero: float | None = None
        self._terminal = sys.stderr.isatty()
        self._passing = False
        self._shown = time.monotonic()
        self._waiting: list[tuple[float, str, str]] = []
        threading.Thread(target=self._keep_telling, daemon=True).start()

    def head(self, text: str) -> None:
        """A new part begins."""
        self._tell_until(float("inf"))
        self._write(f"\n== {text}")

    def line(self, text: str) -> None:
        """Something was done; seconds since the beginning."""
        self._write(f"{time.monotonic() - self.began:8.1f} s  {text}")

    def passing(self, text: str) -> None:
        """The present step. It is gone with the next line."""
        with self._guard:
            now = time.monotonic()
            line = f"{now - self.began:8.1f} s  ... {text}"[:NARROW]
            if self._terminal:
                print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
                self._passing = True
            elif now - self._shown > RARELY:
                self._print(line)

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
                self._print(f"{since:+9.0f} ms  {who:<9}{text[:WIDTH]}")

    def plain(self, text: str) -> None:
        """Text as it is."""
        self._write(text)

    def _write(self, text: str) -> None:
        with self._guard:
            self._print(text)

    def _print(self, text: str) -> None:
        """One line, in place of what was passing. With the guard held."""
        over = "\r\x1b[K" if self._passing else ""
        self._passing, self._shown = False, time.monotonic()
        print(f"{over}{text}", file=sys.stderr, flush=True)
