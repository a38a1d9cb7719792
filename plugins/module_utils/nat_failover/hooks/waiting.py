# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events that wait for one hook: bounded, and without repetitions.

Pure: the time is given.
"""

from __future__ import annotations

import typing as t
from collections import deque

Event = t.Mapping[str, t.Any]
WAITING = 100  # events. The oldest is dropped for a new one
SAME_WITHIN = 60.0  # seconds in which an event of the same kind, text and subject is a repetition
SUBJECTS = ("peer", "route_table", "destination", "step")


class Waiting:
    """The events of one hook. ``dropped`` and ``repeated`` count those that it will not get."""

    def __init__(self, kinds: t.Collection[str]) -> None:
        self.dropped = self.repeated = 0
        self._kinds = kinds
        self._events: deque[Event] = deque()
        self._seen: dict[tuple[t.Any, ...], float] = {}

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event, now: float) -> bool:
        """Take an event. Returns whether it waits now. ``now``: monotonic seconds."""
        if event.get("kind") not in self._kinds:
            return False
        self._seen = {subject: at for subject, at in self._seen.items() if now - at < SAME_WITHIN}
        subject = (event["kind"], event.get("text"), *(event.get(key) for key in SUBJECTS))
        if subject in self._seen:
            self.repeated += 1
            return False
        self._seen[subject] = now
        if len(self._events) >= WAITING:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        return True

    def next(self) -> Event | None:
        """The oldest event, which waits no more. None: no event waits."""
        return self._events.popleft() if self._events else None
