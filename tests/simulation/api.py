# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of the models of EC2 and DynamoDB: calls with latency, outages, throttling, denials and lost answers."""

from __future__ import annotations

import random
import typing as t

from .timeline import Timeline

TIMEOUT = 1.5  # seconds: the clients' connect and read timeout


class Api:
    """One service of AWS."""

    def __init__(self, timeline: Timeline, rng: random.Random) -> None:
        self.timeline, self.rng = timeline, rng
        self.jitter = (0.5, 2.0)  # of the latency
        self.heal()

    def heal(self) -> None:
        """Nothing hinders calls."""
        self.latency = 0.02
        self.up = True
        self.lost_answers = 0.0  # probability that a call is applied and its answer lost
        self.throttled = 0.0  # probability of a refusal because of too many requests
        self.denied: set[tuple[str, str]] = set()  # (node, action)
        self.failing: set[str] = set()  # subjects (route tables) that cannot be written

    @property
    def hindered(self) -> bool:
        """Calls may fail now, whoever makes them."""
        return bool(self.lost_answers or self.throttled or not self.up)

    def refusal(self, caller: str, action: str, subject: str) -> str:
        """The code with which a call is refused, or ""."""
        if (caller, action) in self.denied:
            return "UnauthorizedOperation"
        return "InternalError" if subject in self.failing else ""

    def call(
        self,
        caller: str,
        action: str,
        reach: t.Callable[[], bool],
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], None],
        failed: t.Callable[[str], None],
        subject: str = "",
    ) -> None:
        """One call: applied half-way through its latency, unless something is in its way."""
        rng, latency = self.rng, self.latency * self.rng.uniform(*self.jitter)
        if not self.up or not reach():
            self.timeline.after(TIMEOUT, lambda: failed("Timeout"))
        elif self.refusal(caller, action, subject):
            code = self.refusal(caller, action, subject)
            self.timeline.after(latency, lambda: failed(code))
        elif rng.random() < self.throttled:
            self.timeline.after(latency, lambda: failed("RequestLimitExceeded"))
        else:
            lost = rng.random() < self.lost_answers

            def applied() -> None:
                result = apply()
                if lost or not self.up or not reach():
                    self.timeline.after(TIMEOUT, lambda: failed("Timeout"))
                else:
                    self.timeline.after(latency / 2, lambda: done(result))

            self.timeline.after(latency / 2, applied)
