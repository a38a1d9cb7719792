# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration as frozen dataclasses. Times are seconds, whatever unit the file has."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import cached_property

from ..config.targets import Target
from .cluster import Claim, Node

MODES = ("observe", "route", "full")
MASQUERADE, FORWARD = "masquerade", "forward"
PMTU = "pmtu"


@dataclass(frozen=True)
class Heartbeat:
    port: int
    interval: float  # seconds
    burst_interval: float
    silent_after: float


@dataclass(frozen=True)
class Return:
    policy: str  # auto | manual
    after: float  # seconds of proven forwarding before the home takes its claims back
    maximum: float  # the doubling of ``after`` while flapping ends here


@dataclass(frozen=True)
class Fence:
    policy: str  # stop_start | reboot | none
    after: float  # seconds of silence without a flare
    stagger: float  # each lower rank waits this much longer (L3)
    stop_timeout: float  # then the stop is forced
    max_per_hour: int


@dataclass(frozen=True)
class SelfChecks:
    targets: t.Tuple[Target, ...]
    minimum: int
    timeout: float
    interval: float


@dataclass(frozen=True)
class Ipv6Canary:
    """What is asked besides where IPv6 is masqueraded; how often and for how long as over IPv4."""

    address: str
    targets: t.Tuple[Target, ...]
    minimum: int


@dataclass(frozen=True)
class Canary:
    enabled: bool
    address: str  # its source address: the rules must masquerade it, and no customer may have it
    targets: t.Tuple[Target, ...]
    minimum: int
    timeout: float
    interval: float
    socket: str  # where its process is asked
    ipv6: t.Optional[Ipv6Canary] = None


@dataclass(frozen=True)
class Nat:
    """What this node translates: all that its rules and sysctls depend on."""

    sources: t.Tuple[str, ...]
    interface: str
    ipv6: str = MASQUERADE  # what becomes of packets of IPv6 sources: masquerade | forward
    clamp_mss: str = (
        ""  # the largest TCP segment that either end may announce: a number, or PMTU for what fits the path
    )

    @property
    def has_ipv6(self) -> bool:
        return any(is_ipv6(source) for source in self.sources)

    def of_family(self, ipv6: bool) -> t.Tuple[str, ...]:
        return tuple(source for source in self.sources if is_ipv6(source) == ipv6)


@dataclass(frozen=True)
class Handover:
    poll: float  # seconds between two looks at what EC2 plans for this instance
    rebalance: str  # report | drain: what a rebalance recommendation of a spot instance is worth
    scheduled_lead: float  # seconds before a scheduled event at which this node drains
    on_stop: str  # keep | drain: what becomes of its claims when only the service is stopped
    wait: float  # how long a shutdown (or a stop, with drain) may wait for the peers


@dataclass(frozen=True)
class Ec2Settings:
    endpoint_url: t.Optional[str]
    connect_timeout: float
    read_timeout: float
    poll: float


@dataclass(frozen=True)
class WitnessTable:
    table: t.Optional[str]  # in DynamoDB; None: there is none
    endpoint_url: t.Optional[str]
    lease: float  # seconds without a renewal after which the fence lock is anybody's


@dataclass(frozen=True)
class Config:
    cluster: str
    self_name: str
    region: str
    mode: str
    nodes: t.Tuple[Node, ...]
    destinations: t.Tuple[str, ...]
    nat: Nat
    heartbeat: Heartbeat
    returns: Return
    fence: Fence
    self_check: SelfChecks
    canary: Canary
    handover: Handover
    ec2: Ec2Settings
    witness: WitnessTable
    unseen_after: float  # a peer never heard since our start is suspected only after this
    unmanaged_after: float  # grace for a peer whose service is dead but which answers ICMP
    key_file: str
    runtime_directory: str
    state_directory: str

    @property
    def interface(self) -> str:
        """The interface that leads out."""
        return self.nat.interface

    @property
    def sources(self) -> t.Tuple[str, ...]:
        """The networks whose packets this node lets out."""
        return self.nat.sources

    @property
    def repair_socket(self) -> str:
        """Where the root helper listens."""
        return self.runtime_directory + "-repair.sock"

    @cached_property
    def me(self) -> Node:
        return next(node for node in self.nodes if node.name == self.self_name)

    @cached_property
    def peers(self) -> t.Tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.name != self.self_name)

    @cached_property
    def claims(self) -> t.Tuple[Claim, ...]:
        return tuple(
            Claim(table, destination, node.name)
            for node in self.nodes
            for table in node.route_tables
            for destination in self.destinations
        )

    @cached_property
    def witnesses(self) -> t.FrozenSet[str]:
        """The nodes that only watch."""
        return frozenset(node.name for node in self.nodes if node.witness)

    def rank(self, name: str) -> int:
        """Position of a node in the deterministic order that breaks ties; 0 acts first, witnesses come last."""
        ranked = sorted(node.name for node in self.nodes if not node.witness)
        return ranked.index(name) if name in ranked else len(ranked)


def is_ipv6(network: str) -> bool:
    """Of a network in its canonical text."""
    return ":" in network
