# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual time: a queue of things to do. Nothing sleeps, nothing runs in threads; the same seed gives the same run."""

from __future__ import annotations

import heapq
import typing as t


class Timeline:
    """Runs callbacks in the order of their times, then of their making."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: t.List[t.Tuple[float, int, t.Callable[[], None]]] = []
        self._made = 0
        self.story: t.List[t.Tuple[float, str]] = []

    def at(self, when: float, do: t.Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._queue, (max(when, self.now), self._made, do))

    def after(self, seconds: float, do: t.Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, until: float) -> None:
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _made, do = heapq.heappop(queue)
            do()
        self.now = until

    def tell(self, text: str) -> None:
        """A line of the story that is printed when an invariant breaks."""
        self.story.append((self.now, text))
