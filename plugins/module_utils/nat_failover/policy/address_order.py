# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which the routes and the Elastic IP of an identity move. Pure.

After a death they move side by side. In a planned move the node that holds the Elastic IP lives,
and data of the far end reaches clients by that node. A client answers it by the node that has the
routes by then, which so learns of each flow. So the routes are written first, and the Elastic IP
as soon as EC2 has answered. With synchronised connections that node knows the flows before.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import AddressView, Claim
from ..model.evidence import FAILED
from . import readings
from .case import Case

# Seconds for which a living peer may hold the Elastic IP of claims that are here. Route and address
# of one takeover are written side by side, and a reading may fall between the two.
PATIENCE = 3.0
GIVE_UP = 20.0  # seconds after which a route or an Elastic IP does not come any more: EC2 may take some
NEVER = float("-inf")


class Carried(t.NamedTuple):
    """The claims of an identity, all of which this node owns or takes in this tick."""

    read_at: float  # the oldest acceptable reading of the Elastic IP
    reason: str  # of its move
    taken: tuple[Claim, ...] = ()  # in this tick. Empty: all are here already
    kinds: frozenset[str] = frozenset()  # of taking them: adopt, return, mend


def after(case: Case, name: str, view: AddressView, carried: Carried) -> tuple[Claim, ...] | None:
    """The claims whose routes are written before an Elastic IP is taken, or None: it stays for now."""
    if not carried.taken:
        since = case.memory.astray.get(name, case.evidence.now)
        return () if _was_taken_back(case, name) or _may_follow(case, view, since) else None
    led = _has_led(case, name)
    if _is_planned(case, view, carried):
        return () if _knows_flows(case) and not led else carried.taken
    return None if led else ()


def oldest(case: Case, carried: Carried, first: t.Sequence[Claim]) -> float:
    """The oldest acceptable reading of an Elastic IP that comes after the routes of ``first``.

    Beside its routes it moves by the reading that these move by.
    """
    return max(carried.read_at, readings.recent(case)) if first else carried.read_at


def holder(case: Case, view: AddressView) -> str | None:
    """The node whose interface has an Elastic IP, also one of its former instance. None: no node."""
    interface = view.interface_id or ""
    return case.owners.get(interface) or case.memory.former.get(interface)


def _is_planned(case: Case, view: AddressView, carried: Carried) -> bool:
    """Whether the node that holds an Elastic IP lives while its claims move."""
    return _is_handed_over(case, view) or ("return" in carried.kinds and _holder_lives(case, view))


def _is_handed_over(case: Case, view: AddressView) -> bool:
    """Whether the node that holds an Elastic IP lives, and hands its claims over."""
    return case.leaves(holder(case, view) or "") and _holder_lives(case, view)


def _holder_lives(case: Case, view: AddressView) -> bool:
    peer = case.memory.peers.get(holder(case, view) or "")
    return peer is not None and peer.verdict != FAILED


def _knows_flows(case: Case) -> bool:
    """Whether this node has the connections of its peer (level 2)."""
    return bool(case.config.state_sync) and not case.evidence.unsynchronised


def _has_led(case: Case, name: str) -> bool:
    """Whether an Elastic IP was lately taken beside the routes of its identity.

    Once for a move: a node that cannot write the routes must not hold the address.
    """
    return case.evidence.now - case.memory.led.get(name, NEVER) < case.config.returns.maximum


def _was_taken_back(case: Case, name: str) -> bool:
    """Whether the claims of this node are here because it has just taken them back."""
    at = case.memory.returned_at
    return name == case.config.self_name and at is not None and case.evidence.now - at < GIVE_UP


def _may_follow(case: Case, view: AddressView, since: float) -> bool:
    """Whether an Elastic IP may be fetched after its claims. A living peer may be about to take them."""
    waits = _holder_lives(case, view) and not _is_handed_over(case, view)
    return not waits or case.evidence.now - since >= PATIENCE
