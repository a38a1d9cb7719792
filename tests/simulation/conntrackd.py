# SPDX-License-Identifier: GPL-3.0-or-later
"""Level 2: the flows of identities in the kernels of both nodes, and what their root helpers say of conntrackd."""

from __future__ import annotations

import random
import typing as t

from nat_failover.host.state_sync import CHECK
from nat_failover.model.sync import WORD, SyncReading

from .cloud import Cloud, interface
from .timeline import Timeline

if t.TYPE_CHECKING:
    from .host import Host
    from .world import World

FLOWS, FEW = 1000, 400  # of an identity: at its owner, and at a peer whose conntrackd is stuck
ARRIVE = 1.0  # seconds until a kernel that was empty has the flows of the peer
DEAD, LOSING, STUCK = "conntrackd does not run", "losing", "stuck"


class Conntrackd:
    """Those of both nodes. ``faults``: node -> ``DEAD``, ``LOSING`` or ``STUCK``. The last one no end of all faults mends."""

    def __init__(self, timeline: Timeline, cloud: Cloud, hosts: t.Mapping[str, Host]) -> None:
        self._timeline, self._cloud, self._hosts = timeline, cloud, hosts
        self.faults: dict[str, str] = {}
        self._booted: dict[str, tuple[int, float]] = {}  # node -> its boots, and when the last one was seen
        self._counts: dict[str, list[int]] = {}  # node -> bytes received, messages lost

    def heal(self) -> None:
        """The end of all faults but of one: an operator may never mend it."""
        self.faults = {name: fault for name, fault in self.faults.items() if fault == STUCK}

    def answer(self, host: Host, line: str) -> str:
        """The root helper's answer on a node. It is asked for readings only, since the service repairs nothing here."""
        word, order, *names = line.split(" ")
        assert (word, order) == (WORD, CHECK), line
        return self._reading(host, names).line()

    def _reading(self, host: Host, names: t.Sequence[str]) -> SyncReading:
        name, now = host.name, self._timeline.now
        boots, since = self._booted.get(name, (1, float("-inf")))
        if boots != host.boots:
            since = now
            self._counts.pop(name, None)
        self._booted[name] = (host.boots, since)
        if self.faults.get(name) == DEAD:
            return SyncReading(problem=DEAD)
        counts = self._counts.setdefault(name, [1, 0])
        counts[0] += any(self._sends(each) for each in self._hosts.values() if each is not host)
        counts[1] += self.faults.get(name) == LOSING
        flows = {each: self._flows(name, each, now - since) for each in names}
        return SyncReading("", counts[0], counts[1], 0, FLOWS, flows)

    def _sends(self, host: Host) -> bool:
        return host.reaches_ec2() and self.faults.get(host.name) != DEAD

    def _flows(self, name: str, identity: str, age: float) -> int:
        targets = {target for claim, target in self._cloud.state.routes.items() if claim.home == identity}
        if interface(name) in targets:
            return FLOWS
        if self.faults.get(name) == STUCK:
            return FEW
        return FLOWS if age >= ARRIVE else 0


def hindered(world: World, rng: random.Random, seconds: float) -> None:
    """conntrackd of a node, or of both, does not run, loses messages, or brings less than half of the flows."""
    assert world.conntrackd is not None
    fault = rng.choice((DEAD, LOSING, STUCK))
    names = sorted(world.hosts)
    for name in rng.choice(([rng.choice(names)], names)):
        world.timeline.tell(f"FAULT: connections are not synchronised on {name}: {fault}")
        world.conntrackd.faults[name] = fault
    world.timeline.later(seconds, world.conntrackd.heal)
