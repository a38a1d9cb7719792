# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have clients' packets stopped?

A source/dest check that was switched on again shows on this node in no other way.
"""

from __future__ import annotations

BUSY, QUIET = 50.0, 0.2  # packets a second that are traffic; the share of it that is as good as none
SHORTEST = 0.5  # seconds over which a rate is measured, at least


class TrafficWatch:
    """Follows the count of forwarded packets."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._rate = 0.0  # packets a second

    def update(self, count: int, now: float) -> bool:
        """Take in the count of forwarded packets at a moment.

        Returns whether traffic has just stopped.
        """
        if self._last is None:
            self._last = now, count
            return False
        seconds = now - self._last[0]
        if seconds < SHORTEST:
            return False
        before, self._rate = self._rate, (count - self._last[1]) / seconds
        self._last = now, count
        return before >= BUSY and self._rate <= before * QUIET
