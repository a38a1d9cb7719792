# SPDX-License-Identifier: GPL-3.0-or-later
"""All laws as invariants over what really happened: those of decisions, of fences, and here of calls and of the end."""

from __future__ import annotations

import typing as t
from collections import deque

from nat_failover.model.cluster import TAG_FENCE, Claim

from .cloud import Cloud, interface, owner_of
from .decision_laws import DecisionLaws
from .fence_laws import FenceLaws
from .host import Host
from .network import Network
from .table import Table
from .timeline import Timeline
from .truth import ILL_KNOWN, MOMENT, TAGGED

WARM = 7.0  # seconds after which everybody has heard everybody, and knows what EC2 says
WRITES_OF_POWER = ("ReplaceRoute", "StopInstances", "RebootInstances", "StartInstances")
MOVES = 8  # of an Elastic IP by nodes, in an incident, and in any hour of a longer one
WRITES = 12  # per claim and incident, and in any hour of a longer one
HOUR = 3600.0
OUTSIDERS = ("operator", "stranger")  # callers that are no node


class Laws(DecisionLaws, FenceLaws):
    """Watches one world; raises ``Violation`` at the moment it happens."""

    def __init__(
        self, timeline: Timeline, network: Network, cloud: Cloud, table: Table, hosts: t.Mapping[str, Host]
    ) -> None:
        super().__init__(timeline, network, cloud, table, hosts)
        self.writes: dict[Claim, deque[float]] = {}
        self.moves: dict[str, deque[float]] = {}  # Elastic IP -> when nodes moved it
        self.wrote_at: dict[tuple[str, str], float] = {}  # (node, route) -> its last write, whatever home its tag names
        for host in hosts.values():
            host.decided = self.decided
        cloud.watch = self.called
        table.watch = self.changed

    # --- calls that took effect ----------------------------------------------------------------------------------------------------

    def called(self, caller: str, action: str, subject: str) -> None:
        """A write was applied by EC2."""
        reading = self.timeline.now - self.blind_at.get(caller, 0.0)
        known = self.paused_at is not None and min(reading, self.timeline.now - self.paused_at) > TAGGED
        if known and caller not in OUTSIDERS and self.timeline.now < self.paused_until:
            self.break_("pause", f"{caller} calls {action} on {subject} while the cluster is paused")
        if caller in self.hosts and self.config.mode == "observe" and action in WRITES_OF_POWER:
            self.break_("mode", f"{caller} calls {action} on {subject} in mode observe")
        if action == "CreateTags" and caller != subject:
            self.marked_at[caller, subject] = self.timeline.now
        if action == "AssociateAddress":
            self._associated(caller, subject)
        if action in ("ReplaceRoute", "TagTable"):
            claim, ec2 = next(c for c in self.cloud.state.routes if str(c) == subject), self.config.ec2
            if action == "TagTable":
                self.found_at[claim] = self.timeline.now + 2 * ec2.poll + ec2.read_timeout + MOMENT
            self._written(caller, claim)
        if action in ("StopInstances", "RebootInstances"):
            self._fenced(caller, action, subject)
        if action == "StartInstances" and caller in self.hosts and subject not in self.cloud.asked_to_stop:
            # EC2 may stop it between the reading that a mark rests on and the mark: nobody can tell who was faster.
            marked = self.marked_at.get((caller, subject), -3600.0) - self.cloud.interrupted.get(subject, 0.0)
            if not 0.0 <= marked < MOMENT + 4 * self.cloud.latency:
                self.break_("L6", f"{caller} starts {subject}, which no node has stopped")

    def left(self, name: str) -> None:
        """A machine has shut down: were its routes taken before, if anybody could take them?"""
        now, hosts = self.timeline.now, self.hosts
        if hosts[name].left_at != now or self.config.mode == "observe":
            return  # its service was not there to say anything; or nobody may take anything
        fit = [
            other
            for other, host in hosts.items()
            if other != name and now - max(self.unfit_at[other], self.mute_at[other], host.service.born) > WARM
            if self._fine(host)
        ]
        known = now - max(self.hampered_at, self.mute_at[name], hosts[name].service.born) > WARM
        for claim, target in self.cloud.state.routes.items():
            if claim.destination in self.config.service_of and any(self._may_be_ill(other) for other in hosts):
                continue
            stands = target == interface(name) and now - self.written_at.get(claim, -TAGGED) > TAGGED
            if stands and fit and known:
                self.break_("handover", f"{name} goes down with {claim}, and {fit[0]} was there")

    def _associated(self, caller: str, allocation: str) -> None:
        """The number of times that nodes move an Elastic IP is bounded: they do not fight over it."""
        if caller not in self.hosts:
            return
        if self.config.mode == "observe":
            self.break_("mode", f"{caller} moves {allocation} in mode observe")
        moves, now = self.moves.setdefault(allocation, deque()), self.timeline.now
        decided, after = self.promised.get((caller, allocation), (0.0, ()))
        for claim in after:
            if self.wrote_at.get((caller, str(claim)), -1.0) < decided:
                self.break_("address", f"{caller} moves {allocation} before the route {claim}, which it comes after")
        moves.append(now)
        while now - moves[0] > HOUR:
            moves.popleft()
        if len(moves) > MOVES:
            self.break_("L9", f"{allocation} was moved {len(moves)} times")

    def _written(self, caller: str, claim: Claim) -> None:
        """A route is about to change."""
        now, cloud = self.timeline.now, self.cloud
        since = now - self.written_at.get(claim, 0.0)
        self.written_at[claim] = now
        if caller not in self.hosts:
            return
        self.wrote_at[caller, str(claim)] = now
        writes = self.writes.setdefault(claim, deque())
        writes.append(now)
        while now - writes[0] > HOUR:
            writes.popleft()
        if len(writes) > WRITES:
            self.break_("L9", f"{claim} was written {len(writes)} times")
        foreign = cloud.state.routes[claim] is not None and owner_of(cloud.state.routes[claim]) not in self.hosts
        slow = cloud.stale or cloud.latency > 0.1 or cloud.throttled
        ec2 = self.config.ec2
        returns = any(a.claim == claim and a.kind == "return" for a in self.hosts[caller].service.plan.routes)
        known = ec2.connect_timeout + ec2.read_timeout if returns else ec2.poll
        if foreign and since > known + MOMENT and not slow:
            self.break_("L8", f"{caller} writes {claim} by a reading from before an edit {since:.1f} s ago")

    # --- the end -------------------------------------------------------------------------------------------------------------------

    def egress(self) -> None:
        """Some time after the faults stopped: every claim is with a node that forwards, if there is one."""
        if not any(self._able(host) for host in self.hosts.values()):
            return
        for claim, target in self.cloud.state.routes.items():
            owner = self.hosts.get(owner_of(target))
            if owner is None or not owner.forwards:
                self.break_("egress", f"{claim} is still with {target}")
            if claim.destination in self.config.service_of:
                self._useful(claim, owner)

    def _useful(self, claim: Claim, owner: Host) -> None:
        """A service that has been dead for a while serves nobody, if it has worked elsewhere all the time."""
        now = self.timeline.now
        others = [host for host in self.hosts.values() if self._able(host) and not self._may_be_ill(host.name)]
        if self.ill_seen_for[owner.name] > 2 * ILL_KNOWN and not owner.serves and others:
            self.break_("service", f"{claim} is still with {owner.name}, whose service is dead, at {now:.1f}")

    def home(self) -> None:
        """At the very end: all nodes live, no mark of a fence is left, every claim is at home."""
        for name, state in self.cloud.state.instances.items():
            if state != "running" or not self.hosts[name].running:
                self.break_("home", f"{name} was left {state}")
            if TAG_FENCE in self.cloud.state.tags[name]:
                self.break_("home", f"{name} still carries the mark of a fence")
        if self.table.held is not None:
            self.break_("home", "{} still holds the fence lock for {}".format(*self.table.held[:2]))
        for claim, target in self.cloud.state.routes.items():
            if owner_of(target) != claim.home:
                self.break_("home", f"{claim} is with {target}")
        for allocation in self.cloud.astray():
            self.break_("address", f"{allocation} is with {self.cloud.state.addresses[allocation]}")
