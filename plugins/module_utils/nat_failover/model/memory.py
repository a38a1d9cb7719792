# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of the policy between ticks, as plain data.

Times are monotonic seconds of this node (law L10).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .cluster import Claim
from .evidence import UNKNOWN


@dataclass(frozen=True)
class PeerMemory:
    """The memory of one peer between ticks."""

    verdict: str = UNKNOWN
    since: float = 0.0  # when the verdict last changed
    evidence: str = ""  # the words that went with it
    suspected_at: float | None = None  # the first late heartbeat of the present silence
    # Since when, in this suspicion, the internet access of this node is proven
    proven_at: float | None = None
    # Flare value when suspicion began, "" = none; None = not read yet
    flare_baseline: str | None = None
    flare_number: int = 0  # the highest one read during this suspicion
    flare_at: float | None = None  # when a changed flare was last read during this suspicion
    item_baseline: str | None = None  # the same for its item in the witness table
    item_number: int = 0
    item_at: float | None = None
    # When a claim of this node was last seen moving to this peer
    took_own_claim_at: float | None = None
    # How often it took claims from this node while it was silent and this node could not be seen
    swaps: int = 0
    # When it was last taken for failed before EC2 had been read since its silence began
    early_at: float | None = None
    seen_healthy: bool = False
    # "" -> marked -> stop -> stopped -> started, and "" again once healthy. One fence an incident
    # (L3).
    fence_stage: str = ""
    fence_at: float = 0.0  # when the present stage began
    born: float = 0.0  # when this peer, or the instance that took its place, was first known of
    known_at: float = 0.0  # when EC2 first showed which instance it is


class ServiceMemory(t.NamedTuple):
    """The memory of one service of this node."""

    well_since: float | None  # None: it does not work
    failures: int = 0  # in a row, each soon after the one before


class Seen(t.NamedTuple):
    """A flare, an item or the fence lock, as this node read it last."""

    value: str
    forged: bool  # no node wrote it
    forged_at: float | None  # when a forged value appeared last
    since: float  # when this node first read it


@dataclass(frozen=True)
class Memory:
    """The memory between ticks.

    ``Memory(awake_since=now)`` is a start: everything else is derived again from EC2.
    """

    awake_since: float  # silence counts from here: start, or the end of a freeze (L10)
    last_tick: float | None = None
    peers: t.Mapping[str, PeerMemory] = field(default_factory=dict)
    fit_since: float | None = None
    lost_at: float | None = None  # when a home claim of this node was last seen moving to a peer
    returned_at: float | None = None
    flaps: int = 0
    # The home claims that targeted this node at the last tick
    own_claims: frozenset[Claim] = frozenset()
    # All claims that targeted this node at the last tick, while it cannot be seen
    held_claims: frozenset[Claim] = frozenset()
    fences: tuple[float, ...] = ()  # when stops and reboots were begun, within the last hour
    # node -> its instance and interface, as last seen
    machines: t.Mapping[str, tuple[str, str]] = field(default_factory=dict)
    # Interface of an instance that was replaced -> its node
    former: t.Mapping[str, str] = field(default_factory=dict)
    lock_value: str = ""  # the fence lock's value, empty: free
    lock_since: float = 0.0  # when this node first read that value, or a forged one began
    # Boot id -> the number of the newest lock that this run of a service wrote
    lock_numbers: t.Mapping[str, int] = field(default_factory=dict)
    # (kind, node) -> the sign that was read last (policy/signs.py)
    seen: t.Mapping[tuple[str, str], Seen] = field(default_factory=dict)
    # The services of this node that claims depend on, by their names
    services: t.Mapping[str, ServiceMemory] = field(default_factory=dict)
    # Identity -> since when all its claims are here and its Elastic IP is not
    astray: t.Mapping[str, float] = field(default_factory=dict)
    # Identity -> when this node took its Elastic IP beside the routes, until all of them are here
    led: t.Mapping[str, float] = field(default_factory=dict)
    # Since when this node could take its identity back, with state_sync only. None: it could not
    due_since: float | None = None
    # Identity -> since when EC2 shows its Elastic IP here, of those that were elsewhere before.
    # Infinite while they are
    arrived: t.Mapping[str, float] = field(default_factory=dict)
    # When the cluster was last seen paused. Until then no peer could write a flare
    paused_at: float | None = None

    def updated(self, **changes: t.Any) -> Memory:
        """A copy with changes.

        Itself when nothing changes. Raises AttributeError for a name that is no field.
        """
        for name, value in changes.items():
            old = getattr(self, name)
            # Whole mappings are compared only when they are not the same object
            if old is not value and old != value:
                # A copy of the fields costs a fifth of dataclasses.replace(), and each tick makes
                # one.
                copy = object.__new__(Memory)
                copy.__dict__.update(self.__dict__, **changes)
                return copy
        return self
