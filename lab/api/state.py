# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of one lab's API: moto's model, its lock, and the lab's own faults, power and history. Serving it is ``server``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import backend
from .associations import Associations
from .faults import Faults
from .health_checks import HealthChecks, Probe
from .history import History
from .identity import Identity
from .power import Power, PowerHook
from .snapshot import Snapshot, snapshot

log = logging.getLogger(__name__)


class State:
    """One account's EC2 in one region. ``on_change`` is called with the lock held, so the kernel follows the API at once."""

    def __init__(
        self,
        *,
        region: str = backend.REGION,
        account: str = backend.ACCOUNT,
        on_change: Callable[[Snapshot], None] | None = None,
        enforce_iam: bool = False,
        power: PowerHook | None = None,
        probe: Probe,
    ) -> None:
        self.region, self.account = region, account
        self.enforce_iam = enforce_iam
        self.lock = threading.RLock()
        self.faults = Faults()
        self.identity = Identity(account, region)
        self.power = Power(self.lock, self.changed, power)
        self.history = History()
        self.associations = Associations(self.changed)
        self.checks = HealthChecks(self.lock, lambda: self.balancers, self.changed, probe)
        self._on_change = on_change

    @property
    def model(self) -> Any:
        """moto's EC2 model. Touch it with the lock held only."""
        return backend.ec2(self.account, self.region)

    @property
    def balancers(self) -> Any:
        """moto's model of the load balancers. Touch it with the lock held only."""
        return backend.elbv2(self.account, self.region)

    def snapshot(self) -> Snapshot:
        """The VPC now."""
        with self.lock:
            return snapshot(self.account, self.region, self.checks.published)

    def changed(self) -> None:
        """Call after each change: history remembers it, and ``on_change`` gets a snapshot."""
        with self.lock:
            if self.faults.stale:
                self.history.remember(self.model)
            self.checks.publish()
            if self._on_change is not None:
                try:
                    seen = self.snapshot()
                    self._on_change(replace(seen, translated=self.associations.follow(seen.translated)))
                except Exception:
                    log.exception("the fabric failed to follow a change")
