# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Synchronised connections: the place of each identity, and a return that waits for its flows.

Pure. All of it is a help: without ``state_sync``, or without an answer, nothing waits
(docs/design.md, "Synchronised connections").
"""

from __future__ import annotations

import typing as t

from ..model.cluster import ACTIVE, ROUTE_ACTIVE, Claim
from ..model.evidence import NOTHING_HEARD
from ..model.memory import Memory
from ..model.nat import RESET, Identity
from ..model.settings import Config
from ..model.sync import AWAY, ENDED, HERE
from .case import Case
from .identities import has, is_at

ENOUGH_FLOWS = 0.9  # of the flows of the owner: short ones begin and end while they are counted
FLOWS_WITHIN = 60.0  # seconds for which a return waits for them


def places(case: Case, states: t.Mapping[str, str]) -> dict[str, str]:
    """The place of each identity that this node may carry (model/sync.py).

    Empty before the first reading of routes. ``states`` are those of the translation.
    """
    config, routes = case.config, case.evidence.routes
    here = {
        claim.home
        for claim, view in routes.items()
        if view.state == ROUTE_ACTIVE and case.owners.get(view.target or "") == config.self_name and has(config, claim)
    }
    found = {each.name: AWAY for each in config.nat.identities if routes}
    for each in config.nat.identities:
        if each.name in here:
            found[each.name] = ENDED if states.get(each.name) == RESET and _is_elsewhere(case, each) else HERE
    return found


def _is_elsewhere(case: Case, identity: Identity) -> bool:
    """Whether the Elastic IP of an identity is not here. That of this node is, if nothing is known."""
    config, own = case.config, case.evidence.instances.get(case.config.self_name)
    view = case.evidence.addresses.get(config.identities[identity.name].allocation)
    if view is None or own is None:
        return identity.name != config.self_name
    return not is_at(view, own, identity)


def abroad(config: Config, found: t.Mapping[str, str]) -> tuple[str, ...]:
    """The identities that are not at home, by their places. Their flows are counted."""
    return tuple(name for name, place in found.items() if (place == AWAY) == (name == config.self_name))


def note_due(case: Case, proven: bool) -> Memory:
    """The memory of the moment since which this node could take its identity back.

    ``proven``: for long enough (L7).
    """
    config, memory = case.config, case.memory
    if not config.state_sync:
        return memory
    gone = places(case, {}).get(config.self_name) == AWAY
    due = gone and proven and case.evidence.me.state == ACTIVE
    since = memory.due_since if memory.due_since is not None else case.evidence.now
    return memory.updated(due_since=since if due else None)


def lacks_flows(case: Case, claim: Claim) -> str:
    """Why the return of a claim would end connections, in words, or "".

    The return waits no longer than ``FLOWS_WITHIN``, and for nothing that is not known.
    """
    config, due = case.config, case.memory.due_since
    waited = 0.0 if due is None else case.evidence.now - due
    if not config.state_sync or not has(config, claim) or waited >= FLOWS_WITHIN:
        return ""
    owner = case.owners.get(case.evidence.routes[claim].target or "") or ""
    report = case.evidence.heard.get(owner, NOTHING_HEARD).report
    theirs = report.flows.get(claim.home) if report is not None else None
    here = case.evidence.flows.get(claim.home)
    if theirs is None or here is None or here >= theirs * ENOUGH_FLOWS:
        return ""
    left = FLOWS_WITHIN - waited
    return f"{here} of the {theirs} connections of {owner} have arrived here; the return waits {left:.0f} s at most"
