# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Theory of operation: ``decide(config, memory, evidence) -> (memory', plan)``, one tick of a node.

**The decision.** Each claim (one route of one table) has a home. Each tick derives the wanted
owner of every claim, and the plan is the difference to what EC2 shows. Two powers are kept apart:
taking a route is safe, reversible and done within a second. Stopping a node (a fence) is none of
these, so it comes later, it is rarer, and a list of objections stands before it.

**Rule 1: pure.** A decision depends on its three arguments only: no clock, no I/O, no chance, no
logging. ``evidence.now`` is the only time. The same arguments give the same plan.

**Rule 2: level-triggered.** Each tick decides anew from evidence. The memory holds moments ("since
when") and little else. Everything that must outlive the process is in EC2: routes, marks of fences,
flares, drains. A crash, a partial success or an edit by hand is repaired, or reported, by the next
tick. No message is waited for.

**Rule 3: doubt stops writing.** A peer is failed only if all evidence agrees and all of it is
younger than the silence: no packet, no flare, no witness, and this node has proven its own
forwarding, internet access and EC2 API meanwhile. A node that cannot prove itself takes itself for
the cause, and writes nothing.

**Rule 4: the first match wins.** The laws are tables, and their order is the law:
``verdict.TABLE`` (what a peer is), ``ownership.VACANCIES`` (why its claims need an heir;
``services.claim_vacancy`` is about one claim, which depends on a service that does not work there),
``ownership.RULES`` (what this node does about a claim), ``fence_steps.RULES`` (the steps of a
fence), ``fence_objections.objections`` (the reasons against one).

**A tick.** (1) Notice a freeze of this node, replaced instances, claims taken by a peer. (2) Judge
each peer. (3) Plan routes, and hold back returns that rest on old readings. Elastic IPs of
identities follow the routes. (4) Plan steps of fences. (5) One gate may withhold all of it: mode
``observe``, a pause, or this node is not fit. The gate comes last, so that operators see what would
have been done. (6) Ask for the observations that the next decisions need: probes, flares, fresh
readings.

**A takeover.** A late heartbeat starts a suspicion: a burst of probes, a flare, fresh readings of
EC2 and a check of the own internet access. After ``silent_after`` the verdict is FAILED, if nothing
speaks against it (``early`` says when it may come before EC2 has answered). The heirs follow from a
hash, so all survivors name the same one without a leader, and it writes the route. After
``fence.after`` seconds without a sign of life the peer's instance is marked, the mark is read back,
and it is stopped and started. The home takes its claims back after ``return.after`` seconds of
proven forwarding.

``STATES`` below is the table of what a verdict means for a peer. The laws L1 to L12 named in
comments are in docs/safety.md.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model.cluster import InstanceView
from ..model.evidence import FAILED, HEALTHY, PARTITIONED, SICK, SILENT, UNKNOWN, UNMANAGED, Evidence
from ..model.memory import Memory
from ..model.plan import Plan, Verdict, Write
from ..model.settings import Config
from . import (
    fencing,
    fitness,
    identities,
    membership,
    ownership,
    probe_plan,
    readings,
    services,
    signs,
    synchronised,
    verdict,
    warnings,
)
from .case import Case


class State(t.NamedTuple):
    """The consequences of a verdict on a peer."""

    claims: str  # what becomes of its claims: STAY, MOVE, or the condition on which they move
    owner: bool  # whether it may take claims of others
    fence: bool  # whether it may be fenced


STAY, MOVE = "stay", "move"
STATES: t.Mapping[str, State] = {
    UNKNOWN: State(STAY, owner=False, fence=False),
    HEALTHY: State("move while it is draining or drained", owner=True, fence=False),
    SICK: State(MOVE, owner=False, fence=False),
    UNMANAGED: State("move when EC2 shows its instance as gone", owner=False, fence=False),
    PARTITIONED: State(STAY, owner=False, fence=False),
    SILENT: State(STAY, owner=False, fence=False),
    FAILED: State(MOVE, owner=False, fence=True),
}


def decide(config: Config, memory: Memory, evidence: Evidence) -> tuple[Memory, Plan]:
    """One tick.

    Evidence is judged first, then claims, then fences. The gates come last and see everything.
    """
    case = fitness.assess(config, notice_freeze(config, memory, evidence), evidence)
    case = case.after(notice_replaced(case))
    case = case.after(services.note(case))
    case = case.after(notice_taken(case))
    case = case.after(signs.note(case.memory, evidence))
    peers = {node.name: verdict.judge(case, node.name) for node in config.peers}
    case = case.after(case.memory.updated(peers=peers))
    case = case.after(fitness.update_fitness(case))
    case = case.after(synchronised.note_due(case, ownership.proven_long_enough(case)))
    routes, drift = ownership.plan_claims(case)
    routes, unread = readings.hold_stale_routes(case, routes)
    memory, addresses = identities.plan(case, routes)
    case = case.after(memory)
    memory, steps = fencing.plan(case)
    moved = addresses.actions
    forbidden = fitness.forbidden(case)
    withheld: tuple[Write, ...] = (*routes, *moved, *steps) if forbidden else ()
    if forbidden:
        routes, moved, steps = (), (), ()
    if moved:
        memory = identities.note(memory, moved, routes, evidence.now)
    if routes and any(action.kind == "return" for action in routes):
        memory = memory.updated(returned_at=evidence.now)
    if steps:
        steps = tuple(step for step in steps if step.key not in evidence.busy)
        memory = fencing.remember(memory, steps, evidence.now)
    case = case.after(memory)
    translation = identities.states(case)
    needed = [at for at in (probe_plan.must_refresh(case), unread, addresses.unread) if at is not None]
    return memory, Plan(
        verdicts=tuple(Verdict(name, peer.verdict, peer.evidence) for name, peer in memory.peers.items()),
        routes=routes,
        addresses=moved,
        translation=translation,
        places=synchronised.places(case, translation) if config.state_sync else {},
        fence=steps,
        probe=probe_plan.probes(case),
        flare=bool(evidence.instances) and not evidence.paused and probe_plan.must_flare(case),
        refresh=max(needed) if needed else None,
        watch=probe_plan.watch(case),
        withheld=withheld,
        forbidden=forbidden,
        warnings=warnings.standing(config, evidence),
        drift={
            **drift,
            **addresses.drift,
            **evidence.ignored_pauses,
            **evidence.void_marks,
            **membership.drift(config, evidence),
            **signs.drift(memory, evidence),
            **signs.leaps(evidence),
        },
    )


# --- what has happened since the last tick --------------------------------------------------------


def notice_freeze(config: Config, memory: Memory, evidence: Evidence) -> Memory:
    """The memory after a possible freeze.

    All silence counts anew: a frozen node hears no peer (L10 monotonic time).
    """
    awake_at = memory.last_tick
    if awake_at is not None and evidence.awake_at is not None:
        awake_at = max(awake_at, evidence.awake_at)  # ticks that send heartbeats only decide nothing
    frozen = awake_at is not None and evidence.now - awake_at > config.heartbeat.silent_after / 2
    return memory.updated(
        last_tick=evidence.now,
        awake_since=evidence.now if frozen else memory.awake_since,
        paused_at=evidence.now if evidence.paused else memory.paused_at,
    )


def notice_replaced(case: Case) -> Memory:
    """The memory without nodes whose instance was replaced.

    The new instance is a new peer, never seen healthy (L6).

    Routes may still point to the interface of the former instance, so that one is remembered.
    """
    memory, evidence = case.memory, case.evidence
    if all(_is_known(memory, name, view) for name, view in evidence.instances.items()):
        return memory
    machines, former, peers = dict(memory.machines), dict(memory.former), dict(memory.peers)
    for name, view in evidence.instances.items():
        if not view.instance_id:
            continue
        peer = peers.get(name)
        if name not in machines and peer is not None:
            # A heartbeat received before the peer's instance was known may come from its
            # predecessor.
            peers[name] = replace(peer, seen_healthy=False, known_at=evidence.now)
        instance, interface = machines.get(name, (view.instance_id, ""))
        if instance == view.instance_id:
            machines[name] = (instance, view.interface_id or interface)
            continue
        machines[name] = (view.instance_id, view.interface_id or "")
        if interface:
            former[interface] = name
        peers.pop(name, None)
    for _instance, interface in machines.values():
        former.pop(interface, None)  # it went along with the node
    return memory.updated(machines=machines, former=former, peers=peers)


def _is_known(memory: Memory, name: str, view: InstanceView) -> bool:
    """Whether the node still has the instance and interface of the last tick."""
    return not view.instance_id or memory.machines.get(name) == (view.instance_id, view.interface_id)


def notice_taken(case: Case) -> Memory:
    """The memory with the claims of this node that a peer has just taken.

    Such a peer is alive (L3).
    """
    own_name, memory, routes, owners = case.config.self_name, case.memory, case.evidence.routes, case.owners
    now = case.evidence.now
    own = {
        claim for claim, view in routes.items() if claim.home == own_name and owners.get(view.target or "") == own_name
    }
    memory = _notice_swaps(case)
    if own == memory.own_claims:
        return memory
    lost = [claim for claim in memory.own_claims if claim not in own and claim in routes]
    takers = {owners.get(routes[claim].target or "") for claim in lost} - {None}
    peers = {
        name: replace(peer, took_own_claim_at=now) if name in takers else peer for name, peer in memory.peers.items()
    }
    memory = memory.updated(peers=peers, own_claims=frozenset(own))
    # The loss of a claim whose service does not work here says nothing about the other claims
    if not takers or not any(services.settled(case, claim) for claim in lost):
        return memory
    lost_soon = memory.returned_at is not None and now - memory.returned_at < case.config.returns.maximum
    return memory.updated(lost_at=now, flaps=memory.flaps + 1 if lost_soon else memory.flaps)


def _notice_swaps(case: Case) -> Memory:
    """The memory with the claims that a silent peer took from this node while it cannot be seen.

    Claims that move within a few seconds are one takeover.
    """
    own_name, memory, evidence = case.config.self_name, case.memory, case.evidence
    if not evidence.me.unseen:
        return memory.updated(held_claims=frozenset())
    owner_of = {claim: case.owners.get(view.target or "") for claim, view in evidence.routes.items()}
    takers = {owner_of.get(claim) for claim in memory.held_claims | memory.own_claims} - {None, own_name}
    held = frozenset(claim for claim, owner in owner_of.items() if owner == own_name)
    peers = dict(memory.peers)
    for name in takers:
        peer = peers.get(name or "")
        if peer is None or peer.suspected_at is None:
            continue
        ago = evidence.now - (peer.took_own_claim_at or 0.0) if peer.swaps else float("inf")
        swaps = peer.swaps + (ago > verdict.FLARE_VALID / 2) if ago < 4 * verdict.SWAP_LONGEST else 1
        peers[name or ""] = replace(peer, took_own_claim_at=evidence.now, swaps=swaps)
    return memory.updated(held_claims=held, peers=peers)
