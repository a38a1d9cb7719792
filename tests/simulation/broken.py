# SPDX-License-Identifier: GPL-3.0-or-later
"""Deliberately broken policies: each drops one precaution. The invariants must catch every one, or they prove nothing."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace
from unittest import mock

from nat_failover.model import liveness as signs
from nat_failover.model.cluster import DRAINED, DRAINING, FAILED, ROUTE_MISSING, Memory
from nat_failover.model.settings import Config
from nat_failover.policy import decide as policy
from nat_failover.policy import fence_lock as locking
from nat_failover.policy import fencing, pause, verdict
from nat_failover.policy import membership as discovery

from .incidents import WITNESSED, play
from .laws import Violation
from .service import Service

Patches = t.Sequence[t.Any]


def _patched(module: t.Any, name: str, value: t.Any) -> t.Any:
    return mock.patch.object(module, name, value)


def _without_objection(*words: str) -> t.Any:
    """The list of objections to a fence without those that begin with some words."""
    real = fencing._objections

    def fewer(*arguments: t.Any) -> t.Any:
        return tuple(row for row in real(*arguments) if not row[1].startswith(words))

    return _patched(fencing, "_objections", fewer)


def _always_fit(*arguments: t.Any) -> t.Tuple[bool, str]:
    return True, ""


def _believing() -> Patches:
    """Never takes itself for the suspect."""
    unasked = [_patched(verdict, name, lambda *arguments: False) for name in ("isolated", "_waits_for_proof")]
    return [_patched(verdict, "_doubt", _eager), *unasked]


def _eager(config: Config, *arguments: t.Any) -> str:
    return ""


def _fight() -> t.Any:
    """Takes what points elsewhere for a missing route."""
    real = policy._plan_claims

    def fighting(config: Config, memory: Memory, evidence: t.Any, owners: t.Mapping[str, str], fit: bool) -> t.Any:
        routes = {
            claim: view if view.target is None or view.target in owners else replace(view, state=ROUTE_MISSING)
            for claim, view in evidence.routes.items()
        }
        actions, drift = real(config, memory, replace(evidence, routes=routes), owners, fit)
        return tuple(replace(action, before=evidence.routes[action.claim]) for action in actions), drift

    return _patched(policy, "_plan_claims", fighting)


def _forgetful_start() -> t.Any:
    """Stops a node and believes that it will start by itself."""
    real = fencing._go_on

    def forgetting(*arguments: t.Any) -> t.Tuple[str, str]:
        step, reason = real(*arguments)
        return ("", "") if step == "start" else (step, reason)

    return _patched(fencing, "_go_on", forgetting)


def _no_memory_of_fences() -> t.Any:
    """Each look at a dead node begins a new fence."""
    real = fencing._go_on

    def again(case: fencing.Case) -> t.Tuple[str, str]:
        step = real(case)
        dead = case.peer.verdict == "failed" and case.view.state == "running"
        return ("stop", "it is still dead") if not step[0] and dead else step

    return _patched(fencing, "_go_on", again)


def _no_wake(config: Config, memory: Memory, evidence: t.Any) -> Memory:
    return replace(memory, last_tick=evidence.now)


def _short(memory: Memory, evidence: t.Any, heard_at: t.Optional[float]) -> float:
    """All silence that is more than one lost packet counts for long."""
    return 9.0 if heard_at is None or evidence.now - heard_at > 0.15 else 0.0


def _trusting() -> t.Any:
    """Takes its internet access for proven since ever."""
    real = verdict._doubt

    def trusting(config: Config, memory: Memory, evidence: t.Any, peer: t.Any, heard: t.Any) -> str:
        return real(config, memory, evidence, replace(peer, proven_at=-1e9), heard)

    return _patched(verdict, "_doubt", trusting)


def _once_healthy() -> t.Any:
    """Who was seen healthy before it was off is still trusted: otherwise that alone would spare a replacement."""
    real = fencing._observe

    def trusting(peer: t.Any, *arguments: t.Any) -> t.Any:
        return replace(real(peer, *arguments), seen_healthy=peer.seen_healthy)

    return _patched(fencing, "_observe", trusting)


def _without_lock(config: Config, memory: Memory, evidence: t.Any, name: str, step: str, *more: t.Any) -> t.Any:
    return step, ""


def _steps_left_out(*unwanted: str) -> t.Any:
    """Steps about the lock that are forgotten."""
    real = locking.guard

    def forgetting(*arguments: t.Any) -> t.Tuple[str, str]:
        step, reason = real(*arguments)
        return ("", "") if step in unwanted else (step, reason)

    return _patched(locking, "guard", forgetting)


def _blind_to_items() -> t.Any:
    real = verdict._look_for_signs

    def blind(evidence: t.Any, *rest: t.Any) -> t.Any:
        return real(replace(evidence, witness=None), *rest)

    return _patched(verdict, "_look_for_signs", blind)


def _leaves_drainers() -> t.Any:
    """Waits until a node that drains has failed."""
    real = policy._loss

    def waiting(*arguments: t.Any) -> str:
        loss = real(*arguments)
        return "" if loss in (DRAINING, DRAINED) else loss

    return _patched(policy, "_loss", waiting)


def _at_once(config: Config, memory: Memory) -> float:
    return 0.0


def _unmarked() -> t.Any:
    """Stops where it should only mark."""
    real = fencing._step

    def hasty(case: fencing.Case) -> t.Tuple[str, str]:
        step, reason = real(case)
        return ("stop", reason) if step == "mark" else (step, reason)

    return _patched(fencing, "_step", hasty)


def _any_mode() -> t.Any:
    """Plans fences as if everything were allowed."""
    real = fencing.plan

    def planning(config: Config, *arguments: t.Any) -> t.Any:
        return real(replace(config, mode="full", fence=replace(config.fence, policy="stop_start")), *arguments)

    return _patched(fencing, "plan", planning)


def _wall_clock() -> t.Any:
    """Takes the time of day for the time that has passed."""
    real = Service.evidence

    def set_by_somebody(service: Service) -> t.Any:
        evidence = real(service)
        return replace(evidence, now=evidence.now + service.host.clock_error)

    return _patched(Service, "evidence", set_by_somebody)


# name -> (what is wrong with it, the patches)
BROKEN: t.Mapping[str, t.Tuple[str, t.Callable[[], Patches]]] = {
    "unproven": (
        "acts without having proven its own forwarding (L1, L4)",
        lambda: [_patched(policy, "_fitness", _always_fit), *_believing()],
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
        lambda: [_patched(Config, "rank", lambda self, name: 0), _without_objection("I am being fenced")],
    ),
    "deaf to flares": (
        "ignores the flares of a silent peer (L3)",
        lambda: [_patched(verdict, "alive_elsewhere", lambda *a: ""), _without_objection("silent and without")],
    ),
    "impatient fence": (
        "fences as soon as a peer has failed (L3)",
        lambda: [_without_objection("silent and without", "its flare was not")],
    ),
    "no lock": (
        "fences without the lock of the witness table (L3)",
        lambda: [_patched(locking, "guard", _without_lock)],
    ),
    "breaks the lock": (
        "takes the lock of one who renews it (L3)",
        lambda: [_patched(locking, "_may_take", lambda *arguments: True)],
    ),
    "lets the lock lapse": ("does not renew its lock (L3)", lambda: [_patched(locking, "FRESH", 1e9)]),
    "keeps the lock": ("does not give the lock back", lambda: [_steps_left_out("unlock")]),
    "blind to items": ("ignores what a silent peer writes into the witness table (L3)", lambda: [_blind_to_items()]),
    "fences a witness": (
        "stops a node that only watches (L6)",
        lambda: [_without_objection("it is a witness", "it said it is")],
    ),
    "takes signs for old": (
        "takes each flare of a silent peer for one from before its last heartbeat (L3)",
        lambda: [_patched(signs, "older", lambda value, heard: True)],
    ),
    "blind to tags": (
        "looks after those route tables only that its configuration names",
        lambda: [_patched(discovery, "claims", lambda config, homes: config.claims)],
    ),
    "fence before route": (
        "stops a node while a route points to it (L2)",
        lambda: [_without_objection("a route still", "route tables were")],
    ),
    "fences the drained": (
        "stops nodes that are drained or under maintenance (L6)",
        lambda: [_without_objection("it is tagged", "it said it is")],
    ),
    "punishes the planned reboot": (
        "stops a node that had said that it was about to go (L6)",
        lambda: [_without_objection("it said it is")],
    ),
    "waits for the death": (
        "takes nothing from a node that drains, so that it goes down with its routes",
        lambda: [_leaves_drainers()],
    ),
    "gone with a notice": (
        "takes over nothing while EC2 has announced something, although nobody else can (L1)",
        lambda: [_patched(policy, "_reluctant", lambda *arguments: [])],
    ),
    "fences again": ("fences a dead node over and over (L3)", lambda: [_no_memory_of_fences()]),
    "never starts": ("stops a node and does not start it", lambda: [_forgetful_start()]),
    "immediate return": (
        "takes its routes back at once (L7)",
        lambda: [_patched(policy, "return_after", _at_once)],
    ),
    "deaf to echoes": (
        "ignores that the kernel of a silent peer answers (L5)",
        lambda: [_patched(verdict, "UNMANAGED", FAILED)],
    ),
    "fences strangers": ("stops who was never seen healthy (L6)", lambda: [_without_objection("it was never seen")]),
    "fences the replacement": (
        "takes the instance that took a node's place for the one that was healthy (L6)",
        lambda: [_patched(policy, "_notice_replaced", lambda memory, evidence: memory), _once_healthy()],
    ),
    "spends too much": ("fences without a budget (L2)", lambda: [_without_objection("the budget")]),
    "stops unmarked": ("stops a node before its mark is on it (L3)", lambda: [_unmarked()]),
    "acts in observe": ("writes in mode observe", lambda: [_patched(policy, "_forbidden", _eager)]),
    "fences in route": ("stops nodes in mode route, or with fence policy none (L2)", lambda: [_any_mode()]),
    "returns by old readings": (
        "takes a claim back without a look at what it overwrites (L8)",
        lambda: [_patched(policy, "_read_first", lambda config, evidence, routes: (routes, None))],
    ),
    "trusts the wall clock": ("measures silence with a clock that somebody sets (L10)", lambda: [_wall_clock()]),
    "ignores a pause": (
        "writes while an operator has paused the cluster",
        lambda: [_patched(pause, "paused", lambda instances, now: "")],
    ),
    "fights drift": ("takes back what somebody pointed elsewhere (L8)", lambda: [_fight()]),
    "believes its freeze": (
        "concludes from a time in which it slept (L10)",
        lambda: [_patched(policy, "_wake", _no_wake), _patched(verdict, "LEAST_UNANSWERED", 0), _trusting()],
    ),
}


# Those that only incidents with a witness table or a witness show.
OF_WITNESSES = (
    "no lock",
    "breaks the lock",
    "lets the lock lapse",
    "keeps the lock",
    "blind to items",
    "fences a witness",
)


def hunt(name: str, most: int, first: int = 0) -> t.Tuple[t.Optional[int], str]:
    """Play incidents with a broken policy until one breaks a law: (incidents played or None, the violation's first line)."""
    with contextlib.ExitStack() as stack:
        for patch in BROKEN[name][1]():
            stack.enter_context(patch)
        for number in range(most):
            try:
                play(first + number + (WITNESSED if name in OF_WITNESSES else 0))
            except Violation as violation:
                return number + 1, str(violation).splitlines()[0]
    return None, ""
