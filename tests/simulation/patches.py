# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of the policy. Each takes one precaution away."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from unittest import mock

from nat_failover.model.cluster import DRAINED, DRAINING, ROUTE_MISSING, Claim
from nat_failover.model.evidence import FAILED, UNMANAGED
from nat_failover.model.memory import Memory
from nat_failover.model.settings import Config
from nat_failover.policy import (
    address_order,
    fence_lock,
    fence_objections,
    fence_steps,
    fencing,
    identities,
    ownership,
    services,
    suspicion,
    verdict,
)
from nat_failover.policy.case import Case, Fence, PeerCase

from .service import Service

Patches = t.Sequence[t.Any]


def patched(module: t.Any, name: str, value: t.Any) -> t.Any:
    return mock.patch.object(module, name, value)


def without_objection(*words: str) -> t.Any:
    """The list of objections to a fence without those that begin with some words."""
    real = fence_objections.objections

    def fewer(fence: Fence) -> t.Any:
        return tuple(row for row in real(fence) if not row[1].startswith(words))

    return patched(fence_objections, "objections", fewer)


def believing() -> Patches:
    """Never takes itself for the suspect."""
    unasked = [patched(verdict, name, lambda case: False) for name in ("isolated", "waits_for_proof")]
    return [patched(verdict, "self_doubt", no_reason), *unasked]


def no_reason(*arguments: t.Any) -> str:
    return ""


def fight() -> t.Any:
    """Takes what points elsewhere for a missing route."""
    real = ownership.plan_claims

    def fighting(case: Case) -> t.Any:
        routes = {
            claim: view if view.target is None or view.target in case.owners else replace(view, state=ROUTE_MISSING)
            for claim, view in case.evidence.routes.items()
        }
        actions, drift = real(case._replace(evidence=replace(case.evidence, routes=routes)))
        return tuple(replace(action, before=case.evidence.routes[action.claim]) for action in actions), drift

    return patched(ownership, "plan_claims", fighting)


def forgetful_start() -> t.Any:
    """Stops a node and believes that it will start by itself."""
    rules = tuple(rule._replace(step="") if rule.step == "start" else rule for rule in fence_steps.RULES)
    return patched(fence_steps, "RULES", rules)


def no_memory_of_fences() -> t.Any:
    """Each look at a dead node begins a new fence."""
    real = fence_steps.go_on

    def again(fence: Fence) -> tuple[str, str]:
        step = real(fence)
        dead = fence.peer.verdict == "failed" and fence.instance.state == "running"
        return ("stop", "it is still dead") if not step[0] and dead else step

    return patched(fence_steps, "go_on", again)


def no_wake(config: Config, memory: Memory, evidence: t.Any) -> Memory:
    return replace(memory, last_tick=evidence.now)


def short(case: t.Any, heard_at: float | None) -> float:
    """All silence that is more than one lost packet counts for long."""
    return 9.0 if heard_at is None or case.evidence.now - heard_at > 0.15 else 0.0


def trusting() -> t.Any:
    """Takes its internet access for proven since ever."""
    real = verdict.self_doubt

    def trusting(case: PeerCase) -> str:
        return real(case.after(replace(case.peer, proven_at=-1e9)))

    return patched(verdict, "self_doubt", trusting)


def once_healthy() -> t.Any:
    """A node that was seen healthy before it was off is still trusted: otherwise that alone would spare a replacement."""
    real = fencing._observe

    def trusting(peer: t.Any, *arguments: t.Any) -> t.Any:
        return replace(real(peer, *arguments), seen_healthy=peer.seen_healthy)

    return patched(fencing, "_observe", trusting)


def without_lock(case: Case, name: str, step: str, under_way: bool) -> tuple[str, str]:
    return step, ""


def steps_left_out(*unwanted: str) -> t.Any:
    """Steps about the lock that are forgotten."""
    real = fence_lock.guard

    def forgetting(*arguments: t.Any) -> tuple[str, str]:
        step, reason = real(*arguments)
        return ("", "") if step in unwanted else (step, reason)

    return patched(fence_lock, "guard", forgetting)


def blind_to_items() -> t.Any:
    real = suspicion.note_signs

    def blind(case: PeerCase) -> t.Any:
        return real(case._replace(evidence=replace(case.evidence, witness=None, items={})))

    return patched(suspicion, "note_signs", blind)


def deaf_to_echoes() -> t.Any:
    """Takes a kernel that answers for a dead one."""
    rows = tuple(row._replace(verdict=FAILED) if row.verdict == UNMANAGED else row for row in verdict.TABLE)
    return patched(verdict, "TABLE", rows)


def leaves_drainers() -> t.Any:
    """Waits until a node that drains has failed."""
    real = ownership.vacancy_reason

    def waiting(case: PeerCase) -> str:
        reason = real(case)
        return "" if reason in ownership.DRAINS.values() else reason

    return patched(ownership, "vacancy_reason", waiting)


def sick_by_a_service() -> t.Any:
    """Takes a node for sick whose service does not work."""
    real = ownership.vacancy_reason

    def judging(case: PeerCase) -> str:
        report = case.heard.report
        return real(case) or ("is without its service" if report is not None and report.unwell else "")

    return patched(ownership, "vacancy_reason", judging)


def at_once(config: Config, memory: Memory) -> float:
    return 0.0


def serving_among(case: Case, nodes: t.Sequence[str], claim: Claim) -> list[str]:
    """Heirs of a service without those of last resort."""
    return [name for name in nodes if services.works_at(case, name, claim)]


def all_that_drain(case: Case) -> list[str]:
    """All nodes that drain and forward, for whatever reason, as heirs of last resort."""
    reports = {name: heard.report for name, heard in case.evidence.heard.items()}
    drain = [name for name, report in reports.items() if report is not None and report.leaves and report.forwarding]
    here = case.evidence.me.state in (DRAINING, DRAINED) and not case.unfit
    return sorted([*drain, *[case.config.self_name] * here])


def unmarked() -> t.Any:
    """Stops where it should only mark."""
    real = fence_steps.next_step

    def hasty(fence: Fence) -> tuple[str, str]:
        step, reason = real(fence)
        return ("stop", reason) if step == "mark" else (step, reason)

    return patched(fence_steps, "next_step", hasty)


def any_mode() -> t.Any:
    """Plans fences as if everything were allowed."""
    real = fencing.plan

    def planning(case: Case) -> t.Any:
        config = replace(case.config, mode="full", fence=replace(case.config.fence, policy="stop_start"))
        return real(case._replace(config=config))

    return patched(fencing, "plan", planning)


def wanted(case: Case, name: str, routes: t.Any) -> address_order.Carried:
    """Takes each Elastic IP for one whose claims are about to come."""
    return address_order.Carried(0.0, "it is wanted", tuple(c for c in case.config.claims if c.home == name))


def without_drift(words: str) -> t.Any:
    """Takes Elastic IPs in spite of one reason against it."""
    real = identities.drift_of

    def blind(case: Case, allocation: str, view: t.Any) -> str:
        reason = real(case, allocation, view)
        return "" if words in reason else reason

    return patched(identities, "drift_of", blind)


def address_first() -> t.Any:
    """Writes the routes of an identity once its Elastic IP is here."""
    real = ownership.plan_claims

    def waiting(case: Case) -> t.Any:
        routes, drift = real(case)
        own = case.evidence.instances[case.config.self_name].interface_id if routes else ""
        here = {
            name
            for name, egress in case.config.identities.items()
            for view in [case.evidence.addresses.get(egress.allocation)]
            if view is not None and view.interface_id == own
        }
        wants = [action for action in routes if identities.has(case.config, action.claim)]
        return tuple(action for action in routes if action not in wants or action.claim.home in here), drift

    return patched(ownership, "plan_claims", waiting)


def wall_clock() -> Patches:
    """Takes the time of day for the time that has passed, in either shell."""
    from .shipping.runtime import VirtualRuntime  # not above: the fast shell needs no greenlets

    fast, shipping = Service.evidence, VirtualRuntime.now

    def evidence(service: Service) -> t.Any:
        seen = fast(service)
        return replace(seen, now=seen.now + service.host.clock_error)

    def now(runtime: t.Any) -> float:
        return shipping(runtime) + t.cast(float, runtime.host.clock_error)

    return [patched(Service, "evidence", evidence), patched(VirtualRuntime, "now", now)]
