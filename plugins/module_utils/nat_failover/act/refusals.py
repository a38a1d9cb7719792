# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions that are wanted and fail: how often, why, since when."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

REPEAT_EVERY = 300.0  # seconds after which an action that fails for the same reason is reported again

Key = tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """An action that has failed. Times are monotonic seconds."""

    key: Key
    wanted: str  # the reason of the action in words
    attempts: int
    problem: str  # the last error in words
    code: str  # its code (``AwsError.code``), or "" if AWS gave none
    first_at: float
    last_at: float
    reported_at: float


class Refusals:
    """Keeps the failed actions until they succeed or are not wanted any more."""

    def __init__(self) -> None:
        self.standing: dict[Key, Refusal] = {}

    def note(self, key: Key, wanted: str, problem: str, code: str, now: float) -> bool:
        """Note a failure. Returns whether it is news: the first one, another error, or a long time."""
        old = self.standing.get(key)
        if old is None:
            self.standing[key] = Refusal(key, wanted, 1, problem, code, now, now, now)
            return True
        news = (code, code or problem) != (old.code, old.code or old.problem) or now - old.reported_at > REPEAT_EVERY
        self.standing[key] = replace(
            old,
            wanted=wanted,
            attempts=old.attempts + 1,
            problem=problem,
            code=code,
            last_at=now,
            reported_at=now if news else old.reported_at,
        )
        return news

    def end(self, key: Key) -> Refusal | None:
        """The action succeeded. Returns its failures, or None if there were none."""
        return self.standing.pop(key, None)

    def unwanted(self, wanted: t.Container[Key], busy: t.Container[Key]) -> list[Refusal]:
        """Drop and return the failed actions that no plan wants any more.

        A key that is ``busy`` is not planned, so nothing is known about it.
        """
        dropped = [key for key in self.standing if key not in wanted and key not in busy]
        return [self.standing.pop(key) for key in dropped]
