# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of fences: the nodes that may be stopped, the mark before it, and the lock of the witness table."""

from __future__ import annotations

import typing as t

from nat_failover.model.cluster import ACTIVE, TAG_DRAINED, TAG_FENCE, TAG_MAINTENANCE

from .cloud import interface
from .table import Held
from .truth import MOMENT, TAGGED, Truth

BACKOFF = 10.0  # seconds that a failed write may be put off


class FenceLaws(Truth):
    """Raises ``Violation`` at the moment of a stop, or of a write of the lock."""

    def __init__(self, *world: t.Any) -> None:
        super().__init__(*world)
        self.stops: list[tuple[float, str, str]] = []
        self.spent: dict[tuple[str, int], int] = {}  # fences by each life of each service

    def _fenced(self, caller: str, action: str, target: str) -> None:
        """A node is about to be stopped or rebooted."""
        config = self.config
        wanted = {"stop_start": "StopInstances", "reboot": "RebootInstances"}.get(config.fence.policy)
        if target in self.cloud.stops_refused and wanted is not None:
            wanted = "RebootInstances"  # the fall-back
        if config.mode == "route" or action != wanted:
            self.break_("mode", f"{caller} calls {action} on {target} in mode {config.mode}")
        self._between(caller, target)
        self._spared(caller, target)
        lives = self.hosts[caller].boots
        self.stops.append((self.timeline.now, caller, target))
        self.spent[caller, lives] = self.spent.get((caller, lives), 0) + 1
        if self.spent[caller, lives] > config.fence.max_per_hour:
            self.break_("budget", f"{caller} fences more than {config.fence.max_per_hour} times")

    def _between(self, caller: str, target: str) -> None:
        """L3: one fence an incident, never two nodes fencing each other, marked before."""
        now = self.timeline.now
        if caller == target:
            self.break_("L3", f"{caller} stops itself")
        if self.hosts[target].witness:
            self.break_("L6", f"{caller} stops {target}, which is a witness")
        if self.locked and (self.table.held or ())[:2] != (caller, target):
            self.break_("L3", f"{caller} stops {target} without the lock, which is {self.table.held}")
        for at, by, stopped in self.stops:
            # A node that has been dead for as long as a fence needs is not one of two that fight.
            fought = now - self.alive_at[target] < self.fence_after
            if (by, stopped) == (target, caller) and now - at < 60.0 and fought:
                self.break_("L3", f"{caller} and {target} stop each other")
            if stopped == target and self.alive_at[target] <= at:
                self.break_("L3", f"{target} is stopped a second time without having lived")
        for _at, by, stopped in self.stops if self.locked else ():
            lapsed = now - self.unable_at[by] <= self.lease + BACKOFF
            if self.cloud.state.instances[stopped] in ("stopping", "stopped") and not lapsed:
                self.break_("L3", f"{caller} stops {target} while {stopped}, stopped by {by}, is still down")
        if now - self.mute_at[target] > self.fence_after:
            self.break_("L3", f"{caller} stops {target}, which lived and reached EC2 all the time")
        # Two may mark in the same moment: EC2 has no compare-and-swap, and one stop is what comes of it.
        marked = now - self.marked_at.get((caller, target), -3600.0) < MOMENT
        if not marked and not self.cloud.state.tags[target].get(TAG_FENCE, "").startswith(caller + ":"):
            self.break_("L3", f"{caller} stops {target} without its mark on it")

    def _spared(self, caller: str, target: str) -> None:
        """L2, L5, L6: whom nobody may fence."""
        now = self.timeline.now
        if now - self.deaf_at[target] > self.fence_after:
            self.break_("L5", f"{caller} stops {target}, whose kernel forwarded and answered all the time")
        tagged = self.cloud.state.tags[target].keys() & {TAG_DRAINED, TAG_MAINTENANCE}
        if tagged and now - self.spared_since.get(target, now) > TAGGED:
            self.break_("L6", f"{caller} stops {target}, which is drained or under maintenance")
        if self.alive_at[target] < self.hosts[caller].service.born - 1.0:
            self.break_("L6", f"{caller} stops {target}, which it cannot have seen healthy")
        said = self.hosts[caller].service.heard[target].report
        if said is not None and said.state != ACTIVE and now - self.hosts[target].left_at > MOMENT:
            self.break_("L6", f"{caller} stops {target}, which had told it that it was about to go")
        if self.alive_at[target] < self.cloud.launched_at[target]:
            self.break_("L6", f"{caller} stops {target}, a replacement that never came up")
        # A route that moved in the same moment could not be known: EC2 has no compare-and-swap.
        routes, moment = self.cloud.state.routes.items(), MOMENT + 4 * self.cloud.latency
        known = {c: max(self.written_at.get(c, 0.0) + moment, self.found_at.get(c, 0.0)) for c, _at in routes}
        pointing = [str(c) for c, at in routes if at == interface(target) and now > known[c]]
        if pointing and not self.cloud.stale:
            self.break_("L2", "{} stops {} while {} still points to it".format(caller, target, ", ".join(pointing)))

    def changed(self, caller: str, action: str, before: Held | None, after: Held | None) -> None:
        """The lock is about to be written."""
        now = self.timeline.now
        if before is None or before[0] == (after[0] if after else caller):
            return
        if action == "unlock" or now - self.table.written_at < self.lease:
            self.break_(
                "L3",
                f"{caller} takes the lock of {before[0]}, which was renewed {now - self.table.written_at:.1f} s ago",
            )
        if now - self.unable_at[before[0]] > self.lease + BACKOFF:
            self.break_("L3", f"{before[0]} let its lock lapse although it could have renewed it")
