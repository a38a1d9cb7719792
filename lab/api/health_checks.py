# SPDX-License-Identifier: GPL-3.0-or-later
"""The load balancer's health checks: real connections, an interval from start to start, in threads of their own.

AWS: Network Load Balancer User Guide, "Health checks for Network Load Balancer target groups".
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import target_groups
from .target_health import DRAINING, UNUSED, Check, Health, Target, matches

log = logging.getLogger(__name__)

TICK_S = 0.05
States = dict[tuple[str, str, int], Health]  # (target group's ARN, target's id, port)
Probe = Callable[[str, int, Check], bool]


class HealthChecks:
    """Checks every target that is in use. ``published`` holds the states that packets obey: the API's, ``propagation_s`` later.

    ``probe`` is called without the lock.
    """

    def __init__(self, lock: threading.RLock, backend: Callable[[], Any], changed: Callable[[], None], probe: Probe):
        self.published: States = {}
        self._lock, self._backend, self._changed, self._probe = lock, backend, changed, probe
        self._waiting: deque[tuple[float, States]] = deque()
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="lab-check")
        self._thread = threading.Thread(target=self._run, name="lab-checks", daemon=True)

    def start(self) -> None:
        """Check from now on. Further calls change nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """No further check; a running one has no effect."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._closed.wait(TICK_S):
            try:
                with self._lock:
                    self._turn(time.monotonic())
            except Exception:
                log.exception("health checks of the load balancers")

    def publish(self) -> bool:
        """Let packets obey the states of now, or of ``propagation_s`` ago. Whether that changed anything. The lock is held.

        The API calls it at each change, so that a caller who has read a state meets packets that obey it.
        """
        return self._publish(self._states())

    def _states(self) -> States:
        backend = self._backend()
        return {
            (group.arn, target.id, target.port): target_groups.health(
                backend, group, target, target_groups.delays(backend)
            )
            for group in target_groups.groups(backend)
            for target in target_groups.targets(group).values()
        }

    def _publish(self, states: States) -> bool:
        now, delay = time.monotonic(), target_groups.delays(self._backend()).propagation_s
        latest = self._waiting[-1][1] if self._waiting else self.published
        if states != latest:
            self._waiting.append((now + delay, states))
        before = self.published
        while self._waiting and self._waiting[0][0] <= now:
            self.published = self._waiting.popleft()[1]
        return self.published != before

    def _turn(self, now: float) -> None:
        """Start the checks that are due, and publish what time has changed."""
        states = self._states()
        for group in target_groups.groups(self._backend()):
            check = target_groups.check_of(group)
            for target in list(target_groups.targets(group).values()):
                health = states[group.arn, target.id, target.port]
                if health.state == UNUSED:
                    target.forget_checks()
                elif (
                    health.state != DRAINING
                    and health.reason != "Elb.RegistrationInProgress"
                    and now >= target.next_check
                ):
                    on_time = now - target.next_check < check.interval_s
                    target.next_check = (target.next_check if on_time else now) + check.interval_s
                    self._pool.submit(self._one, target, check)
        if self._publish(states):
            self._changed()

    def _one(self, target: Target, check: Check) -> None:
        try:
            passed = self._probe(target.address, check.port or target.port, check)
        except OSError:
            passed = False
        with self._lock:
            if not self._closed.is_set() and target.checked(passed, check, time.monotonic()):
                self._changed()


def probe(address: str, port: int, check: Check, source: str | None = None) -> bool:
    """One health check from this network namespace. TCP: a connection. HTTP: an expected status within the timeout."""
    end = time.monotonic() + check.timeout_s
    bound = (source, 0) if source else None
    try:
        with socket.create_connection((address, port), check.timeout_s, bound) as connection:
            if check.protocol != "HTTP":
                return True
            connection.sendall(
                f"GET {check.path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n".encode()
            )
            connection.settimeout(max(0.01, end - time.monotonic()))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return matches(answer.status, check.codes)
    except (OSError, http.client.HTTPException):
        return False
