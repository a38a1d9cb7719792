# SPDX-License-Identifier: GPL-3.0-or-later
"""The observations of a node of itself and of EC2: the paces of the engine's ``observe/collector.py``."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from nat_failover.aws.ec2 import THROTTLED
from nat_failover.model.cluster import AddressView, Claim, InstanceView, RouteView
from nat_failover.model.evidence import SelfCheck
from nat_failover.observe import service_check
from nat_failover.observe.ec2_reader import AGAIN
from nat_failover.policy import membership

if t.TYPE_CHECKING:
    from .service import Service

FACTS_EVERY, CHECK_EVERY, CHECK_AGAIN = 1.0, 2.0, 0.2
MOST_READS = 4  # under way at the same time
LOST_AFTER = 3  # failed internet checks in a row that count
NOT_CHECKED = "not checked yet"


class EvidenceCollector:
    """The newest evidence, and the loops that renew it."""

    def __init__(self, service: Service) -> None:
        self.service, self.host, self.timeline = service, service.host, service.timeline
        self.config, self.cloud = service.config, service.cloud
        fact = "" if self.host.witness else NOT_CHECKED
        self.me = SelfCheck(fact=fact, instance_id=self.cloud.instance_id(service.name))  # IMDS says so
        self.routes: t.Mapping[Claim, RouteView] = {}
        self.instances: t.Mapping[str, InstanceView] = {}
        self.homes: t.Mapping[str, str] | None = None
        self.elastic_ips: t.Mapping[str, AddressView] = {}
        self._allocations = [each.allocation for each in self.config.identities.values()]
        self.claims = self.config.claims
        self._homes_at: float | None = None
        self.read_began = self.homes_began = float("-inf")
        self.reads = 0
        self.watch: float | None = None
        self.checks_failed = 0
        self._checking = False
        self._debounce = service_check.Debounce()
        self._next_read = self._next_check = 0  # a later number replaces what was scheduled under an earlier one

    def settle(self, read_at: float) -> None:
        """As if it had been up for long: own checks are good, EC2 was read at some time."""
        now = self.timeline.now
        self.me = SelfCheck(not self.host.witness, "", now, True, read_at, True, instance_id=self.me.instance_id)
        self.routes, self.instances, self.homes = self.cloud.read(self.cloud.state.routes, read_at)
        self.elastic_ips = self.cloud.read_addresses(self.service.name, self._allocations, read_at) or {}
        self.claims = tuple(self.routes)
        self._debounce.update({each.name: "" for each in self.config.services})
        self._homes_at = read_at
        self.read_began = read_at

    def start(self, settled: bool) -> None:
        """Begin the loops, somewhere within their periods if they have been running for long."""
        rng, service = self.service.rng, self.service
        service.loop(rng.uniform(0.0, FACTS_EVERY if settled else 0.1), self._facts)
        self._check_after(rng.uniform(0.0, CHECK_EVERY if settled else 0.1))
        self._read_after(self.read_began + self.config.ec2.poll - self.timeline.now if settled else rng.uniform(0, 0.1))

    @property
    def tables_at(self) -> float | None:
        """When route tables were last looked for, if all that were found have been read."""
        return self._homes_at if self.homes is not None and len(self.routes) == len(self.claims) else None

    @property
    def judged(self) -> bool:
        """Has it looked at itself since its start?"""
        return self.me.fact != NOT_CHECKED and (self.me.internet or self.checks_failed >= LOST_AFTER)

    def demand(self, needed: float | None, watch: float | None) -> None:
        """The wishes of the policy, as in the engine."""
        closer = watch is not None and (self.watch is None or watch < self.watch)
        self.watch = watch
        if closer or (needed is not None and self.read_began < needed):
            self.read()
        if needed is not None and (self.me.internet_at is None or self.me.internet_at < needed):
            self._check()

    # --- this node ---------------------------------------------------------------------------------------------------------------

    def _facts(self) -> float:
        fact = "" if self.host.nat or self.host.witness else "ip_forward=0"
        if fact != self.me.fact:
            self.me = replace(self.me, forwarding=not fact, fact=fact)
            self.service.wake()
        if self.config.services:
            self._services()
        return FACTS_EVERY

    def _services(self) -> None:
        """The readings of the services' files, as many and as often as the engine's."""
        problem = "" if self.host.serves else "it does not work"
        unwell = self._debounce.update({each.name: problem for each in self.config.services})
        if unwell != self.me.unwell:
            self.me = replace(self.me, unwell=unwell)
            self.service.wake()

    def _check_after(self, seconds: float) -> None:
        self._next_check += 1
        number = self._next_check
        self.service.soon(seconds, lambda: self._check() if number == self._next_check else None)

    def _check(self) -> None:
        """The internet check: an answer at once, or none after the timeout."""
        if self._checking:
            return
        self._checking = True
        began, ok = self.timeline.now, self.host.uplink and self.host.powered

        def ended() -> None:
            self._checking = False
            self.checks_failed = 0 if ok else self.checks_failed + 1
            if ok or self.checks_failed >= LOST_AFTER:
                changed = self.me.internet != ok
                self.me = replace(self.me, internet=ok, internet_at=began if ok else self.me.internet_at)
                self._news(changed)
            self._check_after(CHECK_EVERY if ok else CHECK_AGAIN)

        self.service.soon(0.01 if ok else self.config.self_check.timeout, ended)

    # --- EC2 -----------------------------------------------------------------------------------------------------------------------

    def _read_after(self, seconds: float) -> None:
        self._next_read += 1
        number = self._next_read
        self.service.soon(seconds, lambda: self.read() if number == self._next_read else None)

    def read(self, then: t.Callable[[], None] = lambda: None) -> None:
        """One reading of EC2, and the next one a pace later."""
        self._read_after(self.watch or self.config.ec2.poll)
        if self.reads >= MOST_READS:
            then()
            return
        self.reads += 1
        began = self.read_began = self.timeline.now
        looks = began - self.homes_began >= self.config.ec2.poll * 0.9
        self.homes_began = began if looks else self.homes_began

        def done(found: t.Any) -> None:
            self.reads -= 1
            (routes, instances, homes), addresses = found
            changed = self.merge(routes, instances) or homes != self.homes
            changed = self.merge_addresses(addresses) or changed
            if looks:
                self._homes_at = max(began, self._homes_at or began)
                self._follow_homes(homes)
            then()
            self.note_ec2(True, began, changed)

        def failed(code: str) -> None:
            self.reads -= 1
            then()
            if code in THROTTLED:
                return
            if looks:
                self.homes_began = float("-inf")
            self.note_ec2(False, began, True)
            if not self.watch:
                self._read_after(min(self.config.ec2.poll, AGAIN) * self.service.rng.uniform(0.5, 1.0))

        def asked() -> t.Any:
            name, wanted = self.service.name, self._allocations
            elastic = self.cloud.read_addresses(name, wanted, began) if wanted else {}
            return self.cloud.read(self.claims, began), elastic

        self.service.call("Describe", asked, done, failed)

    def merge_addresses(self, views: t.Mapping[str, AddressView] | None) -> bool:
        """Newer readings replace older ones, and a refusal all. Returns whether anything but the time of reading is new."""
        before = {each: (view.interface_id, view.private) for each, view in self.elastic_ips.items()}
        if views is None:
            self.elastic_ips = {}
        else:
            kept = self.elastic_ips
            newer = {e: v for e, v in views.items() if e not in kept or v.read_at >= kept[e].read_at}
            self.elastic_ips = {**kept, **newer}
        return before != {each: (view.interface_id, view.private) for each, view in self.elastic_ips.items()}

    def merge(self, routes: t.Mapping[Claim, RouteView], instances: t.Mapping[str, InstanceView]) -> bool:
        """Newer readings replace older ones. Returns whether anything but the time of reading is new."""
        before = self.routes, self.instances
        self.routes = {
            **self.routes,
            **{
                c: v
                for c, v in routes.items()
                if (c not in self.routes and c in self.claims)
                or (c in self.routes and v.read_at >= self.routes[c].read_at)
            },
        }
        self.instances = {
            **self.instances,
            **{n: v for n, v in instances.items() if n not in self.instances or _newer(v, self.instances[n])},
        }
        same_routes = all(
            c in before[0] and (v.state, v.target) == (before[0][c].state, before[0][c].target)
            for c, v in self.routes.items()
        )
        return not same_routes or any(
            n not in before[1] or v.tags is not before[1][n].tags or v.state != before[1][n].state
            for n, v in self.instances.items()
        )

    def _follow_homes(self, homes: t.Mapping[str, str]) -> None:
        """Claims come and go with the tags of route tables."""
        self.homes = homes
        claims = membership.claims(self.config, homes)
        if claims != self.claims:
            self.claims, known = claims, set(claims)
            self.routes = {claim: view for claim, view in self.routes.items() if claim in known}
            self.read()

    def note_unseen(self, problem: str) -> None:
        """Why the flare of this node cannot be written."""
        if problem != self.me.unseen:
            self.me = replace(self.me, unseen=problem)
            self.service.wake()

    def note_ec2(self, ok: bool, began: float, changed: bool) -> None:
        """A call ended: EC2 answers this node, or not."""
        was = self.me.ec2
        if ok:
            self.me = replace(self.me, ec2=True, ec2_at=max(began, self.me.ec2_at or began))
        elif self.me.ec2_at is None or began >= self.me.ec2_at:
            self.me = replace(self.me, ec2=False)
        self._news(changed or was != self.me.ec2)

    def _news(self, changed: bool) -> None:
        """A reading that says the same as before matters only while something newer is asked for; the next tick sees the rest."""
        if changed or self.service.plan.refresh is not None:
            self.service.wake()


def _newer(view: InstanceView, known: InstanceView) -> bool:
    """A stale reading brings no instance back that was replaced (``discovery.Roster``); a later one has a greater id here."""
    return view.read_at >= known.read_at and view.instance_id >= known.instance_id
