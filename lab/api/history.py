# SPDX-License-Identifier: GPL-3.0-or-later
"""Stale reads: what the API would have said some seconds ago. EC2 is eventually consistent; a lab behind one lock never is by itself."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .backend import instances

KEEP_S = 600.0


class _Past:
    """The parts of moto's model that the product reads: routes, instance states, source/dest flags and tags."""

    def __init__(self, model: Any, at: float) -> None:
        self.at = at
        self.routes = {
            table: {key: copy.copy(route) for key, route in table._routes.items()}
            for table in model.route_tables.values()
        }
        self.states = {instance: copy.copy(instance._state) for instance in instances(model)}
        self.checks = {interface: interface.source_dest_check for interface in model.enis.values()}
        self.tags = {resource: dict(tags) for resource, tags in model.tags.items()}

    def swap(self, model: Any) -> None:
        """Exchange this past with the present; the second call restores it."""
        for table, routes in self.routes.items():
            self.routes[table], table._routes = table._routes, routes
        for instance, state in self.states.items():
            self.states[instance], instance._state = instance._state, state
        for interface, check in self.checks.items():
            self.checks[interface], interface.source_dest_check = interface.source_dest_check, check
        for resource in set(self.tags) | set(model.tags):
            now, then = model.tags.get(resource, {}), self.tags.get(resource, {})
            self.tags[resource], model.tags[resource] = now, then


class History:
    """Pasts since remembering began. Everything here happens with the API's lock held."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pasts: deque[_Past] = deque()

    def remember(self, model: Any) -> None:
        """Call after every change while stale reads are wanted, and once when they begin."""
        now = self._clock()
        self._pasts.append(_Past(model, now))
        while len(self._pasts) > 1 and self._pasts[1].at < now - KEEP_S:
            self._pasts.popleft()

    def forget(self) -> None:
        """Stale reads are no longer wanted."""
        self._pasts.clear()

    @contextmanager
    def as_of(self, model: Any, ago_s: float) -> Iterator[None]:
        """The model as it was ``ago_s`` seconds ago, or when remembering began if that is later."""
        wanted = self._clock() - ago_s
        past = next(
            (each for each in reversed(self._pasts) if each.at <= wanted), self._pasts[0] if self._pasts else None
        )
        if past is None:
            yield
            return
        past.swap(model)
        try:
            yield
        finally:
            past.swap(model)
