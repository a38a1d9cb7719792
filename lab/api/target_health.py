# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of one registered target over time. Pure: times come in as monotonic seconds.

AWS: Network Load Balancer User Guide, "Health checks for Network Load Balancer target groups" and "Edit target group attributes";
API Reference (2015-12-01), TargetHealth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

INITIAL, HEALTHY, UNHEALTHY, UNUSED = "initial", "healthy", "unhealthy", "unused"
DRAINING, UNHEALTHY_DRAINING = "draining", "unhealthy.draining"


@dataclass(frozen=True)
class Health:
    """One answer of DescribeTargetHealth."""

    state: str
    reason: str | None = None
    description: str | None = None


NOT_IN_USE = Health(
    UNUSED, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)
ZONE_NOT_ENABLED = Health(
    UNUSED, "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer"
)
STOPPED = Health(UNUSED, "Target.InvalidState", "Target is in the stopped state")
NOT_REGISTERED = Health(UNUSED, "Target.NotRegistered", "Target is not registered to the target group")
DEREGISTERING = Health(DRAINING, "Target.DeregistrationInProgress", "Target deregistration is in progress")
REGISTERING = Health(INITIAL, "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = Health(INITIAL, "Elb.InitialHealthChecking", "Initial health checks in progress")
PASSED = Health(HEALTHY)
FAILED = Health(UNHEALTHY, "Target.FailedHealthChecks", "Health checks failed")
FAILED_DRAINING = Health(UNHEALTHY_DRAINING, "Target.FailedHealthChecks", "Health checks failed")


@dataclass(frozen=True)
class Check:
    """How a target group checks its targets. ``port`` None is the port that the target receives traffic on."""

    protocol: str = "TCP"
    port: int | None = None
    path: str = "/"
    interval_s: float = 30.0
    timeout_s: float = 10.0
    healthy: int = 5
    unhealthy: int = 2
    codes: str = "200-399"


@dataclass
class Target:
    """A target as (id, port). ``passed`` is None until enough checks have agreed. Times are None while not so.

    ``address`` is where packets for it go: that of its instance when it was registered.
    """

    id: str
    port: int
    registered_at: float
    address: str = ""
    passed: bool | None = None
    failed_at: float | None = None
    removed_at: float | None = None
    next_check: float = 0.0
    _agreeing: int = field(default=0, repr=False)
    _last: bool | None = field(default=None, repr=False)

    def checked(self, ok: bool, check: Check, now: float) -> bool:
        """Count one result. Whether it changed the state."""
        self._agreeing = self._agreeing + 1 if ok == self._last else 1
        self._last = ok
        if ok == self.passed or self._agreeing < (check.healthy if ok else check.unhealthy):
            return False
        self.passed, self.failed_at = ok, None if ok else now
        return True

    def forget_checks(self) -> None:
        """An unused target is not checked, and begins anew."""
        self.passed, self.failed_at, self._agreeing, self._last = None, None, 0, None

    def health(self, now: float, *, registration_s: float = 0.0, unhealthy_draining_s: float = 0.0) -> Health:
        """The state of a target that is in use."""
        if self.removed_at is not None:
            return DEREGISTERING
        if now < self.registered_at + registration_s:
            return REGISTERING
        if self.passed is None:
            return CHECKING
        if self.passed:
            return PASSED
        return FAILED_DRAINING if now < (self.failed_at or now) + unhealthy_draining_s else FAILED


def matches(code: int, codes: str) -> bool:
    """Whether an HTTP status is among ``200``, ``200,202`` or ``200-399``."""
    return any(first <= code <= last for first, last in _ranges(codes))


def _ranges(codes: str) -> Iterator[tuple[int, int]]:
    for part in codes.split(","):
        first, _dash, last = part.partition("-")
        yield int(first), int(last or first)


def receiving(states: Iterable[tuple[Target, Health]]) -> list[Target]:
    """The targets that new flows go to: the healthy ones, or all that are registered and in use if none is (it fails open)."""
    known = [(target, health) for target, health in states if health.state not in (UNUSED, DRAINING)]
    return [target for target, health in known if health.state == HEALTHY] or [target for target, _health in known]
