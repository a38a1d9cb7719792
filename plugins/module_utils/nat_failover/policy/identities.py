# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities: the Elastic IP of a node follows its claims, and never leads them. Pure.

Routes are the referee. A node takes an Elastic IP only for itself, if it owns all claims of the
identity or takes the missing ones in the same tick: after a death beside them, in a planned move
after them. A fault of an Elastic IP leaves the claims as they are (docs/design.md, "An identity
that moves").
"""

from __future__ import annotations

import typing as t

from ..model.cluster import ROUTE_ACTIVE, ROUTE_NO_TABLE, AddressView, Claim, InstanceView
from ..model.memory import Memory
from ..model.nat import CARRY, RESET, RESUME, Identity
from ..model.plan import SetAddress, SetRoute
from ..model.settings import Config
from . import address_order, readings
from .address_order import GIVE_UP, NEVER, Carried
from .case import Case

# Seconds for which new flows leave by the public address of the node itself, once EC2 has shown the
# Elastic IP here. The internet gateway may follow later than EC2 answers. NGINX's guide to high
# availability by Elastic IP reports five to six seconds.
SETTLE = 10.0
NOT_HERE = float("inf")


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
        identity = here.get(name)
        wrong = drift_of(case, egress.allocation, view) or _unusable(case, identity)
        if wrong:
            drift[egress.allocation] = wrong
            continue
        if identity is None or is_at(view, own, identity):
            continue
        carried = _carries(case, name, routes)
        if carried is None:
            continue
        if not carried.taken:
            astray[name] = memory.astray.get(name, case.evidence.now)
        after = address_order.after(case, name, view, carried)
        if after is None:
            continue
        oldest = address_order.oldest(case, carried, after)
        stale = view.read_at < oldest
        if stale and not after:
            unread.append(oldest)
        elif ("address", egress.allocation) not in case.evidence.busy:
            holder = address_order.holder(case, view) or "nobody"
            text = f"address {egress.allocation} of {name} from {holder} to {config.self_name}: {carried.reason}"
            place = (own.interface_id, identity.address)
            actions.append(SetAddress(name, egress.allocation, *place, view, text, after, stale))
    memory = memory.updated(astray=astray, arrived=_arrivals(case, own), led=_led(case, own))
    return memory, Addresses(tuple(actions), drift, max(unread) if unread else None)


def is_at(view: AddressView, own: InstanceView, identity: Identity) -> bool:
    """Whether EC2 shows an Elastic IP at this node's address for the identity."""
    return (view.interface_id, view.private) == (own.interface_id, identity.address)


def _arrivals(case: Case, own: InstanceView) -> dict[str, float]:
    """Since when each Elastic IP is here, of those that were elsewhere before."""
    found = dict(case.memory.arrived)
    for each in case.config.nat.identities:
        view = case.evidence.addresses.get(case.config.identities[each.name].allocation)
        if view is not None and not is_at(view, own, each):
            found[each.name] = NOT_HERE
        elif view is not None and found.get(each.name) == NOT_HERE:
            found[each.name] = case.evidence.now
    return found


def _led(case: Case, own: InstanceView) -> dict[str, float]:
    """When each Elastic IP was taken beside its routes, of those whose routes have not come."""
    return {name: at for name, at in case.memory.led.items() if not _has_moved(case, own, name)}


def _has_moved(case: Case, own: InstanceView, name: str) -> bool:
    """Whether EC2 shows the Elastic IP and all claims of an identity at this node."""
    identity = next((each for each in case.config.nat.identities if each.name == name), None)
    if identity is None:
        return True  # of a configuration before this one
    view = case.evidence.addresses.get(case.config.identities[name].allocation)
    return view is not None and is_at(view, own, identity) and _carries(case, name, ()) is not None


def note(memory: Memory, actions: t.Sequence[SetAddress], routes: t.Sequence[SetRoute], now: float) -> Memory:
    """The memory of Elastic IPs that were taken beside the routes, before these were seen here."""
    led = {action.identity for action in actions if not action.after} & {action.claim.home for action in routes}
    return memory.updated(led={**memory.led, **dict.fromkeys(led, now)}) if led else memory


def drift_of(case: Case, allocation: str, view: AddressView) -> str:
    """Why an Elastic IP must not be taken from where it is, or "" (L8)."""
    if not view.public:
        return (
            f"EC2 shows no Elastic IP {allocation} in this region and account; correct egress_address, or allocate one"
        )
    if view.interface_id is None:
        return ""
    holder = address_order.holder(case, view)
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
    if identity is None:
        return ""
    name, address, own = case.config.self_name, identity.address, case.evidence.instances[case.config.self_name]
    reasons = (
        (
            address == own.address,
            (
                f"{address} is the primary address of {name}, whose public address never moves; assign a further "
                f"private address for the identity of {identity.name}"
            ),
        ),
        (
            address in own.further_addresses,
            (
                f"{address} is an address of another interface of {name}, and the Elastic IP of {identity.name} is "
                f"associated with {own.interface_id} there; name an address of that one"
            ),
        ),
        (
            bool(own.addresses) and address not in own.addresses,
            (
                f"{own.interface_id} has no private address {address}, so {name} cannot carry the identity of "
                f"{identity.name}; assign it (AssignPrivateIpAddresses), or let the role do so "
                "(nat_instance_manage_egress_addresses)"
            ),
        ),
    )
    return next((text for applies, text in reasons if applies), "")


def _carries(case: Case, name: str, routes: t.Sequence[SetRoute]) -> Carried | None:
    """The claims of an identity, or None: this node neither owns all nor takes the rest.

    A claim whose route table was deleted has no clients, and counts for nothing.
    """
    config, evidence = case.config, case.evidence
    taken = {action.claim: action for action in routes if has(config, action.claim) and action.claim.home == name}
    settled = True
    views = {claim: view for claim, view in evidence.routes.items() if claim.home == name and has(config, claim)}
    there = {claim: view for claim, view in views.items() if view.state != ROUTE_NO_TABLE}
    for claim, view in there.items():
        here = view.state == ROUTE_ACTIVE and case.owners.get(view.target or "") == config.self_name
        if not here and claim not in taken:
            return None
        settled = settled and here
    if not there:
        return None
    if settled:
        return Carried(readings.recent(case), "its claims are here")
    first = min(taken.values(), key=lambda action: action.before.read_at)
    kinds = frozenset(action.kind for action in taken.values())
    return Carried(first.before.read_at, f"{first.kind} of its claims", tuple(taken), kinds)


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
    if is_at(view, own, identity):
        settled = now - case.memory.arrived.get(identity.name, NEVER) >= SETTLE
        return CARRY if settled and _carries(case, identity.name, ()) is not None else RESUME
    # The Elastic IP does not follow, so its flows cannot go on: clients learn it at once
    return RESET if now - case.memory.astray.get(identity.name, now) >= GIVE_UP else RESUME
