# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the product as plain data. All times are monotonic seconds of the observing node (law L10)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

# Verdicts on a peer.
UNKNOWN = "unknown"  # not heard yet since this service started
HEALTHY = "healthy"  # heartbeats arrive and say that it forwards
SUSPECTED = "suspected"  # healthy by the last verdict, but its heartbeat is late: only in the views sent to others
SICK = "sick"  # heartbeats arrive and say that it does not forward
UNMANAGED = "unmanaged"  # ICMP answers, heartbeats do not: its service is dead, its NAT may be alive
SILENT = "silent"  # nothing came back for silent_after; no conclusion yet
FAILED = "failed"  # silent, and all evidence agrees
PARTITIONED = "partitioned"  # silent to me, alive to a witness

# States a node announces about itself.
ACTIVE = "active"
DRAINING = "draining"  # wants to hand over its claims, still forwards
DRAINED = "drained"  # owns nothing, takes nothing
STOPPING = "stopping"  # its service is going down in an orderly way
WITNESS = "witness"  # is no NAT node: it owns nothing and writes nothing, it only says whom it hears

# States of a route in EC2 (DescribeRouteTables, plus MISSING for "no such route" and NO_TABLE for "no such route table").
ROUTE_ACTIVE = "active"
ROUTE_BLACKHOLE = "blackhole"
ROUTE_MISSING = "missing"
ROUTE_NO_TABLE = "no-table"  # deleted, or never there: nothing to mend, only to report

# Steps of a fence that concern the lock in the witness table, and their key: one at a time.
LOCK_STEPS = ("lock", "renew", "unlock")
LOCK_KEY = ("lock",)

# Tag keys: the cluster's shared memory, see docs/architecture.md.
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
        return "%s %s" % (self.route_table, self.destination)


@dataclass(frozen=True)
class Node:
    """A member of the cluster as configured. Without an ``instance_id`` it is found by its tags; ``address`` may be left to EC2 as well."""

    name: str
    instance_id: str  # "" = found by tags
    route_tables: t.Tuple[str, ...]
    address: t.Optional[str] = None
    witness: bool = False  # only watches: no claims, no fences by it or of it


@dataclass(frozen=True)
class RouteView:
    """What EC2 said about one claim's route. ``target`` is a network interface id, or another target's id, or None."""

    state: str
    target: t.Optional[str]
    read_at: float


@dataclass(frozen=True)
class InstanceView:
    """What EC2 said about one node's instance (DescribeInstances).

    ``interface_id`` and ``address`` are those of the primary network interface (device index 0).
    """

    state: str
    interface_id: t.Optional[str]
    address: t.Optional[str]
    tags: t.Mapping[str, str]
    read_at: float
    source_dest_check: t.Optional[bool] = None
    availability_zone: t.Optional[str] = None
    instance_id: str = ""  # "" = EC2 shows no instance for this node
    created: str = ""  # when it was launched first, as a text that sorts
    rivals: t.Tuple[str, ...] = ()  # other instances that run under the same name
    ipv6_addresses: t.Tuple[str, ...] = ()


def owners_of(instances: t.Mapping[str, InstanceView], witnesses: t.Container[str] = ()) -> t.Dict[str, str]:
    """Whose network interface is it: interface id -> node. Witnesses own nothing."""
    return {view.interface_id: name for name, view in instances.items() if view.interface_id and name not in witnesses}


@dataclass(frozen=True)
class Report:
    """What a node says about itself in each heartbeat."""

    state: str = ACTIVE
    forwarding: bool = False
    fact: str = (
        ""  # the failing fact when it does not forward, e.g. "ip_forward=0"; else EC2's notice for which it drains
    )
    views: t.Mapping[str, str] = field(default_factory=dict)  # peer name -> verdict, as this node sees it
    signs: int = 0  # number of the last sign of life (flare, item) that it has begun to write

    @property
    def reluctant(self) -> bool:
        """Does it drain for nothing but a notice of EC2? Then it takes claims as long as nobody else could."""
        return self.forwarding and bool(self.fact) and self.state in (DRAINING, DRAINED)


@dataclass(frozen=True)
class Heard:
    """What has been heard from one peer; None = never since this service started."""

    heartbeat_at: t.Optional[float] = None  # last authentic heartbeat, probe or answer over UDP
    icmp_at: t.Optional[float] = None  # last ICMP echo reply
    report: t.Optional[Report] = None
    boot_id: str = ""
    unanswered: int = 0  # probes (UDP and ICMP together) sent since anything was heard


NOTHING_HEARD = Heard()


@dataclass(frozen=True)
class SelfCheck:
    """What this node knows about itself. ``*_at`` is when it was last seen true; None = never."""

    forwarding: bool = False
    fact: str = "not checked yet"  # the failing fact, empty when forwarding
    internet_at: t.Optional[float] = None
    internet: bool = False
    ec2_at: t.Optional[float] = None
    ec2: bool = False
    state: str = ACTIVE
    instance_id: str = ""  # of the machine that this runs on, once IMDS was asked; else the configuration's counts
    notice: str = ""  # EC2's notice, when this node drains for nothing but that


@dataclass(frozen=True)
class Lock:
    """The fence lock as the witness table shows it: who fences whom."""

    holder: str
    peer: str
    value: str  # another one with each write
    written_at: t.Optional[float] = (
        None  # not later than its write, by my clock; None: not written by this run of the service
    )


@dataclass(frozen=True)
class WitnessView:
    """What one strongly consistent reading of the witness table in DynamoDB showed."""

    items: t.Mapping[str, str]  # instance id -> what that machine last wrote to show that it lives
    lock: t.Optional[Lock]
    read_at: float


@dataclass(frozen=True)
class Evidence:
    """Everything a decision may rest on, gathered by the shell."""

    now: float
    me: SelfCheck
    heard: t.Mapping[str, Heard]
    routes: t.Mapping[Claim, RouteView]
    instances: t.Mapping[str, InstanceView]
    busy: t.FrozenSet[t.Tuple[str, ...]] = frozenset()  # keys of actions in flight or backing off
    paused: str = ""  # why nothing may be written in the whole cluster, in words
    homes: t.Optional[t.Mapping[str, str]] = None  # route table -> the node that its tag names; None = not read yet
    witness: t.Optional[WitnessView] = None  # None: not configured, or not read yet
    tables_at: t.Optional[float] = None  # when route tables were last looked for, if all that were found have been read


@dataclass(frozen=True)
class PeerMemory:
    """What the policy remembers of one peer between ticks."""

    verdict: str = UNKNOWN
    since: float = 0.0  # when the verdict last changed
    evidence: str = ""  # the words that went with it
    suspected_at: t.Optional[float] = None  # the first late heartbeat of the present silence
    proven_at: t.Optional[float] = None  # since when, in this suspicion, my own internet access is proven
    flare_baseline: t.Optional[str] = None  # flare value when suspicion began, "" = none; None = not read yet
    flare_at: t.Optional[float] = None  # when a changed flare was last read during this suspicion
    item_baseline: t.Optional[str] = None  # the same for its item in the witness table
    item_at: t.Optional[float] = None
    took_mine_at: t.Optional[float] = None  # when one of my own claims was last seen moving to this peer
    seen_healthy: bool = False
    fence_stage: str = (
        ""  # "" -> marked -> stop -> stopped -> started; back to "" once healthy (L3: at most one fence an incident)
    )
    fence_at: float = 0.0  # when the present stage began
    born: float = 0.0  # when this peer, or the instance that took its place, was first known of
    known_at: float = 0.0  # when EC2 first told me which instance it is


@dataclass(frozen=True)
class Memory:
    """What the policy remembers between ticks. Start with ``Memory(awake_since=now)``; all else is derived again from EC2."""

    awake_since: float  # silence counts from here: start, or the end of a freeze (L10)
    last_tick: t.Optional[float] = None
    peers: t.Mapping[str, PeerMemory] = field(default_factory=dict)
    fit_since: t.Optional[float] = None
    lost_at: t.Optional[float] = None  # when a home claim of mine was last seen moving to a peer
    returned_at: t.Optional[float] = None
    flaps: int = 0
    mine: t.FrozenSet[Claim] = frozenset()  # my home claims that pointed to me at the last tick
    fences: t.Tuple[float, ...] = ()  # when fences were begun, within the last hour
    machines: t.Mapping[str, t.Tuple[str, str]] = field(
        default_factory=dict
    )  # node -> its instance and interface, as last seen
    former: t.Mapping[str, str] = field(default_factory=dict)  # interface of an instance that was replaced -> its node
    lock_value: str = ""  # the fence lock's value, empty: free
    lock_since: float = 0.0  # when I first saw it
    paused_at: t.Optional[float] = None  # when the cluster was last paused: until then no peer could write a flare

    def updated(self, **changes: t.Any) -> "Memory":
        """A copy with changes; itself when nothing changes, which is the case nearly always and costs less."""
        for name, value in changes.items():
            old = getattr(self, name)
            if old is not value and old != value:  # whole mappings are compared only when they are not the same object
                return replace(self, **changes)
        return self


@dataclass(frozen=True)
class Verdict:
    """A conclusion about one peer, with its evidence in words (L11)."""

    peer: str
    kind: str
    evidence: str


@dataclass(frozen=True)
class SetRoute:
    """Point the claim's route to this node. ``kind``: adopt, return, mend."""

    claim: Claim
    interface_id: str
    owner: str  # the node that owns it afterwards
    before: RouteView
    kind: str
    reason: str

    @property
    def key(self) -> t.Tuple[str, ...]:
        return ("route", self.claim.route_table, self.claim.destination)

    def __str__(self) -> str:
        return "%s %s" % (self.kind, self.claim)


@dataclass(frozen=True)
class FenceStep:
    """One step of a fence: ``mark`` (write the fence tag), ``stop``, ``force_stop``, ``start``, ``reboot``, ``unmark``.

    With a witness table also ``lock``, ``renew`` and ``unlock``: there is one lock for the whole cluster.
    """

    step: str
    peer: str
    instance_id: str
    reason: str
    expects: str = ""  # ``lock``: the value that nobody has renewed for too long; empty: the lock is free

    @property
    def key(self) -> t.Tuple[str, ...]:
        return LOCK_KEY if self.step in LOCK_STEPS else ("fence", self.peer)

    def __str__(self) -> str:
        return "%s %s" % (self.step, self.peer)


@dataclass(frozen=True)
class Plan:
    """What to do now. The shell carries it out and decides nothing of its own."""

    verdicts: t.Tuple[Verdict, ...] = ()
    routes: t.Tuple[SetRoute, ...] = ()
    fence: t.Tuple[FenceStep, ...] = ()
    probe: t.Mapping[str, float] = field(default_factory=dict)  # suspected peer -> seconds between probes
    flare: bool = False  # rewrite my own flare, and read the suspects'
    refresh: t.Optional[float] = None  # read routes and check the internet now: what is known must be younger than this
    watch: t.Optional[float] = None  # seconds between reads of EC2 while a peer is suspected (its flare, its state)
    withheld: t.Tuple[t.Union[SetRoute, FenceStep], ...] = ()  # what would have been done
    forbidden: str = ""  # the reason why nothing at all may be written now
    drift: t.Mapping[str, str] = field(default_factory=dict)  # claim -> what was found
