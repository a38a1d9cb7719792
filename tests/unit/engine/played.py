# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime whose clock is played. Its timers, threads and sockets are the real ones."""

from __future__ import annotations

from nat_failover.runtime.real import AsyncioRuntime


class PlayedRuntime(AsyncioRuntime):
    """``at`` is the time. Each look at the clock adds ``step`` seconds to it."""

    def __init__(self, at=100.0, step=0.0):
        super().__init__()
        self.at, self.step = at, step

    def now(self):
        self.at += self.step
        return self.at
