# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner of each claim: when claims are vacant, and what this node writes.

Pure.

``VACANCIES`` says when a peer's claims need an heir, ``RULES`` what this node does about a claim.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import (
    DRAINED,
    DRAINING,
    GONE,
    ROUTE_ACTIVE,
    ROUTE_NO_TABLE,
    Claim,
    RouteView,
)
from ..model.evidence import FAILED, HEALTHY, PARTITIONED, SICK, SILENT, UNMANAGED
from ..model.memory import Memory
from ..model.plan import SetRoute
from ..model.settings import Config
from . import early, identities, services, suspicion, synchronised, verdict
from .case import Case, PeerCase
from .heirs import Heirs, heir, heirs_of

# The vacancies of a peer that still forwards.
DRAINS: t.Mapping[str, str] = {DRAINING: "is draining", DRAINED: "is drained"}


# --- vacancies ------------------------------------------------------------------------------------


def vacancy_reason(case: PeerCase) -> str:
    """Why this peer's claims need an heir, or ""."""
    if case.evidence.now - case.memory.awake_since < case.config.heartbeat.silent_after:
        # After a freeze everything known of the peer is as old as the freeze was long (L10)
        return ""
    reason = VACANCIES.get(case.peer.verdict)
    return reason(case) if reason is not None else ""


def _failed(case: PeerCase) -> str:
    # The knowledge of the peer is as old as the isolation. It may be back, and may have taken its
    # claims (L4).
    return "" if verdict.isolated(case) or verdict.swapping(case) else "has failed"


def _sick(case: PeerCase) -> str:
    return "does not forward"


def _drains(case: PeerCase) -> str:
    report = case.heard.report
    return DRAINS.get(report.state, "") if report is not None else ""


def _unmanaged(case: PeerCase) -> str:
    # Its service is dead. Only EC2 can show that its NAT is dead, too (L5).
    patient = case.evidence.now - case.peer.since <= case.config.unmanaged_after
    if patient or case.instance is None or case.instance.state not in GONE:
        return ""
    return f"is unmanaged, and EC2 shows it as {case.instance.state}"


# By verdict: the reason why the claims of such a peer need an heir, or "". The claims of others
# stay.
VACANCIES: t.Mapping[str, t.Callable[[PeerCase], str]] = {
    FAILED: _failed,
    SICK: _sick,
    HEALTHY: _drains,
    UNMANAGED: _unmanaged,
}


# --- what this node does about a claim ------------------------------------------------------------


class ClaimCase(t.NamedTuple):
    """One claim that this node does not own, in one tick."""

    case: Case
    heirs: Heirs
    claim: Claim
    view: RouteView
    owner: str | None  # None = the target is no node's interface
    vacancy: str  # why the owner's claims need an heir, or ""

    @property
    def former(self) -> str | None:
        """The node whose former instance the route targets, or None."""
        return self.case.memory.former.get(self.view.target or "") if self.owner is None else None

    def heir(self, nodes: t.Sequence[str]) -> str | None:
        """The heir of the claim among some nodes, or None."""
        config = self.case.config
        serving = services.heirs_among(self.case, nodes, self.claim, self.owner)
        return heir(
            self.claim, identities.heirs_among(config, serving, self.claim), identities.subject(config, self.claim)
        )

    def falls_to(self, nodes: t.Sequence[str]) -> bool:
        """Whether this node is the heir among some nodes."""
        return self.heir(nodes) == self.case.config.self_name


def _has_own_blackhole(case: ClaimCase) -> bool:
    # EC2 will notice that this node runs. The same write again changes nothing.
    return case.owner == case.case.config.self_name


def _is_ordered_out_of_drift(case: ClaimCase) -> bool:
    # L8 spares what an operator may have meant. Here an operator says otherwise.
    return _is_ordered(case) and case.owner is None and case.view.state == ROUTE_ACTIVE and case.former is None


def _is_ordered(case: ClaimCase) -> bool:
    """Whether an operator orders this node to take the claim, and it may own claims at all (L1)."""
    return case.claim in case.case.evidence.ordered and case.case.config.self_name in case.heirs.eligible


def _ordered(case: ClaimCase) -> str:
    return "an operator ordered it"


def _nothing_flows(case: ClaimCase) -> bool:
    return case.view.state != ROUTE_ACTIVE or case.former is not None


def _reason_to_mend(case: ClaimCase) -> str:
    if not case.falls_to(case.heirs.willing):
        return ""
    if case.former is not None:
        return f"the target is the interface of a former {case.former}"
    return f"EC2 shows the route as {case.view.state}"


def _is_vacant(case: ClaimCase) -> bool:
    return bool(case.vacancy)


def _reason_to_adopt(case: ClaimCase) -> str:
    owner = case.owner or ""
    peer = case.case.peer(owner)
    fresh = case.view.read_at >= suspicion.doubted_at(peer.peer)
    if not fresh and not (peer.peer.verdict == FAILED and early.covers(peer, case.view.read_at)):
        return ""
    return f"{owner} {case.vacancy}" if case.falls_to(candidates(case)) else ""


def candidates(case: ClaimCase) -> t.Sequence[str]:
    """The nodes among which the heir of a claim is.

    A node that drains, or lacks no more than a service, still forwards, so its claims do not move
    to an heir of last resort.
    """
    lost = case.owner is None or not case.vacancy or case.case.memory.peers[case.owner].verdict != HEALTHY
    return case.heirs.willing if lost else case.heirs.eligible


def _is_away_from_home(case: ClaimCase) -> bool:
    config = case.case.config
    own = case.claim.home == config.self_name and config.self_name in case.heirs.eligible
    serves = services.works_at(case.case, config.self_name, case.claim)
    automatic = config.returns.policy == "auto" and serves and not _would_swap(case)
    return own and (automatic or _is_ordered(case))


def _would_swap(case: ClaimCase) -> bool:
    # The owner forwards, cannot hear this node, and cannot see its flare. It would take the claim
    # again.
    owner = case.case.memory.peers.get(case.owner or "")
    return bool(case.case.evidence.me.unseen) and owner is not None and owner.verdict in (PARTITIONED, SILENT, FAILED)


def _reason_to_return(case: ClaimCase) -> str:
    if _is_ordered(case):
        return _ordered(case)  # it spares the damping (L7) and not the proof: only an eligible node gets here
    # A loss while this node was fit counts like a failure. Otherwise two nodes that do not hear
    # each other would take the claim from each other again and again.
    memory = case.case.memory
    proven = proven_for(memory, case.case.evidence.now)
    if not services.settled(case.case, case.claim):
        return ""
    if not proven_long_enough(case.case) or synchronised.lacks_flows(case.case, case.claim):
        return ""
    return f"forwarding is proven for {int(proven)} s"


def _never(case: ClaimCase) -> str:
    return ""


class Rule(t.NamedTuple):
    """The first rule that ``applies`` decides.

    This node writes the route if there is a ``reason``.
    """

    applies: t.Callable[[ClaimCase], bool]
    kind: str
    reason: t.Callable[[ClaimCase], str]


RULES: tuple[Rule, ...] = (
    Rule(_has_own_blackhole, "", _never),
    Rule(_is_ordered_out_of_drift, "adopt", _ordered),
    Rule(_nothing_flows, "mend", _reason_to_mend),  # at once: there is nothing to lose (L8)
    Rule(_is_vacant, "adopt", _reason_to_adopt),
    Rule(_is_away_from_home, "return", _reason_to_return),
)


def plan_claims(case: Case) -> tuple[tuple[SetRoute, ...], dict[str, str]]:
    """(routes that this node should write, drift: claim -> what is wrong with its route)."""
    own_name, owners, busy = case.config.self_name, case.owners, case.evidence.busy
    own_view = case.evidence.instances.get(own_name)
    if own_view is None or own_view.interface_id is None:
        return (), {}
    vacancies = {name: vacancy_reason(case.peer(name)) for name in case.memory.peers}
    heirs: Heirs | None = None
    actions: list[SetRoute] = []
    drift: dict[str, str] = {}
    for claim, view in case.evidence.routes.items():
        owner = owners.get(view.target or "")
        vacancy = vacancies.get(owner or "", "") or services.claim_vacancy(case, claim, owner or "")
        if view.state == ROUTE_ACTIVE and (owner == own_name or (owner == claim.home and not vacancy)):
            # Nearly always: the claim is with this node, or with its home, which needs no heir
            continue
        heirs = heirs or heirs_of(case)
        about = ClaimCase(case, heirs, claim, view, owner, vacancy)
        wrong = drift_of(about)
        if wrong:
            drift[str(claim)] = wrong
        elif ("route", claim.route_table, claim.destination) not in busy:
            # A claim that is being written is not planned again: among hundreds that would delay
            # the others.
            action = plan_claim(about, own_view.interface_id)
            if action is not None:
                actions.append(action)
    return tuple(actions), drift


def drift_of(case: ClaimCase) -> str:
    """The fault of a route that no node may repair, or "" (L8 drift is reported, not fought)."""
    claim, view = case.claim, case.view
    if _is_ordered_out_of_drift(case):
        return ""
    if view.state == ROUTE_NO_TABLE:
        return f"route table {claim.route_table} does not exist in EC2; create it, or remove it from the configuration"
    if case.owner is None and view.state == ROUTE_ACTIVE and case.former is None:
        return f"{claim} targets {view.target}, which is no node of this cluster; the route is left alone"
    return ""


def plan_claim(case: ClaimCase, interface_id: str) -> SetRoute | None:
    """The route that this node should write for a claim, or None."""
    for rule in RULES:
        if rule.applies(case):
            break
    else:
        return None
    reason = rule.reason(case)
    if not reason:
        return None
    claim, source = case.claim, case.owner or case.view.target or "nobody"
    text = f"{rule.kind} {claim} from {source}: {reason}"
    return SetRoute(claim, interface_id, case.case.config.self_name, case.view, rule.kind, text)


# --- returns --------------------------------------------------------------------------------------


def proven_for(memory: Memory, now: float) -> float:
    """Seconds for which this node has been proven fit to take its claims back."""
    return now - max(at for at in (memory.fit_since, memory.lost_at, memory.awake_since) if at is not None)


def return_after(config: Config, memory: Memory) -> float:
    """Seconds of proven health before this node takes its claims back.

    Each flap doubles them (L7 return is damped).
    """
    factor: int = 2 ** min(memory.flaps, 30)
    return min(config.returns.after * factor, config.returns.maximum)


def proven_long_enough(case: Case) -> bool:
    """Whether this node is proven fit for long enough to take its claims back (L7)."""
    return proven_for(case.memory, case.evidence.now) >= return_after(case.config, case.memory)
