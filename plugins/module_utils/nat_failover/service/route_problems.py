# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of routes: dark, drift, away from home, read long ago. Each with its reason."""

from __future__ import annotations

import typing as t

from ..model.cluster import ACTIVE, Claim, RouteView, owners_of
from ..model.evidence import HEALTHY, NOTHING_HEARD, UNKNOWN, Evidence
from ..model.problem import Problem, parted
from ..policy import fitness, ownership, services
from ..policy.case import Case
from . import rows
from .parts import Parts

REPAIRED = "repair {}: the route returns by itself"


def problems(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    owners = owners_of(evidence.instances, parts.config.witnesses)
    old = [claim for claim, view in evidence.routes.items() if rows.is_old(parts, view.read_at, evidence.now)]
    if old:
        age = max(evidence.now - evidence.routes[claim].read_at for claim in old)
        yield Problem("old_reading", "", f"{len(old)} of {len(evidence.routes)} routes were last read {age:.0f} s ago")
    for claim, view in evidence.routes.items():
        owner, details = owners.get(view.target or ""), {"route_table": claim.route_table}
        drift = parts.plan.drift.get(str(claim))
        dark = rows.served(parts, evidence, claim, view) is False
        if dark:
            text = f"{claim} (home {claim.home}) -> {_dark(parts, evidence, owner, claim, view)}"
            yield Problem("dark", str(claim), text, details={"by_hand": _by_hand(parts, evidence, claim, view)})
        if drift is not None and (not dark or rows.leads_past_nat(claim, view)):
            details = {"home": claim.home, **details, "by_hand": _home_by_hand(evidence, claim)}
            yield Problem("drift", str(claim), drift, details=details)
        elif not dark and owner is not None and owner != claim.home:
            why, remedy = _why_away(parts, evidence, claim)
            line = f"{claim} is with {owner}, away from its home {claim.home}: {why}"
            yield Problem("away", str(claim), line, details=details, remedy=remedy)
    others = {str(claim) for claim in evidence.routes}
    for key, line in parts.plan.drift.items():
        if key not in others:
            address = key.startswith("eipalloc-")
            what = "the Elastic IP or the private address" if address else "the tag or the instance"
            text, advice = (line, "") if address else parted(line)
            yield Problem("drift", key, text, remedy=advice or f"correct {what} that the line names")


def _dark(parts: Parts, evidence: Evidence, owner: str | None, claim: Claim, view: RouteView) -> str:
    """The reason why a route leads nowhere."""
    if rows.leads_past_nat(claim, view):
        return f"{view.target}, an internet gateway: hosts without a public address reach nothing"
    if owner is None:
        return f"{view.target or 'no target'}, which EC2 shows as {view.state}"
    if owner == parts.config.self_name:
        return f"{owner}, this node, which does not forward"
    peer, instance = parts.memory.peers.get(owner), evidence.instances[owner]
    return f"{owner}, which is {peer.verdict if peer else UNKNOWN} ({instance.state} in EC2)"


def _by_hand(parts: Parts, evidence: Evidence, claim: Claim, view: RouteView) -> str:
    """The command that gives a dark claim to a node that forwards, if this node knows one."""
    fit = evidence.me.forwarding and evidence.me.internet
    names = [parts.config.self_name] if fit and not parts.config.me.witness else []
    names += [name for name, peer in parts.memory.peers.items() if rows.SERVES.get(peer.verdict)]
    ids = [evidence.instances[name].interface_id for name in names if name in evidence.instances]
    found = next((each for each in ids if each), None)
    return rows.by_hand(claim, found, view.state) if found else "start a node that forwards"


def _home_by_hand(evidence: Evidence, claim: Claim) -> str:
    """The command that gives a claim back to its home."""
    home = evidence.instances.get(claim.home)
    return rows.by_hand(claim, home.interface_id if home and home.interface_id else "THE-INTERFACE-OF-" + claim.home)


class Away(t.NamedTuple):
    """The reason why a served claim is not at home, in words.

    ``remedy``: that of the reason. Empty: the code's.
    """

    why: str
    remedy: str = ""


def _why_away(parts: Parts, evidence: Evidence, claim: Claim) -> Away:
    """The reason why a served claim is not at home."""
    config, memory = parts.config, parts.memory
    if claim.home != config.self_name:
        return _home_of_peer(parts, evidence, claim)
    if parts.drain.why:
        return Away(f"this node is {parts.drain.state} ({parts.drain.why})", "nat-failover resume")
    if config.returns.policy != "auto":
        return Away("the return policy is manual", "nat-failover return")
    if evidence.paused:
        return Away(evidence.paused, "nat-failover unpause")
    reasons = fitness.unfit_reasons(config, evidence)
    if reasons:
        return Away("; ".join(reasons), REPAIRED.format("this node"))
    case = Case.of(config, memory, evidence)
    if not services.settled(case, claim):
        return Away(_service_away(case, claim))
    proven = ownership.proven_for(memory, evidence.now)
    needed = ownership.return_after(config, memory)
    flapped = f", doubled by {memory.flaps} flaps" if memory.flaps else ""
    return Away(
        f"home in {max(0.0, needed - proven):.0f} s: {proven:.0f} of {needed:.0f} s of forwarding proven{flapped}"
    )


def _home_of_peer(parts: Parts, evidence: Evidence, claim: Claim) -> Away:
    """The same for a claim whose home is a peer."""
    peer, heard = parts.memory.peers.get(claim.home), evidence.heard.get(claim.home, NOTHING_HEARD)
    state = heard.report.state if heard.report is not None else ACTIVE
    found = peer.verdict if peer is not None else UNKNOWN
    service = parts.config.service_of.get(claim.destination)
    if found == HEALTHY and heard.report is not None and service in heard.report.unwell:
        return Away(f"its service {service} does not work on {claim.home}", REPAIRED.format("that service"))
    if state != ACTIVE:
        return Away(f"{claim.home} is {found}, {state}", f"on {claim.home}, after the work: nat-failover resume")
    return Away(f"{claim.home} is {found}", "" if found == HEALTHY else REPAIRED.format(claim.home))


def _service_away(case: Case, claim: Claim) -> str:
    """The same for a claim that waits for its service on this node."""
    name = case.config.service_of[claim.destination]
    if name in case.evidence.me.unwell:
        return f"its service {name} does not work here"
    worked, needed = services.well_for(case, claim)
    return f"home in {needed - worked:.0f} s: its service {name} has worked here for {worked:.0f} of {needed:.0f} s"
