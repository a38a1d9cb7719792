# SPDX-License-Identifier: GPL-3.0-or-later
"""Deliberately broken policies: each drops one precaution. The invariants must catch every one, or they prove nothing."""

from __future__ import annotations

import typing as t

from nat_failover.model import liveness
from nat_failover.model.settings import Config
from nat_failover.observe import service_check
from nat_failover.policy import (
    address_order,
    fence_lock,
    fitness,
    heirs,
    identities,
    membership,
    ownership,
    pause,
    readings,
    services,
    verdict,
)
from nat_failover.policy import decide as policy

from . import patches

# name -> (what is wrong with it, the patches)
BROKEN: t.Mapping[str, tuple[str, t.Callable[[], patches.Patches]]] = {
    "unproven": (
        "acts without having proven its own forwarding (L1, L4)",
        lambda: [patches.patched(fitness, "unfit_reason", patches.no_reason), *patches.believing()],
    ),
    "own silence": (
        "takes its own silence for the death of the others (L4)",
        patches.believing,
    ),
    "hasty": (
        "one late heartbeat decides (hysteresis)",
        lambda: [
            patches.patched(verdict, "silence", patches.short),
            patches.patched(verdict, "LEAST_UNANSWERED", 0),
            patches.trusting(),
        ],
    ),
    "no tie-break": (
        "fences without waiting for the one of higher rank (L3)",
        lambda: [patches.patched(Config, "rank", lambda self, name: 0), patches.without_objection("a peer is fencing")],
    ),
    "deaf to flares": (
        "ignores the flares of a silent peer (L3)",
        lambda: [
            patches.patched(verdict, "alive_elsewhere", patches.no_reason),
            patches.without_objection("it was silent and"),
        ],
    ),
    "impatient fence": (
        "fences as soon as a peer has failed (L3)",
        lambda: [patches.without_objection("it was silent and", "its flare was not")],
    ),
    "no lock": (
        "fences without the lock of the witness table (L3)",
        lambda: [patches.patched(fence_lock, "guard", patches.without_lock)],
    ),
    "breaks the lock": (
        "takes the lock of one who renews it (L3)",
        lambda: [patches.patched(fence_lock, "may_take", lambda case, lock: True)],
    ),
    "lets the lock lapse": ("does not renew its lock (L3)", lambda: [patches.patched(fence_lock, "FRESH", 1e9)]),
    "keeps the lock": ("does not give the lock back", lambda: [patches.steps_left_out("unlock")]),
    "blind to items": (
        "ignores what a silent peer writes into the witness table (L3)",
        lambda: [patches.blind_to_items()],
    ),
    "fences a witness": (
        "stops a node that only watches (L6)",
        lambda: [patches.without_objection("it is a witness", "it reported that")],
    ),
    "takes signs for old": (
        "takes each flare of a silent peer for one from before its last heartbeat (L3)",
        lambda: [patches.patched(liveness, "older", lambda sign, heard: True)],
    ),
    "believes any flare": (
        "takes a flare of a stranger for one of the silent peer",
        lambda: [patches.patched(liveness, "believed", lambda sign, heard: bool(sign.value))],
    ),
    "blind to tags": (
        "looks after those route tables only that its configuration names",
        lambda: [patches.patched(membership, "claims", lambda config, homes: config.claims)],
    ),
    "fence before route": (
        "stops a node while a route points to it (L2)",
        lambda: [patches.without_objection("a route still", "route tables were")],
    ),
    "fences the drained": (
        "stops nodes that are drained or under maintenance (L6)",
        lambda: [patches.without_objection("it is tagged", "it reported that")],
    ),
    "punishes the planned reboot": (
        "stops a node that had said that it was about to go (L6)",
        lambda: [patches.without_objection("it reported that")],
    ),
    "waits for the death": (
        "takes nothing from a node that drains, so that it goes down with its routes",
        lambda: [patches.leaves_drainers()],
    ),
    "gone with a notice": (
        "takes over nothing while EC2 has announced something, although nobody else can (L1)",
        lambda: [patches.patched(heirs, "last_resort", lambda case: [])],
    ),
    "undoes a drain": (
        "takes over although an operator drains it, when nobody else can",
        lambda: [patches.patched(heirs, "last_resort", patches.all_that_drain)],
    ),
    "fences again": ("fences a dead node over and over (L3)", lambda: [patches.no_memory_of_fences()]),
    "never starts": ("stops a node and does not start it", lambda: [patches.forgetful_start()]),
    "immediate return": (
        "takes its routes back at once (L7)",
        lambda: [patches.patched(ownership, "return_after", patches.at_once)],
    ),
    "deaf to echoes": (
        "ignores that the kernel of a silent peer answers (L5)",
        lambda: [patches.deaf_to_echoes()],
    ),
    "fences strangers": (
        "stops who was never seen healthy (L6)",
        lambda: [patches.without_objection("it was never seen")],
    ),
    "fences the replacement": (
        "takes the instance that took a node's place for the one that was healthy (L6)",
        lambda: [patches.patched(policy, "notice_replaced", lambda case: case.memory), patches.once_healthy()],
    ),
    "spends too much": ("fences without a budget (L2)", lambda: [patches.without_objection("the budget")]),
    "stops unmarked": ("stops a node before its mark is on it (L3)", lambda: [patches.unmarked()]),
    "acts in observe": ("writes in mode observe", lambda: [patches.patched(fitness, "forbidden", patches.no_reason)]),
    "fences in route": ("stops nodes in mode route, or with fence policy none (L2)", lambda: [patches.any_mode()]),
    "returns by old readings": (
        "takes a claim back without a look at what it overwrites (L8)",
        lambda: [patches.patched(readings, "hold_stale_routes", lambda case, routes: (routes, None))],
    ),
    "trusts old readings": (
        "takes a route early, however old the reading is that it rests on (L8, L10)",
        lambda: [patches.patched(readings, "polled", lambda case: float("-inf"))],
    ),
    "trusts the wall clock": ("measures silence with a clock that somebody sets (L10)", patches.wall_clock),
    "ignores a pause": (
        "writes while an operator has paused the cluster",
        lambda: [patches.patched(pause, "paused", lambda instances, now: "")],
    ),
    "deaf to services": (
        "leaves a claim with a node whose service does not work",
        lambda: [patches.patched(services, "claim_vacancy", patches.no_reason)],
    ),
    "hasty about services": (
        "takes a claim because its service was away for a moment",
        lambda: [patches.patched(service_check, "BAD_READINGS", 1)],
    ),
    "all routes for a service": (
        "takes the default routes of a node whose service does not work (L2)",
        lambda: [patches.sick_by_a_service()],
    ),
    "any heir of a service": (
        "takes a claim although its service does not work here, either",
        lambda: [patches.patched(services, "heirs_among", lambda case, nodes, claim, owner: nodes)],
    ),
    "no last heir of a service": (
        "leaves a claim without its service while a node with a notice has it (L1)",
        lambda: [patches.patched(services, "serving", patches.serving_among)],
    ),
    "trusts a service at once": (
        "takes a claim back as soon as its service works again (L7)",
        lambda: [patches.patched(services, "return_after", lambda config, failures: 0.0)],
    ),
    "leads with the address": (
        "takes an Elastic IP whose claims are not here",
        lambda: [patches.patched(identities, "_carries", patches.wanted)],
    ),
    "overtakes the routes": (
        "takes an Elastic IP beside its routes from a node that is well (level 1)",
        lambda: [patches.patched(address_order, "_is_planned", lambda case, view, carried: False)],
    ),
    "steals addresses": (
        "takes an Elastic IP from something that is no node (L8)",
        lambda: [patches.without_drift("which is no node")],
    ),
    "takes management addresses": (
        "takes the public address of a node itself",
        lambda: [patches.without_drift("is the public address of")],
    ),
    "forgets the address": (
        "leaves the Elastic IP behind its claims",
        lambda: [patches.patched(address_order, "_may_follow", lambda case, view, since: False)],
    ),
    "waits for the address": (
        "takes no route before its Elastic IP (the identity costs the route)",
        lambda: [patches.address_first()],
    ),
    "fights drift": ("takes back what somebody pointed elsewhere (L8)", lambda: [patches.fight()]),
    "believes its freeze": (
        "concludes from a time in which it slept (L10)",
        lambda: [
            patches.patched(policy, "notice_freeze", patches.no_wake),
            patches.patched(verdict, "LEAST_UNANSWERED", 0),
            patches.trusting(),
        ],
    ),
}
