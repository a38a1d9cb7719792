# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual time: a queue of things to do. Nothing sleeps, nothing runs in threads; the same seed gives the same run."""

from __future__ import annotations

import heapq
import typing as t
from bisect import bisect_left

Do = t.Callable[[], None]
NEVER = float("inf")

EPOCH = 1_800_000_000.0  # time of day at the beginning of an incident


class Timeline:
    """Runs callbacks in the order of their times, then of their making.

    Events of hosts, network and EC2 themselves are queued by ``after``. The incident's own course (faults, their ends, what operators do) is
    queued by ``later``: it may be brought forward while nothing goes on.
    """

    def __init__(self) -> None:
        self.now = 0.0
        # Sorted, the next one last (hence negative): with a few tens of entries faster than PyPy's heapq.
        self._times: list[float] = []
        self._queue: list[Do] = []
        self._course: list[tuple[float, int, Do]] = []
        self._forward = 0.0  # seconds by which the course has been brought forward so far
        self._made = 0
        self.story: list[tuple[float, str]] = []

    def after(self, seconds: float, do: Do) -> None:
        when = -(self.now + seconds)
        place = bisect_left(self._times, when)  # what was made before for the same moment comes first
        self._times.insert(place, when)
        self._queue.insert(place, do)

    def later(self, seconds: float, do: Do) -> None:
        """Part of the incident's course."""
        self._made += 1
        heapq.heappush(self._course, (self.now + seconds + self._forward, self._made, do))

    def run(self, until: float) -> None:
        times, queue, course = self._times, self._queue, self._course
        while True:
            next_step = -times[-1] if times else NEVER
            next_turn = course[0][0] - self._forward if course else NEVER
            if next_step > until and next_turn > until:
                break
            if next_turn < next_step:
                self.now = max(next_turn, self.now)
                heapq.heappop(course)[2]()
            else:
                self.now = next_step
                times.pop()
                queue.pop()()
        self.now = until

    def hurry(self, grain: float) -> None:
        """Nothing goes on: bring the course forward by whole grains, so that its next turn comes within two of them."""
        if self._course:
            ahead = self._course[0][0] - self._forward - self.now
            self._forward += max(0, int(ahead / grain) - 1) * grain

    def tell(self, text: str) -> None:
        """A line of the story that is printed when an invariant breaks."""
        self.story.append((self.now, text))
