# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of EC2: routes, instances and tags, with latency, outages, denials, lost answers and stale reads."""

from __future__ import annotations

import random
import typing as t
from collections import deque
from types import MappingProxyType

from nat_failover.model.cluster import (
    ROUTE_ACTIVE,
    ROUTE_BLACKHOLE,
    ROUTE_MISSING,
    ROUTE_NO_TABLE,
    TAG_CLUSTER,
    TAG_DRAINED,
    TAG_FENCE,
    TAG_FLARE,
    TAG_NODE,
    AddressView,
    Claim,
    InstanceView,
    RouteView,
)

from .api import Api
from .timeline import Timeline

IDENTITY = {TAG_CLUSTER, TAG_NODE}  # tags by which the shipping shell finds instances
HARMLESS = {TAG_FLARE, *IDENTITY}  # tags that nobody acts on when all is well
KEPT = 40  # past states for stale reads
ELSEWHERE_INTERFACE = "eni-elsewhere"  # of something that is no node
GONE = "gone"  # instead of a target: there is no such route table
BOOT, STOP = 2.0, 1.0  # seconds that starting and stopping take, as a rule


class State(t.NamedTuple):
    """Everything that a read shows; replaced as a whole, so that the past can be kept."""

    routes: t.Mapping[Claim, str | None]  # interface id, None = no such route
    instances: t.Mapping[str, str]  # node -> EC2 state
    tags: t.Mapping[str, t.Mapping[str, str]]
    generations: t.Mapping[str, int]  # node -> how many instances it has been so far
    addresses: t.Mapping[str, tuple[str | None, str | None]]  # Elastic IP -> its interface and private address
    homes: t.Mapping[str, str]  # route table -> the node that its tag names, of those that are found by their tags


class Cloud(Api):
    """One VPC. ``power(node, word)`` is called when an instance really goes ``off`` or ``on``."""

    def __init__(
        self,
        timeline: Timeline,
        rng: random.Random,
        claims: t.Sequence[Claim],
        names: t.Sequence[str],
        homes: t.Mapping[str, str],
        addresses: t.Mapping[str, tuple[str | None, str | None]] = MappingProxyType({}),
        privates: t.Mapping[str, t.Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """``addresses``: where each Elastic IP is at home. ``privates``: the further private addresses of each node."""
        super().__init__(timeline, rng)
        self.names = tuple(names)
        self.power: t.Callable[[str, str], None] = lambda node, word: None
        self.state = State(
            {claim: interface(claim.home) for claim in claims},
            dict.fromkeys(names, "running"),
            {n: {} for n in names},
            dict.fromkeys(names, 1),
            dict(addresses),
            homes,
        )
        self.allocations = tuple(addresses)
        self.homes_of_addresses, self.privates = addresses, privates
        self.launched_at = dict.fromkeys(names, float("-inf"))
        self._past: deque[tuple[float, State]] = deque([(0.0, self.state)], maxlen=KEPT)
        self.stops_refused: set[str] = set()  # nodes that EC2 has refused to stop
        self.asked_to_stop: set[str] = set()  # by anybody, to whatever effect
        self.interrupted: dict[str, float] = {}  # spot instances that EC2 has stopped, and when
        self.watch: t.Callable[[str, str, str], None] = lambda caller, action, subject: None  # told of each write
        self._epochs: dict[str, int] = dict.fromkeys(names, 0)
        self.stop_takes = STOP
        self.untagged: set[str] = set()  # nodes whose instances do not carry the cluster's tag

    def heal(self) -> None:
        super().heal()
        self.stale = 0.0  # seconds that reads may lag behind, each by its own share
        self.lag = 0.0  # seconds that all reads lag behind
        self.full: set[str] = set()  # nodes whose instance has as many tags as EC2 takes
        self.unstoppable: set[str] = set()  # nodes whose instance EC2 does not stop: one-time spot, stop protection
        self.ambush: t.Callable[[Claim], None] | None = None  # an operator who waits for the next write of a route

    def refusal(self, caller: str, action: str, subject: str) -> str:
        key = {"Flare": TAG_FLARE, "CreateTags": TAG_FENCE}.get(action)
        if subject in self.full and key is not None and key not in self.state.tags[subject]:
            return "TagLimitExceeded"
        if subject in self.unstoppable and action == "StopInstances":
            self.stops_refused.add(subject)
            return "UnsupportedOperation"
        return super().refusal(caller, action, subject)

    def read(
        self, claims: t.Iterable[Claim], began: float
    ) -> tuple[dict[Claim, RouteView], dict[str, InstanceView], t.Mapping[str, str]]:
        """The answers of DescribeRouteTables, of these and of the tagged ones, and of DescribeInstances: now, or a moment ago."""
        state = self.seen()
        routes = {claim: self._view(state, claim, began) for claim in claims}
        instances = {
            name: InstanceView(
                state.instances[name],
                interface(name),
                self.primary(name),
                state.tags[name],
                began,
                False,
                None,
                f"i-{state.generations[name]:08x}{index + 1:09x}",
                addresses=self.held(name),
            )
            for index, name in enumerate(self.names)
        }
        return routes, instances, state.homes

    def held(self, name: str) -> tuple[str, ...]:
        """The private addresses of a node's interface, the primary one first."""
        return (self.primary(name), *self.privates.get(name, ()))

    def read_addresses(self, caller: str, wanted: t.Iterable[str], began: float) -> dict[str, AddressView] | None:
        """The answer of DescribeAddresses. None: the caller may not read them."""
        if (caller, "DescribeAddresses") in self.denied:
            return None
        state = self.seen()
        return {each: AddressView("203.0.113.1", *state.addresses[each], began) for each in wanted}

    def astray(self) -> list[str]:
        """The Elastic IPs that are not at home, of identities that have claims."""
        found, used = self.state.addresses, {claim.home for claim in self.state.routes}
        return [each for each, at in self.homes_of_addresses.items() if found[each] != at and owner_of(at[0]) in used]

    def primary(self, name: str) -> str:
        """The primary private address of a node."""
        return f"10.0.0.{self.names.index(name)}"

    @property
    def fine(self) -> bool:
        """Nothing hinders calls now, and no instance changes its state."""
        hindered = self.failing or self.stale or self.hindered
        return not hindered and all(state == "running" for state in self.state.instances.values())

    def shows(self, routes: t.Mapping[Claim, RouteView], instances: t.Mapping[str, InstanceView]) -> bool:
        """Is that what a read would find, with every claim at home, no mark of a fence and no wish of an operator?"""
        tags = self.state.tags
        return (
            all(target == interface(claim.home) for claim, target in self.state.routes.items())
            and not self.astray()
            and all(view.target == self.state.routes.get(claim, GONE) for claim, view in routes.items())
            and all(_same(instances[name].tags, tags[name]) and tags[name].keys() <= HARMLESS for name in self.names)
        )

    def seen(self) -> State:
        """The state that a read shows: the present, or while reads are stale a moment ago."""
        if not self.stale:
            return self.state
        moment = self.timeline.now - (self.lag or self.rng.uniform(0.0, self.stale))
        return next((state for at, state in reversed(self._past) if at <= moment), self._past[0][1])

    def _view(self, state: State, claim: Claim, began: float) -> RouteView:
        present = _present(state.routes, claim)
        if present is None:
            return RouteView(ROUTE_NO_TABLE, None, began)
        target = state.routes[present]
        if target is None:
            return RouteView(ROUTE_MISSING, None, began)
        owner = owner_of(target)
        gone = owner in state.instances and state.instances[owner] in ("stopped", "terminated")
        return RouteView(ROUTE_BLACKHOLE if gone else ROUTE_ACTIVE, target, began)

    def replace(self, **changes: t.Any) -> None:
        self.state = self.state._replace(**changes)
        self._past.append((self.timeline.now, self.state))

    # --- writes, as applied ------------------------------------------------------------------------------------------------------

    def set_route(self, caller: str, claim: Claim, target: str) -> RouteView:
        present = _present(self.state.routes, claim)
        if present is None:
            return RouteView(ROUTE_NO_TABLE, None, self.timeline.now)
        self.watch(caller, "ReplaceRoute", str(claim))
        self.replace(routes={**self.state.routes, present: target})
        if self.ambush is not None:
            self.ambush(present)
        return self._view(self.seen(), present, self.timeline.now)

    def associate(self, caller: str, allocation: str, place: tuple[str | None, str | None]) -> None:
        """AssociateAddress with AllowReassociation, or an operator's own."""
        self.watch(caller, "AssociateAddress", allocation)
        # An address that had another Elastic IP loses it.
        others = {each: (None, None) if at == place and place[0] else at for each, at in self.state.addresses.items()}
        self.replace(addresses={**others, allocation: place})

    def edit(self, claim: Claim, target: str | None) -> None:
        """An operator's own write, if the table is still there."""
        if claim not in self.state.routes:
            return
        self.timeline.tell(f"OPERATOR: points {claim} to {target}")
        self.watch("operator", "ReplaceRoute", str(claim))
        self.replace(routes={**self.state.routes, claim: target})

    def delete_table(self, table: str) -> None:
        """An operator's own: its routes go with it."""
        routes = {claim: target for claim, target in self.state.routes.items() if claim.route_table != table}
        homes = {each: home for each, home in self.state.homes.items() if each != table}
        self.replace(routes=routes, homes=homes)

    def tag_table(self, home: str, routes: t.Mapping[tuple[str, str], str | None]) -> None:
        """An operator gives a table, with these routes, to a node."""
        claims = {Claim(table, destination, home): target for (table, destination), target in routes.items()}
        others = {claim: target for claim, target in self.state.routes.items() if claim[:2] not in routes}
        homes = {claim.route_table: home for claim in claims}
        self.replace(routes={**others, **claims}, homes={**self.state.homes, **homes})
        for claim in claims:
            self.watch("operator", "TagTable", str(claim))

    def set_tag(self, caller: str, node: str, key: str, value: str | None) -> None:
        if key != TAG_DRAINED:  # that is an operator's own command
            self.watch(caller, "CreateTags" if value is not None else "DeleteTags", node)
        tags = {k: v for k, v in self.state.tags[node].items() if k != key}
        self.replace(tags={**self.state.tags, node: tags if value is None else {**tags, key: value}})

    def stop(self, caller: str, node: str) -> None:
        self.asked_to_stop.add(node)
        if self.state.instances[node] == "running":  # otherwise it changes nothing
            self.watch(caller, "StopInstances", node)
            self._stop(node)

    def interrupt(self, node: str) -> None:
        """EC2 takes a spot instance."""
        if self.state.instances[node] == "running":
            self.interrupted[node] = self.timeline.now
            if TAG_FENCE in self.state.tags[node]:
                self.asked_to_stop.add(node)  # in the moment before: the mark cannot tell who was faster
            self._stop(node)

    def _stop(self, node: str) -> None:
        self._become(node, "stopping")
        self.power(node, "off")
        self._later(node, self.stop_takes, "stopped")

    def reboot(self, caller: str, node: str) -> None:
        if self.state.instances[node] == "running":
            self.watch(caller, "RebootInstances", node)
            self.power(node, "off")
            self._later(node, BOOT, "running")

    def start(self, caller: str, node: str) -> None:
        self.watch(caller, "StartInstances", node)
        if self.state.instances[node] == "stopped":
            self._become(node, "pending")
            self._later(node, BOOT, "running")

    def terminate(self, node: str) -> None:
        """An instance ends for good, by nobody of the cluster."""
        self._epochs[node] += 1
        self._become(node, "terminated")
        self.power(node, "off")

    def launch(self, node: str) -> None:
        """Another instance takes the place of one that has ended, without its tags; the network interface goes along."""
        generations = {**self.state.generations, node: self.state.generations[node] + 1}
        self.replace(generations=generations, tags={**self.state.tags, node: {}})
        self.launched_at[node] = self.timeline.now
        self.asked_to_stop.discard(node)
        self.interrupted.pop(node, None)
        self._become(node, "pending")
        self._later(node, BOOT, "running")

    def instance_id(self, node: str) -> str:
        """Of a node's present instance."""
        return f"i-{self.state.generations[node]:08x}{self.names.index(node) + 1:09x}"

    def _become(self, node: str, state: str) -> None:
        self.replace(instances={**self.state.instances, node: state})
        self.timeline.tell(f"EC2: {node} is {state}")

    def _later(self, node: str, seconds: float, state: str) -> None:
        self._epochs[node] += 1
        epoch = self._epochs[node]

        def reached() -> None:
            if self._epochs[node] == epoch:
                self._become(node, state)
                if state == "running":
                    self.power(node, "on")

        self.timeline.after(seconds, reached)


def _present(routes: t.Mapping[Claim, str | None], claim: Claim) -> Claim | None:
    """This claim, or that of the same route by the home that its table's tag names meanwhile; None without such a table."""
    return claim if claim in routes else next((each for each in routes if each[:2] == claim[:2]), None)


def _same(read: t.Mapping[str, str], tags: t.Mapping[str, str]) -> bool:
    """Whether a reading shows these tags, and nothing else but the identity of the instance."""
    return read is tags or {key: value for key, value in read.items() if key not in IDENTITY} == tags


def interface(node: str) -> str:
    """The interface id of a node, as routes target it."""
    return "eni-" + node


def owner_of(target: str | None) -> str:
    """The node that a route's target belongs to."""
    return (target or "")[4:]
