# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in a VPC: hosts, network, EC2 and the laws, settled and ready for an incident."""

from __future__ import annotations

import functools
import random
import typing as t

from nat_failover.config import load as configuration
from nat_failover.model.cluster import Claim
from nat_failover.model.settings import Config

from . import identities
from .cloud import Cloud, interface
from .conntrackd import Conntrackd
from .host import Host
from .laws import Laws
from .network import Network
from .service import Service
from .table import Table
from .timeline import Timeline
from .violation import Violation

# Shorter than the defaults by a common factor, so that an incident takes less virtual time; config.py accepts them, so the laws hold for them.
TIMES: dict[str, t.Any] = {
    "fence": {"after_s": 10, "stagger_s": 10, "stop_timeout_s": 20},
    "ec2": {"connect_timeout_s": 0.5, "read_timeout_s": 1},
    "unseen_after_s": 5,
    "unmanaged_after_s": 10,
}
WITNESS = "nat-w"
STEP = 0.25  # seconds between looks at the whole
WARM_UP = 60.0  # seconds, at the most, until a cluster that just started is calm


class Traits(t.NamedTuple):
    """How a cluster is configured, as far as it differs from incident to incident."""

    mode: str = "full"
    fence: str = "stop_start"
    budget: int = 4  # fences of a node in an hour
    return_after: int = 3
    destinations: tuple[str, ...] = ("0.0.0.0/0",)
    profile: str = "default"
    witness: bool = False  # there is one more node, which only watches
    table: bool = False  # there is a witness table
    tagged: bool = False  # route tables are found by their tags
    early: bool | None = None  # takeover.early; None: that of the profile
    read_timeout: float = 1.0  # seconds that a call to EC2 may take
    identities: bool = False  # each node has an Elastic IP that moves with its claims
    synced: bool = False  # and the connections of both nodes are synchronised
    served: bool = False  # there are claims that depend on a service on their node


USUAL = Traits()
SERVICE, VIP = "proxy", "100.64.99.1/32"


def route_table(node: int, number: int) -> str:
    """The id of one of a node's route tables."""
    return f"rtb-{node * 1000 + number + 1:017x}"


def destinations_of(traits: Traits) -> tuple[str, ...]:
    """All destinations of a cluster."""
    return (*traits.destinations, VIP) if traits.served else traits.destinations


@functools.cache
def config_of(nodes: int, tables: int, name: str, traits: Traits = USUAL) -> Config:
    """The validated configuration of one node of a cluster."""
    rows: list[dict[str, t.Any]] = [
        {
            "name": f"nat-{n}",
            "instance_id": f"i-{1:08x}{n + 1:09x}",
            "route_tables": [] if traits.tagged else [route_table(n, k) for k in range(tables)],
            **(identities.row(n, nodes, synced=traits.synced) if traits.identities else {}),
        }
        for n in range(nodes)
    ]
    rows += [{"name": WITNESS, "instance_id": f"i-{nodes + 1:017x}", "witness": True}] * traits.witness
    raw = {
        "cluster": "sim",
        "self": name,
        "region": "eu-west-1",
        "nodes": rows,
        "interface": "ens5",
        "profile": traits.profile,
        "key_file": "/etc/key",
        "mode": traits.mode,
        "destinations": list(destinations_of(traits)),
        "state_sync": "conntrackd" if traits.synced else "",
        "services": [{"name": SERVICE, "file": "/run/proxy", "destinations": [VIP]}] if traits.served else [],
        "sources": ["10.0.0.0/16", "2001:db8:1::/56"],
        "return": {"after_s": traits.return_after, "max_s": 24},
        "witness": {"dynamodb_table": "sim", "lock_lease_s": 4 * (1.5 + traits.read_timeout)} if traits.table else {},
        **TIMES,
        "ec2": {**TIMES["ec2"], "read_timeout_s": traits.read_timeout},
        "takeover": {} if traits.early is None else {"early": traits.early},
        "fence": {**TIMES["fence"], "policy": traits.fence, "max_per_hour": traits.budget},
    }
    return configuration.parse(raw)


class World:
    """Everything in one incident."""

    def __init__(
        self,
        seed: int,
        nodes: int = 2,
        tables: int = 1,
        traits: Traits = USUAL,
        shell: t.Callable[..., t.Any] = Service,
    ) -> None:
        self.rng = random.Random(seed)
        self.traits = traits
        self.timeline = Timeline()
        self.network = Network(self.rng, self.timeline)
        names = [f"nat-{n}" for n in range(nodes)] + [WITNESS] * traits.witness
        configs = [config_of(nodes, tables, name, traits) for name in names]
        homes = {route_table(n, k): f"nat-{n}" for n in range(nodes) for k in range(tables) if traits.tagged}
        tagged = [Claim(table, each, home) for table, home in homes.items() for each in destinations_of(traits)]
        claims = [*configs[0].claims, *tagged]
        owners = range(nodes) if traits.identities else ()
        addresses = {identities.allocation(n): (interface(f"nat-{n}"), identities.private(n, n)) for n in owners}
        privates = {f"nat-{n}": [identities.private(n, other) for other in owners] for n in owners}
        nodes_of_all = [node.name for node in configs[0].nodes]
        self.cloud = Cloud(self.timeline, self.rng, claims, nodes_of_all, homes, addresses, privates)
        self.table = Table(self.timeline, self.rng)
        self.hosts = self.network.hosts
        for config in configs:
            self.hosts[config.self_name] = Host(config, self.timeline, self.network, self.cloud, self.table, shell)
        self.conntrackd = Conntrackd(self.timeline, self.cloud, self.hosts) if traits.synced else None
        for host in self.hosts.values():
            host.conntrackd = self.conntrackd
            host.start_service(settled=True)
        self.planned: set[str] = set()  # nodes that an operator works on until the end of the incident
        self.cloud.power = lambda node, word: self.hosts[node].power(word)
        self.laws = Laws(self.timeline, self.network, self.cloud, self.table, self.hosts)

        self.healed = False
        if shell is not Service:
            self._warm_up()

    def _warm_up(self) -> None:
        """The shipping shell begins with an empty mind: let it come to know that all is well, as if it had been up for long."""
        for host in self.hosts.values():
            host.service.born -= 3600.0
        if not self.until_calm(WARM_UP):
            raise Violation("settle: the cluster does not come to rest")

    def end(self) -> None:
        """All processes end. The story can still be told."""
        for host in self.hosts.values():
            host.service.alive = False

    def heal(self) -> None:
        """All faults end; what only an operator mends is left to ``restore``."""
        self.healed = True
        self.network.heal()
        self.cloud.heal()
        self.table.heal()
        if self.conntrackd is not None:
            self.conntrackd.heal()
        for host in self.hosts.values():
            host.uplink = True
            if host.powered:
                host.set_nat(True)
            host.thaw()
        self.timeline.tell("all faults end")

    def step(self) -> None:
        """A moment of the incident; what is to come next comes sooner while nothing goes on."""
        self.timeline.run(self.timeline.now + STEP)
        self.laws.look()
        if self.calm():
            self.timeline.hurry(STEP)

    def until_calm(self, most: float) -> bool:
        """Run until nothing goes on any more: whether that came to be within so many seconds."""
        end = self.timeline.now + most
        while self.timeline.now < end:
            self.timeline.run(self.timeline.now + STEP)
            self.laws.look()
            if self.calm():
                return True
        return False

    def calm(self) -> bool:
        """All is well, every node knows it, and nobody is about to do anything: without a new fault nothing would change for ever."""
        return (
            self.network.fine
            and self.cloud.fine
            and not self.table.hindered
            and self.table.held is None
            and all(host.well and not host.notice for host in self.hosts.values())
            and all(
                host.service.quiet and self.cloud.shows(host.service.collector.routes, host.service.collector.instances)
                for host in self.hosts.values()
            )
        )
