# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as plain data: nodes, claims, instances, routes, tags and their states."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

# States a node announces about itself.
ACTIVE = "active"
DRAINING = "draining"  # wants to hand over its claims, still forwards
DRAINED = "drained"  # owns nothing, takes nothing
STOPPING = "stopping"  # its service is going down in an orderly way
# Is no NAT node. It owns nothing, writes nothing, and reports the peers that it hears
WITNESS = "witness"

# States of a route in EC2 (DescribeRouteTables, plus MISSING for "no such route" and NO_TABLE for
# "no such route table").
ROUTE_ACTIVE = "active"
ROUTE_BLACKHOLE = "blackhole"
ROUTE_MISSING = "missing"
ROUTE_NO_TABLE = "no-table"  # deleted, or never there. It is reported, for no node can repair it

# States of an instance (EC2 API Reference, InstanceState).
EC2_PENDING = "pending"
EC2_RUNNING = "running"
EC2_STOPPING = "stopping"
EC2_STOPPED = "stopped"
EC2_SHUTTING_DOWN = "shutting-down"
EC2_TERMINATED = "terminated"


class InstanceState(t.NamedTuple):
    """The meaning of an EC2 state for a node.

    A state that is not in the table has none of these properties.
    """

    up: bool = False  # the machine runs or boots
    gone: bool = False  # its NAT has ended, or is about to end
    off: bool = False  # the machine executes nothing any more
    ended: bool = False  # the instance never comes back


INSTANCE_STATES: t.Mapping[str, InstanceState] = {
    EC2_PENDING: InstanceState(up=True),
    EC2_RUNNING: InstanceState(up=True),
    EC2_STOPPING: InstanceState(gone=True),
    EC2_STOPPED: InstanceState(gone=True, off=True),
    EC2_SHUTTING_DOWN: InstanceState(gone=True, ended=True),
    EC2_TERMINATED: InstanceState(gone=True, off=True, ended=True),
}
UP = frozenset(state for state, means in INSTANCE_STATES.items() if means.up)
GONE = frozenset(state for state, means in INSTANCE_STATES.items() if means.gone)
OFF = frozenset(state for state, means in INSTANCE_STATES.items() if means.off)
ENDED = frozenset(state for state, means in INSTANCE_STATES.items() if means.ended)

# Tag keys: the shared memory of the cluster, see docs/architecture.md.
TAG_CLUSTER = "nat-failover:cluster"
TAG_NODE = "nat-failover:node"
TAG_HOME = "nat-failover:home"  # on route tables
TAG_FLARE = "nat-failover:flare"
TAG_FENCE = "nat-failover:fence"
TAG_DRAINED = "nat-failover:drained"
TAG_PAUSE = "nat-failover:pause"
TAG_MAINTENANCE = "nat-failover:maintenance"


class Claim(t.NamedTuple):
    """One (route table, destination) pair and the node it belongs to when all is well."""

    route_table: str
    destination: str
    home: str

    def __str__(self) -> str:
        return f"{self.route_table} {self.destination}"


class Egress(t.NamedTuple):
    """The identity of a node: the public address from which its clients reach the internet.

    It moves with the node's claims (docs/design.md, "An identity that moves").
    """

    allocation: str  # the id of the Elastic IP
    address: str  # the private address, on the node itself, that flows are translated to
    networks: tuple[str, ...]  # of the clients, in canonical form


@dataclass(frozen=True)
class Node:
    """A member of the cluster as configured. EC2 shows the ``address`` where it is left out."""

    name: str
    instance_id: str  # "" = found by its tags
    route_tables: tuple[str, ...]
    address: str | None = None
    witness: bool = False  # only watches: no claims, no fences by it or of it
    egress: Egress | None = None  # None: its clients share the public address of the node
    # Node -> the private address of this node that carries the identity of that node
    waiting: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RouteView:
    """One claim's route as EC2 showed it (DescribeRouteTables).

    ``target``: the id of an interface or of another target.
    """

    state: str
    target: str | None
    read_at: float


@dataclass(frozen=True)
class AddressView:
    """One Elastic IP as EC2 showed it (DescribeAddresses)."""

    public: str  # "" = EC2 knows no such allocation id
    interface_id: str | None  # None: it is associated with nothing
    private: str | None  # the private address of that interface
    read_at: float
    border_group: str = ""  # network border group: the zones that it can be used in. "" = not known


@dataclass(frozen=True)
class InstanceView:
    """One node's instance as EC2 showed it (DescribeInstances).

    ``interface_id`` and ``address`` are those of the primary network interface (device index 0).
    """

    state: str
    interface_id: str | None
    address: str | None
    tags: t.Mapping[str, str]
    read_at: float
    source_dest_check: bool | None = None
    availability_zone: str | None = None
    instance_id: str = ""  # "" = EC2 shows no instance for this node
    created: str = ""  # the moment of its first launch, as a text that sorts
    rivals: tuple[str, ...] = ()  # other instances that run under the same name
    ipv6_addresses: tuple[str, ...] = ()
    vpc_id: str = ""
    further_interfaces: tuple[str, ...] = ()  # with another device index
    # All its private IPv4 addresses, on all its interfaces. () = not known
    addresses: tuple[str, ...] = ()
    further_addresses: tuple[str, ...] = ()  # those of its further interfaces alone
    public_address: str | None = None  # of its primary interface. None: not known, "": there is none

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The ids of all its interfaces, the primary one first."""
        return (*filter(None, (self.interface_id,)), *self.further_interfaces)


def owners_of(instances: t.Mapping[str, InstanceView], witnesses: t.Container[str] = ()) -> dict[str, str]:
    """Interface id -> the node whose instance has it, whether it is the primary one or a further one.

    Witnesses own nothing.
    """
    return {each: name for name, view in instances.items() if name not in witnesses for each in view.interfaces}
