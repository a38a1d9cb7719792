# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings give way to writes. AWS answers calls side by side; here one lock is before all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 0.05  # for which a reading gives way
# In which a write that comes at the same time is first. Readings of EC2 take ten times as long.
GRACE_S = 0.002


class Turns:
    """``turn(reads)`` around a call that is about to ask for the lock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writes = 0  # that wait for the lock, or have it

    @contextmanager
    def turn(self, reads: bool) -> Iterator[None]:
        """A reading begins after ``GRACE_S``, when no write is under way, and in any case ``PATIENCE_S`` later."""
        if reads:
            time.sleep(GRACE_S)
            with self._changed:
                self._changed.wait_for(lambda: not self._writes, PATIENCE_S)
            yield
            return
        with self._changed:
            self._writes += 1
        try:
            yield
        finally:
            with self._changed:
                self._writes -= 1
                self._changed.notify_all()
