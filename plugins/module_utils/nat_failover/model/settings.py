# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration as frozen dataclasses.

All times are seconds, also those that the file has in milliseconds.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import cached_property

from .cluster import Claim, Egress, Node
from .nat import Nat

MODES = ("observe", "route", "full")  # each mode writes to EC2 all that the ones before it write
CONNTRACKD = "conntrackd"  # Config.state_sync
SYNC_PORT = 3780  # UDP, as in the examples of conntrackd.conf(5)
TCP, UDP, ICMP = "tcp", "udp", "icmp"  # Target.kind


class Target(t.NamedTuple):
    """A target on the internet that a check probes."""

    kind: str  # TCP | UDP | ICMP
    host: str  # an address or a name
    port: int  # 0 for ICMP

    def __str__(self) -> str:
        """The target as the configuration file spells it, such as ``udp://1.1.1.1:53``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host}:{self.port}" if self.port else host
        return where if self.kind == TCP else f"{self.kind}://{where}"


@dataclass(frozen=True)
class Heartbeat:
    """Heartbeats between nodes. A shorter time detects a failure sooner and costs more packets."""

    port: int  # UDP, the same on all nodes
    interval: float  # between heartbeats while all is well
    burst_interval: float  # between probes of a peer that is late
    silent_after: float  # Without any packet after which a peer is failed. At least 5 burst intervals (L3)


@dataclass(frozen=True)
class Takeover:
    """The takeover of the claims of a failed peer."""

    # Whether a route is written before EC2 has answered since the silence began (policy/early.py)
    early: bool


@dataclass(frozen=True)
class Return:
    """The return of claims to their home."""

    policy: str  # auto | manual
    after: float  # Proven forwarding before the home takes its claims back. Doubles while it flaps (L7)
    maximum: float  # the doubling of ``after`` ends here


@dataclass(frozen=True)
class Fence:
    """The stop and start of a failed peer.

    Law L3 (one fence an incident) bounds ``after`` and ``stagger``.
    """

    policy: str  # stop_start | reboot | none
    # Silence without a flare before a fence. It is also the horizon of the check for isolation
    # (policy/verdict.py, isolated).
    after: float
    stagger: float  # each lower rank waits this much longer
    stop_timeout: float  # a stop that takes longer is forced
    max_per_hour: int  # of this node, over all peers


@dataclass(frozen=True)
class SelfChecks:
    """The check that this node reaches the internet."""

    targets: tuple[Target, ...]
    minimum: int  # targets that must answer
    timeout: float  # of one probe
    interval: float  # between rounds while all is well


@dataclass(frozen=True)
class Ipv6Canary:
    """The canary's probes over IPv6. They keep the interval and timeout of those over IPv4."""

    address: str  # their source
    targets: tuple[Target, ...]
    minimum: int  # targets that must answer


@dataclass(frozen=True)
class Canary:
    """A client on this node whose packets prove that the rules translate."""

    enabled: bool
    address: str  # The source of its probes. The rules must masquerade it, and no host may have it
    targets: tuple[Target, ...]
    minimum: int  # targets that must answer
    timeout: float  # of one probe
    interval: float  # between rounds
    socket: str  # path of the Unix socket of its process
    ipv6: Ipv6Canary | None = None  # None: no probes over IPv6


@dataclass(frozen=True)
class Handover:
    """The planned hand-over of claims before this node ends."""

    poll: float  # between two readings of the interruptions that IMDS announces
    rebalance: str  # report | drain: the reaction to a rebalance recommendation of a spot instance
    scheduled_lead: float  # before a scheduled event, at which this node drains
    on_stop: str  # keep | drain: the claims when only the service is stopped
    wait: float  # that a shutdown, or a stop with drain, may wait for the peers


@dataclass(frozen=True)
class Ec2Settings:
    """The EC2 API."""

    endpoint_url: str | None  # None: the region's own
    connect_timeout: float  # of one call
    read_timeout: float  # of one call
    poll: float  # between two readings of instances and route tables
    create_routes: bool = True  # whether a missing route is created
    unserved: tuple[str, ...] = ()  # networks of the VPC that this cluster does not serve

    @property
    def reading_age(self) -> float:
        """The age of the newest reading at the most, while EC2 answers: one poll, and the next call."""
        return self.poll + self.connect_timeout + self.read_timeout


@dataclass(frozen=True)
class WitnessTable:
    """The witness table in DynamoDB."""

    table: str | None  # Its name. None: there is none
    endpoint_url: str | None  # None: the region's own
    lease: float  # without a renewal, after which another node may take the fence lock


class LocalService(t.NamedTuple):
    """A service on this node that some claims depend on, such as a proxy."""

    name: str  # the same on all nodes
    file: str  # where a program on this node writes its verdict on the service
    destinations: tuple[str, ...]  # of the claims that depend on it


@dataclass(frozen=True)
class Config:
    """All settings of one node. ``config/load.py`` makes it and refuses values that do not fit."""

    cluster: str
    self_name: str  # the name of this node in ``nodes``
    region: str
    mode: str  # one of MODES
    nodes: tuple[Node, ...]
    destinations: tuple[str, ...]  # of each route, in the canonical form of EC2
    nat: Nat
    heartbeat: Heartbeat
    takeover: Takeover
    returns: Return
    fence: Fence
    self_check: SelfChecks
    canary: Canary
    handover: Handover
    ec2: Ec2Settings
    witness: WitnessTable
    unseen_after: float  # a peer without a packet since this node's start is unknown until then
    unmanaged_after: float  # grace for a peer that answers ICMP and whose service is dead
    key_file: str
    runtime_directory: str
    state_directory: str
    services: tuple[LocalService, ...] = ()
    state_sync: str = ""  # how connections reach the heir of an identity: "" (not at all) | CONNTRACKD

    @property
    def interface(self) -> str:
        """The interface that leads out."""
        return self.nat.interface

    @property
    def sources(self) -> tuple[str, ...]:
        """The networks whose packets this node translates."""
        return self.nat.sources

    @property
    def repair_socket(self) -> str:
        """The path of the Unix socket of the root helper."""
        return self.runtime_directory + "-repair.sock"

    @cached_property
    def me(self) -> Node:
        """This node."""
        return next(node for node in self.nodes if node.name == self.self_name)

    @cached_property
    def peers(self) -> tuple[Node, ...]:
        """All other nodes, in the order of the file."""
        return tuple(node for node in self.nodes if node.name != self.self_name)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The claims on the tables that the file names.

        Tags may add further ones (policy/membership.py).
        """
        return tuple(
            Claim(table, destination, node.name)
            for node in self.nodes
            for table in node.route_tables
            for destination in self.destinations
        )

    @cached_property
    def identities(self) -> t.Mapping[str, Egress]:
        """Node -> its identity. Empty unless an operator names Elastic IPs."""
        return {node.name: node.egress for node in self.nodes if node.egress is not None}

    @cached_property
    def witnesses(self) -> frozenset[str]:
        """The names of the nodes that only watch."""
        return frozenset(node.name for node in self.nodes if node.witness)

    @cached_property
    def service_of(self) -> t.Mapping[str, str]:
        """Destination -> the service that its claims depend on. Others depend on the node alone."""
        return {destination: each.name for each in self.services for destination in each.destinations}

    def rank(self, name: str) -> int:
        """Position of a node in the order that breaks ties. 0 acts first, and witnesses come last."""
        ranked = sorted(node.name for node in self.nodes if not node.witness)
        return ranked.index(name) if name in ranked else len(ranked)
