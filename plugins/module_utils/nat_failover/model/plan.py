# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a decision as plain data: verdicts, routes to set, steps of a fence."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .cluster import AddressView, Claim, RouteView

# Steps of a fence that concern the lock in the witness table. They share a key, so one runs at a
# time.
LOCK_STEPS = ("lock", "renew", "unlock")
LOCK_KEY = ("lock",)


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
    def key(self) -> tuple[str, ...]:
        return ("route", self.claim.route_table, self.claim.destination)

    def __str__(self) -> str:
        return f"{self.kind} {self.claim}"


@dataclass(frozen=True)
class SetAddress:
    """Associate the Elastic IP of an identity with a private address of this node."""

    kind: t.ClassVar[str] = "address"
    identity: str  # the node that it belongs to
    allocation: str
    interface_id: str
    private: str
    before: AddressView
    reason: str
    # Claims whose routes are written first. It stays if one of these writes is not answered
    after: tuple[Claim, ...] = ()
    renews: bool = False  # ``before`` is too old: it is read again beside these writes

    @property
    def key(self) -> tuple[str, ...]:
        return ("address", self.allocation)

    def __str__(self) -> str:
        return f"{self.kind} {self.allocation}"


@dataclass(frozen=True)
class FenceStep:
    """One step of a fence: ``mark``, ``stop``, ``force_stop``, ``start``, ``reboot``, ``unmark``.

    ``mark`` writes the fence tag, ``unmark`` removes it. With a witness table also ``lock``,
    ``renew`` and ``unlock``: there is one lock for the whole cluster.
    """

    step: str
    peer: str
    instance_id: str
    reason: str
    # ``lock``: the value that was not renewed for too long. "" = the lock is free
    expects: str = ""
    ignores: str = ""  # ``mark``: the value of a mark that counts for nothing and is overwritten

    @property
    def key(self) -> tuple[str, ...]:
        return LOCK_KEY if self.step in LOCK_STEPS else ("fence", self.peer)

    def __str__(self) -> str:
        return f"{self.step} {self.peer}"


Write = t.Union[SetRoute, SetAddress, FenceStep]


@dataclass(frozen=True)
class Plan:
    """The actions of this tick. The shell carries them out and decides nothing of its own."""

    verdicts: tuple[Verdict, ...] = ()
    routes: tuple[SetRoute, ...] = ()
    fence: tuple[FenceStep, ...] = ()
    # Suspected peer -> seconds between probes
    probe: t.Mapping[str, float] = field(default_factory=dict)
    flare: bool = False  # rewrite the flare of this node, and read those of the suspects
    # Routes and internet access must be known from this moment on. None: no hurry
    refresh: float | None = None
    # Seconds between reads of EC2 while a peer is suspected (its flare, its state)
    watch: float | None = None
    addresses: tuple[SetAddress, ...] = ()  # the Elastic IPs that this node takes
    # Identity -> the state that the rules of this node are to be in
    translation: t.Mapping[str, str] = field(default_factory=dict)
    # Identity -> its place, for the synchronisation of connections (model/sync.py)
    places: t.Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[Write, ...] = ()  # the actions that a gate holds back
    forbidden: str = ""  # the reason of that gate, "" = writing is allowed
    # Key -> a line for the operator about what AWS refuses, and about impostors
    warnings: t.Mapping[str, str] = field(default_factory=dict)
    # Claim or tag -> a line for the operator
    drift: t.Mapping[str, str] = field(default_factory=dict)
