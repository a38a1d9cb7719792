# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: errors, delays, dropped connections, throttling and stale reads, per action and per caller."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

DROPS = ("before", "after")


@dataclass(frozen=True)
class Rule:
    """``action`` and ``caller`` (a node's name or an access key) are shell patterns. A field at its default does nothing.

    ``count``: how many matching calls are hit before the rule is spent. ``delay_ms`` comes before the call is applied and
    ``delay_after_ms`` after it. ``drop`` closes the connection "before" or "after" the call was applied. ``burst``/``rate`` are a token
    bucket that answers RequestLimitExceeded. ``body`` is sent raw instead of an AWS error. ``stale_s``: reads show the state of that
    long ago, though nothing from before the rule was made. ``page_items``: EC2 reads are answered in pages of so many items.
    """

    action: str = "*"
    caller: str = "*"
    error: str | None = None
    message: str = "Injected by the lab"
    status: int | None = None
    body: str | None = None
    probability: float = 1.0
    count: int | None = None
    delay_ms: float = 0.0
    delay_after_ms: float = 0.0
    drop: str | None = None
    burst: float | None = None
    rate: float = 0.0
    stale_s: float = 0.0
    page_items: int = 0

    @classmethod
    def load(cls, data: dict[str, Any]) -> Rule:
        """From JSON; ``ValueError`` names what is wrong with it."""
        known = {each.name for each in fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise ValueError(f"unknown fault keys {sorted(unknown)}; known: {sorted(known)}")
        rule = cls(**data)
        if rule.drop not in (None, *DROPS):
            raise ValueError(f"drop must be one of {DROPS}, not {rule.drop!r}")
        if not 0 <= rule.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {rule.probability!r}")
        if rule.page_items < 0:
            raise ValueError(f"page_items must be 0 (no pages) or more, not {rule.page_items!r}")
        return rule


@dataclass
class Effect:
    """All rules that hit one call, combined: delays add up, the first error and the first drop win."""

    rules: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    delay_after_s: float = 0.0
    drop: str | None = None
    error: str | None = None
    message: str = ""
    status: int | None = None
    body: str | None = None
    stale_s: float = 0.0
    page_items: int = 0


class _Armed:
    def __init__(self, rule: Rule, at: float) -> None:
        self.rule = rule
        self.left = rule.count
        self.tokens = rule.burst or 0.0
        self.filled_at = at

    def throttles(self, at: float) -> bool:
        if self.rule.burst is None:
            return False
        self.tokens = min(self.rule.burst, self.tokens + (at - self.filled_at) * self.rule.rate)
        self.filled_at = at
        if self.tokens < 1:
            return True
        self.tokens -= 1
        return False


class Faults:
    """The rules in force."""

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._random = random.Random(seed)
        self._clock = clock
        self._guard = threading.Lock()
        self._armed: dict[str, _Armed] = {}
        self._made = 0

    def add(self, rule: Rule) -> str:
        """Arm a rule; returns its id."""
        with self._guard:
            self._made += 1
            name = f"fault-{self._made}"
            self._armed[name] = _Armed(rule, self._clock())
            return name

    def remove(self, name: str) -> bool:
        """Disarm one rule."""
        with self._guard:
            return self._armed.pop(name, None) is not None

    def clear(self) -> None:
        """Disarm all."""
        with self._guard:
            self._armed.clear()

    def describe(self) -> dict[str, dict[str, Any]]:
        """The armed rules, with what is left of their count."""
        with self._guard:
            return {name: {**asdict(armed.rule), "left": armed.left} for name, armed in self._armed.items()}

    @property
    def stale(self) -> bool:
        """Whether any rule wants old state to be remembered."""
        with self._guard:
            return any(armed.rule.stale_s > 0 for armed in self._armed.values())

    def hit(self, action: str, caller: str, access_key: str) -> Effect:
        """The fault of this call. The call counts against the rules that match."""
        effect = Effect()
        with self._guard:
            for name, armed in self._armed.items():
                rule = armed.rule
                if armed.left == 0 or not fnmatchcase(action, rule.action):
                    continue
                if not (fnmatchcase(caller, rule.caller) or fnmatchcase(access_key, rule.caller)):
                    continue
                if rule.probability < 1 and self._random.random() >= rule.probability:
                    continue
                throttled = armed.throttles(self._clock())
                if rule.burst is not None and not throttled:
                    continue
                if armed.left is not None:
                    armed.left -= 1
                _combine(effect, name, rule, throttled)
        return effect


def _combine(effect: Effect, name: str, rule: Rule, throttled: bool) -> None:
    effect.rules.append(name)
    effect.delay_s += rule.delay_ms / 1000
    effect.delay_after_s += rule.delay_after_ms / 1000
    effect.drop = effect.drop or rule.drop
    effect.stale_s = max(effect.stale_s, rule.stale_s)
    effect.page_items = effect.page_items or rule.page_items
    if effect.error is None and effect.body is None:
        if rule.body is not None:
            effect.body, effect.status = rule.body, rule.status or 502
        elif rule.error is not None:
            effect.error, effect.message, effect.status = rule.error, rule.message, rule.status
        elif throttled:
            effect.error, effect.message, effect.status = "RequestLimitExceeded", "Request limit exceeded.", 503
