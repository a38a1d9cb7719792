# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator sees: one line per thing, with the time since the demo began or since the node died."""

from __future__ import annotations

import sys
import threading
import time

WIDTH = 150


class Show:
    """Lines to stderr; stdout is for the figures alone. Safe to use from several threads."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._guard = threading.Lock()
        self._zero: float | None = None

    def head(self, text: str) -> None:
        """A new part begins."""
        self._write(f"\n== {text}")

    def line(self, text: str) -> None:
        """Something was done; seconds since the beginning."""
        self._write(f"{time.monotonic() - self.began:8.1f} s  {text}")

    def zero(self, at: float) -> None:
        """From now on ``event`` counts from here (monotonic)."""
        self._zero = at

    def event(self, at: float, who: str, text: str) -> None:
        """Something happened at a known moment: milliseconds since zero."""
        since = (at - self._zero) * 1000 if self._zero is not None else 0.0
        self._write(f"{since:+9.0f} ms  {who:<9}{text[:WIDTH]}")

    def plain(self, text: str) -> None:
        """Text as it is."""
        self._write(text)

    def _write(self, text: str) -> None:
        with self._guard:
            print(text, file=sys.stderr, flush=True)
