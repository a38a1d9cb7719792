# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities: the Elastic IP of a node follows its claims, and never leads them. Pure.

Routes are the referee. A node takes an Elastic IP only for itself, if it owns all claims of the
identity or takes the missing ones in the same tick. A fault of an Elastic IP leaves the claims as
they are (docs/design.md, "An identity that moves").
"""

from __future__ import annotations

import typing as t

from ..model.cluster import ROUTE_ACTIVE, AddressView, Claim
from ..model.evidence import FAILED
from ..model.memory import Memory
from ..model.plan import SetAddress, SetRoute
from ..model.settings import CARRY, RESET, RESUME, Config, Identity
from .case import Case

# Seconds for which a living peer may hold the Elastic IP of claims that are here. Route and address
# of one takeover are written side by side, and a reading may fall between the two.
PATIENCE = 3.0
GIVE_UP = 20.0  # seconds after which an Elastic IP does not come any more: EC2 may take some
NEVER = float("-inf")


class Addresses(t.NamedTuple):
    """The decision about all Elastic IPs."""

    actions: tuple[SetAddress, ...] = ()
    drift: t.Mapping[str, str] = {}  # allocation id -> why its Elastic IP stays where it is
    unread: float | None = None  # the oldest acceptable reading for an action that is held back


# --- claims ---------------------------------------------------------------------------------------


def has(config: Config, claim: Claim) -> bool:
    """Whether a claim belongs to an identity. One that depends on a service does not."""
    return claim.home in config.identities and claim.destination not in config.service_of


def subject(config: Config, claim: Claim) -> str:
    """The text that the heir of a claim is drawn by. All claims of an identity have one heir."""
    return claim.home if has(config, claim) else str(claim)


def heirs_among(config: Config, nodes: t.Sequence[str], claim: Claim) -> t.Sequence[str]:
    """Those of ``nodes`` that can carry the identity of a claim, or all if none can."""
    if not has(config, claim):
        return nodes
    waiting = {node.name for node in config.nodes if claim.home in node.waiting}
    return [name for name in nodes if name == claim.home or name in waiting] or nodes


# --- Elastic IPs ----------------------------------------------------------------------------------


def plan(case: Case, routes: t.Sequence[SetRoute]) -> tuple[Memory, Addresses]:
    """(the memory, the Elastic IPs that this node should take).

    ``routes`` are those that this node writes in this tick.
    """
    config, memory = case.config, case.memory
    own = case.evidence.instances.get(config.self_name)
    if not config.identities or own is None or own.interface_id is None:
        return memory, Addresses()
    here = {each.name: each for each in config.nat.identities}
    astray: dict[str, float] = {}
    actions: list[SetAddress] = []
    drift: dict[str, str] = {}
    unread: list[float] = []
    for name, egress in config.identities.items():
        view = case.evidence.addresses.get(egress.allocation)
        if view is None:
            continue  # not read: nothing is known, and nothing is written
        wrong = drift_of(case, egress.allocation, view) or _unusable(case, here.get(name))
        if wrong:
            drift[egress.allocation] = wrong
            continue
        identity = here.get(name)
        if identity is None or (view.interface_id, view.private) == (own.interface_id, identity.address):
            continue
        carried = _carries(case, name, routes)
        if carried is None:
            continue
        oldest, reason = carried
        if not reason:
            astray[name] = memory.astray.get(name, case.evidence.now)
            if not _may_follow(case, view, astray[name]):
                continue
            reason = "its claims are here"
        elif case.evidence.now - memory.led.get(name, NEVER) < config.returns.maximum:
            continue  # once for a takeover: a node that cannot write the routes must not hold the address
        if view.read_at < oldest:
            unread.append(oldest)
        elif ("address", egress.allocation) not in case.evidence.busy:
            holder = _holder(case, view) or "nobody"
            text = f"address {egress.allocation} of {name} from {holder} to {config.self_name}: {reason}"
            actions.append(SetAddress(name, egress.allocation, own.interface_id, identity.address, view, text))
    return memory.updated(astray=astray), Addresses(tuple(actions), drift, max(unread) if unread else None)


def note(memory: Memory, actions: t.Sequence[SetAddress], routes: t.Sequence[SetRoute], now: float) -> Memory:
    """The memory of Elastic IPs that were taken beside the routes, before these were seen here."""
    led = {action.identity for action in actions} & {action.claim.home for action in routes}
    return memory.updated(led={**memory.led, **dict.fromkeys(led, now)}) if led else memory


def drift_of(case: Case, allocation: str, view: AddressView) -> str:
    """Why an Elastic IP must not be taken from where it is, or "" (L8)."""
    if not view.public:
        return f"EC2 shows no Elastic IP {allocation} in this region; correct egress_address, or allocate one"
    if view.interface_id is None:
        return ""
    holder = _holder(case, view)
    if holder is None:
        return (
            f"{allocation} ({view.public}) is associated with {view.interface_id}, which is no node of this cluster; "
            "it is left alone. Disassociate it there if it is the identity of a node"
        )
    instance = case.evidence.instances.get(holder)
    if instance is not None and view.private == instance.address:
        return (
            f"{allocation} ({view.public}) is the public address of {holder} itself, at {view.private}; it is left "
            "alone. Give the node another public address, or name another Elastic IP in egress_address"
        )
    return ""


def _unusable(case: Case, identity: Identity | None) -> str:
    """Why this node cannot carry an identity, although the configuration says so, or ""."""
    own = case.evidence.instances[case.config.self_name]
    if identity is None:
        return ""
    if identity.address == own.address:
        return (
            f"{identity.address} is the primary address of {case.config.self_name}, whose public address never moves; "
            f"assign a further private address for the identity of {identity.name}"
        )
    if own.addresses and identity.address not in own.addresses:
        return (
            f"{own.interface_id} has no private address {identity.address}, so {case.config.self_name} cannot carry "
            f"the identity of {identity.name}; assign it (AssignPrivateIpAddresses)"
        )
    return ""


def _holder(case: Case, view: AddressView) -> str | None:
    """The node whose interface has an Elastic IP, also one of its former instance. None: no node."""
    interface = view.interface_id or ""
    return case.owners.get(interface) or case.memory.former.get(interface)


def _carries(case: Case, name: str, routes: t.Sequence[SetRoute]) -> tuple[float, str] | None:
    """(the oldest acceptable reading, why the Elastic IP comes along with routes of this tick).

    "": all claims are here already. None: this node neither owns all claims nor takes the rest.
    """
    config, evidence = case.config, case.evidence
    taken = {action.claim: action for action in routes if has(config, action.claim) and action.claim.home == name}
    settled = True
    claims = [claim for claim in evidence.routes if claim.home == name and has(config, claim)]
    for claim in claims:
        view = evidence.routes[claim]
        here = view.state == ROUTE_ACTIVE and case.owners.get(view.target or "") == config.self_name
        if not here and claim not in taken:
            return None
        settled = settled and here
    if not claims:
        return None
    if settled:
        return evidence.now - config.ec2.connect_timeout - config.ec2.read_timeout, ""
    first = min(taken.values(), key=lambda action: action.before.read_at)
    return first.before.read_at, f"{first.kind} of its claims"


def _may_follow(case: Case, view: AddressView, since: float) -> bool:
    """Whether an Elastic IP may be fetched after its claims. A living peer may be about to take them."""
    holder = _holder(case, view)
    peer = case.memory.peers.get(holder or "")
    waits = peer is not None and peer.verdict != FAILED
    return not waits or case.evidence.now - since >= PATIENCE


# --- translation ----------------------------------------------------------------------------------


def states(case: Case) -> dict[str, str]:
    """The state that the rules of this node are to be in, of each identity that it may carry.

    One that nothing is known of is left out: its rules stay as they are.
    """
    config, evidence = case.config, case.evidence
    own = evidence.instances.get(config.self_name)
    found: dict[str, str] = {}
    for each in config.nat.identities:
        allocation = config.identities[each.name].allocation
        view = evidence.addresses.get(allocation)
        if evidence.addresses_refused:
            found[each.name] = RESET
        elif view is not None and own is not None:
            found[each.name] = _state(case, each, allocation, view)
    return found


def _state(case: Case, identity: Identity, allocation: str, view: AddressView) -> str:
    own, now = case.evidence.instances[case.config.self_name], case.evidence.now
    if drift_of(case, allocation, view) or _unusable(case, identity):
        return RESET
    if (view.interface_id, view.private) == (own.interface_id, identity.address):
        carried = _carries(case, identity.name, ())
        return CARRY if carried is not None else RESUME
    # The Elastic IP does not follow, so its flows cannot go on: clients learn it at once
    return RESET if now - case.memory.astray.get(identity.name, now) >= GIVE_UP else RESUME
