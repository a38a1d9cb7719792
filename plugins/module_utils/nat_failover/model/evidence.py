# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence as plain data: what a node has seen of peers, EC2, itself and the witness table.

Times are monotonic seconds of this node (law L10 monotonic time).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .cluster import ACTIVE, DRAINED, DRAINING, AddressView, Claim, InstanceView, RouteView

# Verdicts on a peer.
UNKNOWN = "unknown"  # not heard yet since this service started
HEALTHY = "healthy"  # heartbeats arrive and say that it forwards
# Healthy by the last verdict, and its heartbeat is late. Only in views sent to peers
SUSPECTED = "suspected"
SICK = "sick"  # heartbeats arrive and say that it does not forward
# ICMP echo is answered, heartbeats are missing. The service is dead, NAT may be alive
UNMANAGED = "unmanaged"
SILENT = "silent"  # nothing came back for silent_after, and this node may be the cause
FAILED = "failed"  # silent, and all evidence agrees
PARTITIONED = "partitioned"  # silent to this node, alive to a witness

# The seal (a MAC) of a flare, an item or a mark.
VALID = "valid"
UNSIGNED = "unsigned"  # as older versions write it, or nothing at all
FORGED = "forged"  # no MAC of this cluster's key, or no text that any version writes


class Sign(t.NamedTuple):
    """A flare, or an item of the witness table, as it was read. ``value`` "": there is none."""

    value: str = ""
    boot: str = ""  # of the run of the service that wrote it
    number: int = 0
    seal: str = UNSIGNED


NO_SIGN = Sign()


class Mark(t.NamedTuple):
    """The mark of a fence, as it was read from the tag of the marked instance."""

    value: str
    fencer: str  # the node that fences, as the tag names it
    stage: str  # stop | started
    written: int = 0  # seconds since 1970. 0: an older version wrote it
    seal: str = UNSIGNED


@dataclass(frozen=True)
class Report:
    """The report on itself that a node sends in each heartbeat."""

    state: str = ACTIVE
    forwarding: bool = False
    # The failing fact, e.g. "ip_forward=0". While it forwards: the interruption for which it drains
    fact: str = ""
    # Peer name -> verdict, as this node sees it
    views: t.Mapping[str, str] = field(default_factory=dict)
    signs: int = 0  # number of the last sign of life (flare, item) that it has begun to write
    seals: bool = False  # its signs, marks and locks carry a MAC. False: an older version
    # The services of the node that do not work. Only the claims that depend on them are concerned
    unwell: frozenset[str] = frozenset()
    # Identity of a peer that this node carries -> its flows in the kernel, with state_sync only
    flows: t.Mapping[str, int] = field(default_factory=dict)
    # The code of the problem with EC2 for which it could take nothing over. Empty: there is none
    hindrance: str = ""

    @property
    def leaves(self) -> bool:
        """Whether it hands its claims over."""
        return self.state in (DRAINING, DRAINED)

    @property
    def last_resort(self) -> bool:
        """Whether it drains only for an interruption announced by EC2.

        Then it takes claims that nobody else could.
        """
        return self.forwarding and bool(self.fact) and self.leaves


@dataclass(frozen=True)
class Heard:
    """The packets of one peer. None = never since this service started."""

    heartbeat_at: float | None = None  # last authentic heartbeat, probe or answer over UDP
    icmp_at: float | None = None  # last ICMP echo reply
    report: Report | None = None
    boot_id: str = ""
    unanswered: int = 0  # probes (UDP and ICMP together) sent since the last packet
    # When a packet was refused because its sequence number leapt, from which number to which
    leapt_at: float | None = None
    leapt_from: int = 0
    leapt_to: int = 0


NOTHING_HEARD = Heard()


@dataclass(frozen=True)
class SelfCheck:
    """The newest checks of this node.

    ``*_at`` is the moment when it was last seen true, None = never.
    """

    forwarding: bool = False
    fact: str = "not checked yet"  # the failing fact, empty when forwarding
    internet_at: float | None = None
    internet: bool = False
    ec2_at: float | None = None
    ec2: bool = False
    state: str = ACTIVE
    # Of this machine, once IMDS was read. Until then the configuration's counts
    instance_id: str = ""
    interruption: str = ""  # announced by EC2, when this node drains only for that
    # Why the flare of this node cannot be written, so that no peer can see that it lives. "": it
    # can
    unseen: str = ""
    unwell: frozenset[str] = frozenset()  # the services of this node that do not work, by their names


@dataclass(frozen=True)
class Lock:
    """The fence lock as the witness table shows it: ``holder`` fences ``peer``."""

    holder: str
    peer: str
    value: str  # changes with each write
    # Not later than its write. None: not written by this run of the service
    written_at: float | None = None
    sign: Sign = NO_SIGN  # ``value`` with the result of the check of its seal


@dataclass(frozen=True)
class WitnessView:
    """One strongly consistent reading of the witness table in DynamoDB."""

    items: t.Mapping[str, str]  # instance id -> the last sign of life that the machine wrote
    lock: Lock | None
    read_at: float


@dataclass(frozen=True)
class Stranger:
    """Authentic packets in the name of a peer, from an address that its instance does not have."""

    name: str  # of the peer
    address: str
    first_at: float
    last_at: float
    instance_id: str = ""  # the one that has the address, "" = EC2 shows none in the cluster


@dataclass(frozen=True)
class Evidence:
    """Everything a decision may rest on, gathered by the shell."""

    now: float
    me: SelfCheck
    heard: t.Mapping[str, Heard]
    routes: t.Mapping[Claim, RouteView]
    instances: t.Mapping[str, InstanceView]
    busy: frozenset[tuple[str, ...]] = frozenset()  # keys of actions in flight or backing off
    paused: str = ""  # the pause of the whole cluster in words, "" = none
    # Tag and node -> why that tag of a pause counts for nothing
    ignored_pauses: t.Mapping[str, str] = field(default_factory=dict)
    # Route table -> the node that its tag names. None = not read yet
    homes: t.Mapping[str, str] | None = None
    witness: WitnessView | None = None  # None: not configured, or not read yet
    ordered: frozenset[Claim] = frozenset()  # claims that an operator orders this node to take now
    # Peer -> the order of an operator to fence it, in words
    fence_ordered: t.Mapping[str, str] = field(default_factory=dict)
    # Node -> its flare, and its item in the witness table. Nodes without an instance are left out
    flares: t.Mapping[str, Sign] = field(default_factory=dict)
    items: t.Mapping[str, Sign] = field(default_factory=dict)
    # Marked node -> the mark of its fence. Marks that count for nothing are left out
    marks: t.Mapping[str, Mark] = field(default_factory=dict)
    # Tag and node -> why that mark counts for nothing
    void_marks: t.Mapping[str, str] = field(default_factory=dict)
    # When route tables were last listed, if all that were found have been read
    tables_at: float | None = None
    # (step of a fence, instance id) -> why EC2 does not take this step on this instance
    refused: t.Mapping[tuple[str, str], str] = field(default_factory=dict)
    strangers: tuple[Stranger, ...] = ()
    # Allocation id -> the Elastic IP of an identity. One that could not be read is left out
    addresses: t.Mapping[str, AddressView] = field(default_factory=dict)
    addresses_refused: str = ""  # why this node may never read them, in words
    # Identity -> its flows in the kernel of this node, with state_sync and away from its home only
    flows: t.Mapping[str, int] = field(default_factory=dict)
    unsynchronised: str = ""  # why connections are not synchronised, with state_sync only
    # When this node last sent heartbeats without a decision, or decided. None: at the last decision
    awake_at: float | None = None
