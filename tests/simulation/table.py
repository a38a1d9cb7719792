# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the witness table in DynamoDB: reads are never stale, conditional writes are atomic."""

from __future__ import annotations

import random
import typing as t

from .api import Api
from .timeline import Timeline

Held = tuple[str, str, str]  # holder, peer, value


class Table(Api):
    """One cluster's items. ``watch(caller, action, before, after)`` is told of each change of the lock."""

    def __init__(self, timeline: Timeline, rng: random.Random) -> None:
        super().__init__(timeline, rng)
        self.items: dict[str, str] = {}
        self.held: Held | None = None
        self.written_at = 0.0  # when the lock was last written
        self.watch: t.Callable[[str, str, Held | None, Held | None], None] = lambda *change: None

    def read(self) -> tuple[dict[str, str], Held | None]:
        return dict(self.items), self.held

    def show(self, instance: str, value: str) -> None:
        self.items[instance] = value

    def lock(self, holder: str, peer: str, value: str, expects: str) -> bool:
        free = self.held is None or self.held[0] == holder or self.held[2] == expects
        if free:
            self._become(holder, "lock", (holder, peer, value))
        return free

    def unlock(self, caller: str, value: str) -> bool:
        mine = self.held is not None and self.held[2] == value
        if mine:
            self._become(caller, "unlock", None)
        return mine

    def _become(self, caller: str, action: str, after: Held | None) -> None:
        self.watch(caller, action, self.held, after)
        self.held, self.written_at = after, self.timeline.now
