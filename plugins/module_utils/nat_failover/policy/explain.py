# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why things are as they are: for each claim and each peer the present, the next step, and all that
it waits for. Pure.

It uses the rules of the decision themselves, over the same evidence, so it cannot contradict them.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import ROUTE_ACTIVE, Claim
from ..model.evidence import FAILED, HEALTHY, UNKNOWN, Evidence
from ..model.memory import Memory
from ..model.settings import Config
from . import (
    fence_lock,
    fence_objections,
    fence_steps,
    fitness,
    heirs,
    identities,
    ownership,
    services,
    synchronised,
    verdict,
)
from .case import Case, Fence
from .decide import STATES


class Explanation(t.NamedTuple):
    """One claim or peer."""

    kind: str  # route | peer
    subject: str  # the route table, or the peer's name
    now: str  # the present, with its evidence
    would: str  # the next step of this node, "" = none
    waits: tuple[str, ...]  # the conditions that hold the next step back. Empty: nothing does
    met: int = 0  # the number of conditions of a fence that are met


def explain(config: Config, memory: Memory, evidence: Evidence) -> list[Explanation]:
    """Every claim and every peer, as this node sees them."""
    case = fitness.assess(config, memory, evidence)
    return [*(_route(case, claim) for claim in evidence.routes), *(_peer(case, name) for name in memory.peers)]


def gates(case: Case) -> list[str]:
    """All that forbids this node to write."""
    observing = ["mode is observe"] if case.config.mode == "observe" else []
    paused = [case.evidence.paused] if case.evidence.paused else []
    return [*observing, *paused, *fitness.unfit_reasons(case.config, case.evidence)]


# --- routes ---------------------------------------------------------------------------------------


def _route(case: Case, claim: Claim) -> Explanation:
    view = case.evidence.routes[claim]
    owner = case.owners.get(view.target or "")
    known = owner is not None and owner in case.memory.peers
    vacancy = ownership.vacancy_reason(case.peer(owner or "")) if known else ""
    vacancy = vacancy or services.claim_vacancy(case, claim, owner or "")
    about = ownership.ClaimCase(case, heirs.heirs_of(case), claim, view, owner, vacancy)
    age = case.evidence.now - view.read_at
    place = owner or view.target or "nobody"
    past = not case.evidence.me.ec2 or fitness.is_old(case.config, view.read_at, case.evidence.now)
    seen = "was last seen with" if past else "is with"
    now = f"{claim} {seen} {place} (EC2: {view.state}, read {age:.1f} s ago), home {claim.home}"
    would, waits = _step(about)
    if past and not would:
        waits = ["this node cannot read where it leads now: ask a node that EC2 answers"]
    return Explanation("route", claim.route_table, now, would, tuple(waits))


def _step(about: ownership.ClaimCase) -> tuple[str, list[str]]:
    """(the next step of this node, all that it waits for)."""
    case, claim = about.case, about.claim
    name = case.config.self_name
    if _is_settled(about):
        return "", [_settled(about)]
    drift = ownership.drift_of(about)
    if drift:
        return "", [drift]
    rule = next((rule for rule in ownership.RULES if rule.applies(about)), None)
    if rule is None:
        return "", [_stays(about)]
    if not rule.kind:
        return "", [f"the route targets {name} already, and EC2 will notice that it runs"]
    reason = rule.reason(about)
    if not reason:
        return f"{rule.kind} {claim}", [_not_yet(about, rule.kind)]
    busy = ("route", claim.route_table, claim.destination) in case.evidence.busy
    waits = gates(case) + (["a write of it is under way, or waits for its next attempt"] if busy else [])
    return f"{rule.kind} {claim}: {reason}", waits


def _is_settled(about: ownership.ClaimCase) -> bool:
    """Whether the claim is where this node wants it."""
    home = about.owner == about.claim.home and not about.vacancy
    return about.view.state == ROUTE_ACTIVE and (about.owner == about.case.config.self_name or home)


def _settled(about: ownership.ClaimCase) -> str:
    """The reason why nothing is to be done, and what would change it."""
    case, claim, owner = about.case, about.claim, about.owner or ""
    service = _service(about)
    if owner == case.config.self_name and service:
        return service
    if owner == case.config.self_name and claim.home != owner:
        peer = case.memory.peers.get(claim.home)
        found = peer.verdict if peer is not None else UNKNOWN
        return f"{claim.home} takes it back by itself, once it has proven its forwarding (it is {found} now)"
    if owner == case.config.self_name:
        return "it is at home"
    others = [name for name in about.heirs.eligible if name != owner]
    serving = [name for name in services.serving(case, others, claim) if name != owner] or others
    carrying = identities.heirs_among(case.config, serving, claim)
    heir = heirs.heir(claim, carrying, identities.subject(case.config, claim))
    if heir is None:
        return f"it is at home; nobody could take it if {owner} failed"
    depends = case.config.service_of.get(claim.destination)
    also = f", or when {depends} does not work there" if depends else ""
    return f"it is at home; {heir} takes it when {owner} fails, does not forward, or drains{also}"


def _service(about: ownership.ClaimCase) -> str:
    """The reason why a claim whose service does not work on this node is with this node, or ""."""
    case, name = about.case, about.case.config.self_name
    if services.works_at(case, name, about.claim):
        return ""
    found = heirs.heir(about.claim, services.serving(case, about.heirs.eligible, about.claim))
    text = f"its service {case.config.service_of[about.claim.destination]} does not work here"
    return f"{text}; {found} takes it" if found else f"{text}, nor on any other node that may own claims"


def _stays(about: ownership.ClaimCase) -> str:
    """The reason why the claim stays with an owner that is not its home."""
    case, owner = about.case, about.owner or ""
    peer = case.memory.peers.get(owner)
    if peer is None:
        return f"{owner} is not known yet"
    if peer.verdict != HEALTHY:
        return f"{owner} is {peer.verdict}: by that verdict its routes {STATES[peer.verdict].claims}"
    at_home = about.claim.home == case.config.self_name
    if at_home and not services.works_at(case, case.config.self_name, about.claim):
        return f"its service {case.config.service_of[about.claim.destination]} does not work here"
    if about.claim.home == case.config.self_name and case.config.returns.policy != "auto":
        return "the return policy is manual: `nat-failover return` takes it back"
    if about.claim.home == case.config.self_name:
        return f"this node may own no claims now ({'; '.join(gates(case)) or case.evidence.me.state})"
    return f"{owner} serves it; {about.claim.home} takes it back once it has proven its forwarding"


def _not_yet(about: ownership.ClaimCase, kind: str) -> str:
    """The reason why a step that applies is not taken."""
    case = about.case
    if kind == "return":
        if not services.settled(case, about.claim):
            worked, wanted = services.well_for(case, about.claim)
            name = case.config.service_of[about.claim.destination]
            return f"its service {name} has worked here for {worked:.0f} of {wanted:.0f} s"
        proven = ownership.proven_for(case.memory, case.evidence.now)
        needed = ownership.return_after(case.config, case.memory)
        lacking = synchronised.lacks_flows(case, about.claim) if proven >= needed else ""
        if lacking:
            return lacking
        flaps = f", doubled by {case.memory.flaps} flaps" if case.memory.flaps else ""
        return f"forwarding is proven for {proven:.0f} of {needed:.0f} s{flaps}; {needed - proven:.0f} s are left"
    heir = about.heir(ownership.candidates(about))
    if heir is None and about.claim.destination in case.config.service_of and about.heirs.eligible:
        name = case.config.service_of[about.claim.destination]
        return f"its service {name} works on no other node that may own it"
    if heir is None:
        return f"no node may own it: {'; '.join(gates(case)) or 'all are drained'}"
    if heir != case.config.self_name:
        return f"{heir} is the heir and takes it"
    return "EC2's reading of the route is older than the doubt in its owner; it is read anew"


# --- peers ----------------------------------------------------------------------------------------


def _peer(case: Case, name: str) -> Explanation:
    about = case.peer(name)
    peer, instance = about.peer, about.instance
    since = case.evidence.now - peer.since
    now = f"{name} is {peer.verdict} for {since:.0f} s: {verdict.evidence_now(about)}; its routes {_claims(case, name)}"
    if instance is None or not instance.instance_id:
        return Explanation("peer", name, now, "", ("EC2 has not shown its instance yet",))
    fence = Fence(case, name, peer, instance)
    if fence.fencer:
        step, reason = fence_steps.next_step(fence)
        begun = f"{fence.fencer} has begun a fence (stage {fence.stage})"
        waits = tuple(gates(case)) if step else (begun,)
        return Explanation("peer", name, now, step and f"{step} {name}: {reason}", waits)
    if peer.verdict != FAILED and not fence.order:
        return Explanation("peer", name, now, "", (f"a fence needs the verdict failed; it is {peer.verdict}",))
    return _fence(case, fence, now)


def _claims(case: Case, name: str) -> str:
    """The consequence for the peer's claims."""
    vacancy = ownership.vacancy_reason(case.peer(name))
    return f"move: it {vacancy}" if vacancy else STATES[case.memory.peers[name].verdict].claims


def _fence(case: Case, fence: Fence, now: str) -> Explanation:
    """The fence of a failed peer: all objections, those that hold and those that do not."""
    rows = fence_objections.objections(fence)
    step, lock = fence_lock.guard(case, fence.name, "mark", False)
    waits = against_fence(case, fence) + ([f"the fence lock comes first: {lock}"] if step != "mark" and lock else [])
    met = sum(1 for holds, _text in rows if not holds)
    return Explanation("peer", fence.name, now, f"stop and start {fence.name}", tuple(waits), met)


def against_fence(case: Case, fence: Fence) -> list[str]:
    """All that keeps this node from a fence of the peer."""
    config = case.config
    never = []
    if config.fence.policy == "none":
        never.append("the fence policy is none")
    if config.mode == "route":
        never.append("the mode is route, which fences nobody")
    if config.me.witness:
        never.append("this node is a witness, which fences nobody")
    if fence.peer.fence_stage not in ("", fence_objections.MARKED):
        never.append(f"one fence an incident: it is at the stage {fence.peer.fence_stage}")
    held = [text for holds, text in fence_objections.objections(fence) if holds]
    return [*never, *held, *gates(case)]
