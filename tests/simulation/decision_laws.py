# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of decisions: the wishes of a node, against the truth of that moment."""

from __future__ import annotations

from nat_failover.model.cluster import DRAINED, DRAINING, ROUTE_ACTIVE, ROUTE_NO_TABLE
from nat_failover.model.evidence import HEALTHY, Evidence
from nat_failover.model.plan import Plan, SetAddress, SetRoute

from .cloud import interface, owner_of
from .host import Host
from .truth import ILL_KNOWN, LOOK, Truth

SEEN = 1.3  # seconds until a node knows its own broken NAT: one round of facts, and a tick


class DecisionLaws(Truth):
    """Raises ``Violation`` at the moment of the decision."""

    def decided(self, host: Host, evidence: Evidence, plan: Plan) -> None:
        """The wish of a node, against the truth. A node that decides lives, however short that is."""
        self.alive_at[host.name] = evidence.now
        if not (plan.routes or plan.addresses or plan.fence):
            return
        now, name = evidence.now, host.name
        if host.witness:
            self.break_("L1", f"{name} acts although it is a witness")
        if now - host.nat_off_at > SEEN:
            self.break_("L1", f"{name} acts although its NAT has been broken for a while")
        if not (evidence.me.forwarding and evidence.me.internet and evidence.me.ec2):
            self.break_("L4", f"{name} acts although it is cut off: {evidence.me}")
        if plan.routes and evidence.me.state in (DRAINING, DRAINED) and not evidence.me.interruption:
            self.break_("drain", f"{name} takes {plan.routes[0].claim}, and an operator drains it, or it shuts down")
        for address in plan.addresses:
            self._followed(host, evidence, plan, address)
        for action in plan.routes:
            owner = owner_of(action.before.target)
            if action.kind == "return" and now - self.bad_at[name] < self.return_after - SEEN:
                self.break_(
                    "L7",
                    f"{name} returns {action.claim} {now - self.bad_at[name]:.1f} s after it could not forward",
                )
            fine = owner in self.hosts and self._fine(self.hosts[owner]) and now - self.unfit_at[owner] > 3.0
            # A node that has just lost its own uplink reaches no EC2 either: its wish comes to nothing.
            if action.claim.destination in self.config.service_of:
                self._served(host, action, owner)
                if owner in self.hosts and self._may_be_ill(owner):
                    continue
            if action.kind == "adopt" and fine and host.uplink:
                self.break_("L2", f"{name} takes {action.claim} from {owner}, which has been well all the time")
            unmanaged = owner in self.hosts and self._unmanaged(self.hosts[owner]) and now - self.deaf_at[owner] > 3.0
            if action.kind == "adopt" and unmanaged:
                self.break_("L5", f"{name} takes {action.claim} from {owner}, whose kernel forwards and answers")
            if action.kind == "adopt" and self._isolated(name):
                self.break_("L4", f"{name}, cut off from all others, takes {action.claim}")
            if action.kind == "adopt" and self.config.takeover.early:
                self._early(name, str(action.claim), action.before.read_at)
            if action.before.state == ROUTE_ACTIVE and owner not in self.hosts:
                self.break_("L8", f"{name} fights over {action.claim}, which somebody pointed elsewhere")

    def _served(self, host: Host, action: SetRoute, owner: str | None) -> None:
        """A claim that depends on a service: it goes where that works, and comes home when it has worked for long enough."""
        now, name = self.timeline.now, host.name
        well = owner in self.hosts and self._fine(self.hosts[owner]) and now - self.unfit_at[owner] > 3.0
        if well and self.ill_seen_for[name] > ILL_KNOWN and not host.serves and host.uplink:
            self.break_("service", f"{name} takes {action.claim} from {owner}, and its own service does not work")
        if action.kind == "return" and now - self.ill_seen_at[name] < self.return_after - SEEN:
            self.break_(
                "L7", f"{name} returns {action.claim} {now - self.ill_seen_at[name]:.1f} s after its service failed"
            )

    def _followed(self, host: Host, evidence: Evidence, plan: Plan, address: SetAddress) -> None:
        """An Elastic IP goes where its claims are, or are about to be, and nobody else loses one."""
        name, holder = host.name, address.before.interface_id
        primary = {interface(each): self.cloud.primary(each) for each in self.hosts}
        if address.interface_id != interface(name):
            self.break_("address", f"{name} gives {address.allocation} to {address.interface_id}")
        if holder is not None and holder not in primary:
            self.break_("L8", f"{name} takes {address.allocation} from {holder}, which is no node")
        named = holder is not None and address.before.private == primary.get(holder)
        if named or address.private == self.cloud.primary(name):
            self.break_("management", f"{name} moves {address.allocation}, a public address of a node itself")
        self._ordered(name, evidence, plan, address)
        taken = {action.claim for action in plan.routes}
        for claim, view in evidence.routes.items():
            outside = claim.home != address.identity or claim.destination in self.config.service_of
            outside = outside or view.state == ROUTE_NO_TABLE  # deleted: it has no clients
            if not outside and view.target != interface(name) and claim not in taken:
                self.break_("address", f"{name} takes {address.allocation}, and {claim} is with {view.target}")

    def _ordered(self, name: str, evidence: Evidence, plan: Plan, address: SetAddress) -> None:
        """In a planned move the routes go first: the node that holds the Elastic IP still brings data to clients.

        A node that has the connections already, as far as it knows, may move both side by side.
        """
        mine = [
            action
            for action in plan.routes
            if action.claim.home == address.identity and action.claim.destination not in self.config.service_of
        ]
        holder = owner_of(address.before.interface_id)
        well = any(verdict.peer == holder and verdict.kind == HEALTHY for verdict in plan.verdicts)
        moves = [action for action in mine if action.kind != "mend" and owner_of(action.before.target) == holder]
        planned = well and bool(moves)
        has_flows = self.config.state_sync and not evidence.unsynchronised
        if planned and not has_flows and not {action.claim for action in mine} <= set(address.after):
            self.break_("address", f"{name} takes {address.allocation} from {holder}, which is well, beside its routes")
        self.promised[name, address.allocation] = (self.timeline.now, address.after)

    def _early(self, name: str, claim: str, read_at: float) -> None:
        """An early takeover rests on a reading that is recent, and not from before a sleep."""
        now, silent_after = self.timeline.now, self.config.heartbeat.silent_after
        if now - read_at > self.config.ec2.reading_age + LOOK:
            self.break_("L8", f"{name} takes {claim} by a reading of {now - read_at:.1f} s ago")
        if read_at < self.slept_at[name] - silent_after:
            self.break_("L10", f"{name} takes {claim} by a reading from before it slept")
