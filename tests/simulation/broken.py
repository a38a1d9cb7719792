# SPDX-License-Identifier: GPL-3.0-or-later
"""Deliberately broken policies: each drops one precaution. The invariants must catch every one, or they prove nothing."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from unittest import mock

from nat_failover.model import liveness
from nat_failover.model.cluster import ROUTE_MISSING
from nat_failover.model.evidence import FAILED, UNMANAGED
from nat_failover.model.memory import Memory
from nat_failover.model.settings import Config
from nat_failover.observe import service_check
from nat_failover.policy import decide as policy
from nat_failover.policy import (
    early,
    fence_lock,
    fence_objections,
    fence_steps,
    fencing,
    fitness,
    heirs,
    identities,
    membership,
    ownership,
    pause,
    services,
    suspicion,
    verdict,
)
from nat_failover.policy.case import Case, Fence, PeerCase

from .service import Service

Patches = t.Sequence[t.Any]


def _patched(module: t.Any, name: str, value: t.Any) -> t.Any:
    return mock.patch.object(module, name, value)


def _without_objection(*words: str) -> t.Any:
    """The list of objections to a fence without those that begin with some words."""
    real = fence_objections.objections

    def fewer(fence: Fence) -> t.Any:
        return tuple(row for row in real(fence) if not row[1].startswith(words))

    return _patched(fence_objections, "objections", fewer)


def _believing() -> Patches:
    """Never takes itself for the suspect."""
    unasked = [_patched(verdict, name, lambda case: False) for name in ("isolated", "waits_for_proof")]
    return [_patched(verdict, "self_doubt", _no_reason), *unasked]


def _no_reason(*arguments: t.Any) -> str:
    return ""


def _fight() -> t.Any:
    """Takes what points elsewhere for a missing route."""
    real = ownership.plan_claims

    def fighting(case: Case) -> t.Any:
        routes = {
            claim: view if view.target is None or view.target in case.owners else replace(view, state=ROUTE_MISSING)
            for claim, view in case.evidence.routes.items()
        }
        actions, drift = real(case._replace(evidence=replace(case.evidence, routes=routes)))
        return tuple(replace(action, before=case.evidence.routes[action.claim]) for action in actions), drift

    return _patched(ownership, "plan_claims", fighting)


def _forgetful_start() -> t.Any:
    """Stops a node and believes that it will start by itself."""
    rules = tuple(rule._replace(step="") if rule.step == "start" else rule for rule in fence_steps.RULES)
    return _patched(fence_steps, "RULES", rules)


def _no_memory_of_fences() -> t.Any:
    """Each look at a dead node begins a new fence."""
    real = fence_steps.go_on

    def again(fence: Fence) -> tuple[str, str]:
        step = real(fence)
        dead = fence.peer.verdict == "failed" and fence.instance.state == "running"
        return ("stop", "it is still dead") if not step[0] and dead else step

    return _patched(fence_steps, "go_on", again)


def _no_wake(config: Config, memory: Memory, evidence: t.Any) -> Memory:
    return replace(memory, last_tick=evidence.now)


def _short(case: t.Any, heard_at: float | None) -> float:
    """All silence that is more than one lost packet counts for long."""
    return 9.0 if heard_at is None or case.evidence.now - heard_at > 0.15 else 0.0


def _trusting() -> t.Any:
    """Takes its internet access for proven since ever."""
    real = verdict.self_doubt

    def trusting(case: PeerCase) -> str:
        return real(case.after(replace(case.peer, proven_at=-1e9)))

    return _patched(verdict, "self_doubt", trusting)


def _once_healthy() -> t.Any:
    """A node that was seen healthy before it was off is still trusted: otherwise that alone would spare a replacement."""
    real = fencing._observe

    def trusting(peer: t.Any, *arguments: t.Any) -> t.Any:
        return replace(real(peer, *arguments), seen_healthy=peer.seen_healthy)

    return _patched(fencing, "_observe", trusting)


def _without_lock(case: Case, name: str, step: str, under_way: bool) -> tuple[str, str]:
    return step, ""


def _steps_left_out(*unwanted: str) -> t.Any:
    """Steps about the lock that are forgotten."""
    real = fence_lock.guard

    def forgetting(*arguments: t.Any) -> tuple[str, str]:
        step, reason = real(*arguments)
        return ("", "") if step in unwanted else (step, reason)

    return _patched(fence_lock, "guard", forgetting)


def _blind_to_items() -> t.Any:
    real = suspicion.note_signs

    def blind(case: PeerCase) -> t.Any:
        return real(case._replace(evidence=replace(case.evidence, witness=None, items={})))

    return _patched(suspicion, "note_signs", blind)


def _deaf_to_echoes() -> t.Any:
    """Takes a kernel that answers for a dead one."""
    rows = tuple(row._replace(verdict=FAILED) if row.verdict == UNMANAGED else row for row in verdict.TABLE)
    return _patched(verdict, "TABLE", rows)


def _leaves_drainers() -> t.Any:
    """Waits until a node that drains has failed."""
    real = ownership.vacancy_reason

    def waiting(case: PeerCase) -> str:
        reason = real(case)
        return "" if reason in ownership.DRAINS.values() else reason

    return _patched(ownership, "vacancy_reason", waiting)


def _sick_by_a_service() -> t.Any:
    """Takes a node for sick whose service does not work."""
    real = ownership.vacancy_reason

    def judging(case: PeerCase) -> str:
        report = case.heard.report
        return real(case) or ("is without its service" if report is not None and report.unwell else "")

    return _patched(ownership, "vacancy_reason", judging)


def _at_once(config: Config, memory: Memory) -> float:
    return 0.0


def _unmarked() -> t.Any:
    """Stops where it should only mark."""
    real = fence_steps.next_step

    def hasty(fence: Fence) -> tuple[str, str]:
        step, reason = real(fence)
        return ("stop", reason) if step == "mark" else (step, reason)

    return _patched(fence_steps, "next_step", hasty)


def _any_mode() -> t.Any:
    """Plans fences as if everything were allowed."""
    real = fencing.plan

    def planning(case: Case) -> t.Any:
        config = replace(case.config, mode="full", fence=replace(case.config.fence, policy="stop_start"))
        return real(case._replace(config=config))

    return _patched(fencing, "plan", planning)


def _without_drift(words: str) -> t.Any:
    """Takes Elastic IPs in spite of one reason against it."""
    real = identities.drift_of

    def blind(case: Case, allocation: str, view: t.Any) -> str:
        reason = real(case, allocation, view)
        return "" if words in reason else reason

    return _patched(identities, "drift_of", blind)


def _address_first() -> t.Any:
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

    return _patched(ownership, "plan_claims", waiting)


def _wall_clock() -> Patches:
    """Takes the time of day for the time that has passed, in either shell."""
    from .shipping.runtime import VirtualRuntime  # not above: the fast shell needs no greenlets

    fast, shipping = Service.evidence, VirtualRuntime.now

    def evidence(service: Service) -> t.Any:
        seen = fast(service)
        return replace(seen, now=seen.now + service.host.clock_error)

    def now(runtime: t.Any) -> float:
        return shipping(runtime) + t.cast(float, runtime.host.clock_error)

    return [_patched(Service, "evidence", evidence), _patched(VirtualRuntime, "now", now)]


# name -> (what is wrong with it, the patches)
BROKEN: t.Mapping[str, tuple[str, t.Callable[[], Patches]]] = {
    "unproven": (
        "acts without having proven its own forwarding (L1, L4)",
        lambda: [_patched(fitness, "unfit_reason", _no_reason), *_believing()],
    ),
    "own silence": (
        "takes its own silence for the death of the others (L4)",
        _believing,
    ),
    "hasty": (
        "one late heartbeat decides (hysteresis)",
        lambda: [_patched(verdict, "silence", _short), _patched(verdict, "LEAST_UNANSWERED", 0), _trusting()],
    ),
    "no tie-break": (
        "fences without waiting for the one of higher rank (L3)",
        lambda: [_patched(Config, "rank", lambda self, name: 0), _without_objection("a peer is fencing")],
    ),
    "deaf to flares": (
        "ignores the flares of a silent peer (L3)",
        lambda: [_patched(verdict, "alive_elsewhere", _no_reason), _without_objection("it was silent and")],
    ),
    "impatient fence": (
        "fences as soon as a peer has failed (L3)",
        lambda: [_without_objection("it was silent and", "its flare was not")],
    ),
    "no lock": (
        "fences without the lock of the witness table (L3)",
        lambda: [_patched(fence_lock, "guard", _without_lock)],
    ),
    "breaks the lock": (
        "takes the lock of one who renews it (L3)",
        lambda: [_patched(fence_lock, "may_take", lambda case, lock: True)],
    ),
    "lets the lock lapse": ("does not renew its lock (L3)", lambda: [_patched(fence_lock, "FRESH", 1e9)]),
    "keeps the lock": ("does not give the lock back", lambda: [_steps_left_out("unlock")]),
    "blind to items": ("ignores what a silent peer writes into the witness table (L3)", lambda: [_blind_to_items()]),
    "fences a witness": (
        "stops a node that only watches (L6)",
        lambda: [_without_objection("it is a witness", "it reported that")],
    ),
    "takes signs for old": (
        "takes each flare of a silent peer for one from before its last heartbeat (L3)",
        lambda: [_patched(liveness, "older", lambda sign, heard: True)],
    ),
    "believes any flare": (
        "takes a flare of a stranger for one of the silent peer",
        lambda: [_patched(liveness, "believed", lambda sign, heard: bool(sign.value))],
    ),
    "blind to tags": (
        "looks after those route tables only that its configuration names",
        lambda: [_patched(membership, "claims", lambda config, homes: config.claims)],
    ),
    "fence before route": (
        "stops a node while a route points to it (L2)",
        lambda: [_without_objection("a route still", "route tables were")],
    ),
    "fences the drained": (
        "stops nodes that are drained or under maintenance (L6)",
        lambda: [_without_objection("it is tagged", "it reported that")],
    ),
    "punishes the planned reboot": (
        "stops a node that had said that it was about to go (L6)",
        lambda: [_without_objection("it reported that")],
    ),
    "waits for the death": (
        "takes nothing from a node that drains, so that it goes down with its routes",
        lambda: [_leaves_drainers()],
    ),
    "gone with a notice": (
        "takes over nothing while EC2 has announced something, although nobody else can (L1)",
        lambda: [_patched(heirs, "last_resort", lambda case: [])],
    ),
    "fences again": ("fences a dead node over and over (L3)", lambda: [_no_memory_of_fences()]),
    "never starts": ("stops a node and does not start it", lambda: [_forgetful_start()]),
    "immediate return": (
        "takes its routes back at once (L7)",
        lambda: [_patched(ownership, "return_after", _at_once)],
    ),
    "deaf to echoes": (
        "ignores that the kernel of a silent peer answers (L5)",
        lambda: [_deaf_to_echoes()],
    ),
    "fences strangers": ("stops who was never seen healthy (L6)", lambda: [_without_objection("it was never seen")]),
    "fences the replacement": (
        "takes the instance that took a node's place for the one that was healthy (L6)",
        lambda: [_patched(policy, "notice_replaced", lambda case: case.memory), _once_healthy()],
    ),
    "spends too much": ("fences without a budget (L2)", lambda: [_without_objection("the budget")]),
    "stops unmarked": ("stops a node before its mark is on it (L3)", lambda: [_unmarked()]),
    "acts in observe": ("writes in mode observe", lambda: [_patched(fitness, "forbidden", _no_reason)]),
    "fences in route": ("stops nodes in mode route, or with fence policy none (L2)", lambda: [_any_mode()]),
    "returns by old readings": (
        "takes a claim back without a look at what it overwrites (L8)",
        lambda: [_patched(ownership, "hold_stale_returns", lambda case, routes: (routes, None))],
    ),
    "trusts old readings": (
        "takes a route early, however old the reading is that it rests on (L8, L10)",
        lambda: [_patched(early, "oldest", lambda case: float("-inf"))],
    ),
    "trusts the wall clock": ("measures silence with a clock that somebody sets (L10)", _wall_clock),
    "ignores a pause": (
        "writes while an operator has paused the cluster",
        lambda: [_patched(pause, "paused", lambda instances, now: "")],
    ),
    "deaf to services": (
        "leaves a claim with a node whose service does not work",
        lambda: [_patched(services, "claim_vacancy", _no_reason)],
    ),
    "hasty about services": (
        "takes a claim because its service was away for a moment",
        lambda: [_patched(service_check, "BAD_READINGS", 1)],
    ),
    "all routes for a service": (
        "takes the default routes of a node whose service does not work (L2)",
        lambda: [_sick_by_a_service()],
    ),
    "any heir of a service": (
        "takes a claim although its service does not work here, either",
        lambda: [_patched(services, "heirs_among", lambda case, nodes, claim, owner: nodes)],
    ),
    "trusts a service at once": (
        "takes a claim back as soon as its service works again (L7)",
        lambda: [_patched(services, "return_after", lambda config, failures: 0.0)],
    ),
    "leads with the address": (
        "takes an Elastic IP whose claims are not here",
        lambda: [_patched(identities, "_carries", lambda case, name, routes: (0.0, "it is wanted"))],
    ),
    "steals addresses": (
        "takes an Elastic IP from something that is no node (L8)",
        lambda: [_without_drift("which is no node")],
    ),
    "takes management addresses": (
        "takes the public address of a node itself",
        lambda: [_without_drift("is the public address of")],
    ),
    "forgets the address": (
        "leaves the Elastic IP behind its claims",
        lambda: [_patched(identities, "_may_follow", lambda case, view, since: False)],
    ),
    "waits for the address": (
        "takes no route before its Elastic IP (the identity costs the route)",
        lambda: [_address_first()],
    ),
    "fights drift": ("takes back what somebody pointed elsewhere (L8)", lambda: [_fight()]),
    "believes its freeze": (
        "concludes from a time in which it slept (L10)",
        lambda: [_patched(policy, "notice_freeze", _no_wake), _patched(verdict, "LEAST_UNANSWERED", 0), _trusting()],
    ),
}
