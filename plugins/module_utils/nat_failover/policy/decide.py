# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every decision, as pure functions: ``decide(config, memory, evidence) -> (memory', plan)``.

No clock, no I/O, no logging, no boto3. Read it in this order: ``decide`` (the flow), ``_kind`` (what a peer is), ``_loss`` (when its claims need
an heir), ``_plan_claim`` (who writes which route), ``fencing.py`` (when a node is stopped), ``_forbidden`` (when nothing may be written at all).
The laws L1 to L12 named in comments are in docs/safety.md.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import replace

from ..model.cluster import (
    ACTIVE,
    DRAINED,
    DRAINING,
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    ROUTE_ACTIVE,
    ROUTE_NO_TABLE,
    SICK,
    UNMANAGED,
    WITNESS,
    Claim,
    Evidence,
    FenceStep,
    InstanceView,
    Memory,
    Plan,
    RouteView,
    SetRoute,
    Verdict,
    owners_of,
)
from ..model.settings import Config
from . import fencing, pause, verdict
from . import membership as discovery
from . import probe_plan as inquiry

GONE = ("stopping", "stopped", "shutting-down", "terminated")  # EC2 instance states


def decide(config: Config, memory: Memory, evidence: Evidence) -> t.Tuple[Memory, Plan]:
    """One tick. Evidence is judged first, then claims, then fences; the gates come last and see everything."""
    memory = _notice_replaced(_wake(config, memory, evidence), evidence)
    owners = owners_of(evidence.instances, config.witnesses)
    memory = _notice_taken(config, memory, evidence, owners)
    memory = memory.updated(
        peers={node.name: verdict.judge(config, memory, evidence, node.name) for node in config.peers}
    )
    fit, why_not = _fitness(config, memory, evidence)
    memory = _damp(config, memory, evidence, fit)
    routes, drift = _plan_claims(config, memory, evidence, owners, fit)
    routes, unread = _read_first(config, evidence, routes)
    memory, steps = fencing.plan(config, memory, evidence, owners)
    forbidden = _forbidden(config, evidence, why_not)
    withheld: t.Tuple[t.Union[SetRoute, FenceStep], ...] = (*routes, *steps) if forbidden else ()
    if forbidden:
        routes, steps = (), ()
    if any(action.kind == "return" for action in routes):
        memory = replace(memory, returned_at=evidence.now)
    steps = tuple(step for step in steps if step.key not in evidence.busy)
    memory = fencing.remember(memory, steps, evidence.now)
    return memory, Plan(
        verdicts=tuple(Verdict(name, peer.verdict, peer.evidence) for name, peer in memory.peers.items()),
        routes=routes,
        fence=steps,
        probe=inquiry.probes(config, memory, evidence),
        flare=bool(evidence.instances) and not evidence.paused and inquiry.must_flare(config, memory, evidence),
        refresh=max(
            (at for at in (inquiry.must_refresh(config, memory, evidence), unread) if at is not None),
            default=None,
        ),
        watch=inquiry.watch(config, memory, evidence),
        withheld=withheld,
        forbidden=forbidden,
        drift={**drift, **pause.unreadable(evidence.instances), **discovery.drift(config, evidence)},
    )


# --- judging peers -------------------------------------------------------------------------------------------------------------


def _wake(config: Config, memory: Memory, evidence: Evidence) -> Memory:
    """After a freeze all silence is counted anew: while I slept, nobody could be heard (L10)."""
    slept = memory.last_tick is not None and evidence.now - memory.last_tick > config.heartbeat.silent_after / 2
    return replace(
        memory,
        last_tick=evidence.now,
        awake_since=evidence.now if slept else memory.awake_since,
        paused_at=evidence.now if evidence.paused else memory.paused_at,
    )


def _notice_replaced(memory: Memory, evidence: Evidence) -> Memory:
    """Another instance is a node now: a new peer, never seen healthy (L6). Routes may still point to its predecessor's interface.

    Who was heard before EC2 had told which instance it is may have been a predecessor of that one.
    """
    if all(_known(memory, name, view) for name, view in evidence.instances.items()):
        return memory
    machines, former, peers = dict(memory.machines), dict(memory.former), dict(memory.peers)
    for name, view in evidence.instances.items():
        if not view.instance_id:
            continue
        peer = peers.get(name)
        if name not in machines and peer is not None:
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


def _known(memory: Memory, name: str, view: InstanceView) -> bool:
    """Is it the machine that this node was before, with the interface that it had?"""
    return not view.instance_id or memory.machines.get(name) == (view.instance_id, view.interface_id)


def _notice_taken(config: Config, memory: Memory, evidence: Evidence, owners: t.Mapping[str, str]) -> Memory:
    """A peer that has just taken my claim is alive, whatever I hear (L3)."""
    me, routes = config.self_name, evidence.routes
    mine = {claim for claim, view in routes.items() if claim.home == me and owners.get(view.target or "") == me}
    if mine == memory.mine:
        return memory
    lost = [claim for claim in memory.mine if claim not in mine and claim in routes]
    takers = {owners.get(routes[claim].target or "") for claim in lost} - {None}
    peers = {
        name: replace(peer, took_mine_at=evidence.now) if name in takers else peer
        for name, peer in memory.peers.items()
    }
    memory = memory.updated(peers=peers, mine=frozenset(mine))
    if not takers:
        return memory
    lost_soon = memory.returned_at is not None and evidence.now - memory.returned_at < config.returns.maximum
    return replace(memory, lost_at=evidence.now, flaps=memory.flaps + 1 if lost_soon else memory.flaps)


# --- this node -----------------------------------------------------------------------------------------------------------------


def _fitness(config: Config, memory: Memory, evidence: Evidence) -> t.Tuple[bool, str]:
    """May this node write at all? (L1, L4) Returns (fit, the reason against it)."""
    me = evidence.me
    stranger = _stranger(config, evidence)
    for good, reason in (
        (me.state != WITNESS, "this node is a witness"),
        (not stranger, stranger),
        (me.forwarding, "this node does not forward (%s)" % me.fact),
        (me.internet, "this node does not reach the internet"),
        (me.ec2, "the EC2 API does not answer this node"),
    ):
        if not good:
            return False, reason
    return True, ""


def _stranger(config: Config, evidence: Evidence) -> str:
    """Why this machine is not the node that its configuration says: it was replaced, or a second one runs under the same name."""
    view = evidence.instances.get(config.self_name)
    mine = evidence.me.instance_id or config.me.instance_id
    if not mine:
        return "this node does not know its instance id: the metadata service has not answered yet"
    if view is not None and view.instance_id not in ("", mine):
        return "%s is another instance now: %s, and this is %s" % (config.self_name, view.instance_id, mine)
    return ""


def _damp(config: Config, memory: Memory, evidence: Evidence, fit: bool) -> Memory:
    """Count proven health from its start; forget flaps after a long quiet time at home (L7)."""
    since = (memory.fit_since if memory.fit_since is not None else evidence.now) if fit else None
    quiet = memory.returned_at is not None and evidence.now - memory.returned_at > config.returns.maximum
    return memory.updated(fit_since=since, flaps=0 if quiet and memory.mine else memory.flaps)


def return_after(config: Config, memory: Memory) -> float:
    """Seconds of proven health before this node takes its claims back: doubles with each flap (L7)."""
    return min(config.returns.after * 2 ** min(memory.flaps, 30), config.returns.maximum)


def _forbidden(config: Config, evidence: Evidence, why_not: str) -> str:
    """The one gate before all writes: the reason that forbids them, or nothing."""
    if config.mode == "observe":
        return "mode is observe"
    if evidence.paused:
        return evidence.paused
    return why_not


def _read_first(
    config: Config, evidence: Evidence, routes: t.Tuple[SetRoute, ...]
) -> t.Tuple[t.Tuple[SetRoute, ...], t.Optional[float]]:
    """Nothing hurries a return: what it would overwrite is read once more, for somebody may have edited the route (L8). Returns also since when."""
    since = evidence.now - config.ec2.connect_timeout - config.ec2.read_timeout
    old = {action.claim for action in routes if action.kind == "return" and action.before.read_at < since}
    return tuple(action for action in routes if action.claim not in old), since if old else None


# --- claims --------------------------------------------------------------------------------------------------------------------


def _loss(config: Config, memory: Memory, evidence: Evidence, name: str) -> str:
    """Why this peer's claims need an heir, or nothing."""
    peer = memory.peers[name]
    report = evidence.heard.get(name, NOTHING_HEARD).report
    if evidence.now - memory.awake_since < config.heartbeat.silent_after:
        return ""  # I slept until just now: what I knew of the peer is as old as my sleep was long (L10)
    if peer.verdict == FAILED:
        # What is known of it is as old as my isolation: it may be back, and have taken its claims (L4).
        return "" if verdict.isolated(config, memory, evidence) else "failed"
    if peer.verdict == SICK:
        return "does not forward"
    if peer.verdict == HEALTHY and report is not None and report.state in (DRAINING, DRAINED):
        return report.state
    view = evidence.instances.get(name)
    if peer.verdict == UNMANAGED and evidence.now - peer.since > config.unmanaged_after:
        # Its service is dead; only more evidence than that makes its NAT dead too (L5).
        return "unmanaged and EC2 says %s" % view.state if view is not None and view.state in GONE else ""
    return ""


def _eligible(config: Config, memory: Memory, evidence: Evidence, fit: bool) -> t.List[str]:
    """The nodes that may own claims: proven forwarding, not drained."""
    names = [config.self_name] if fit and evidence.me.state == ACTIVE else []
    for name, peer in memory.peers.items():
        report = evidence.heard.get(name, NOTHING_HEARD).report
        well = peer.verdict == HEALTHY and report is not None and report.state == ACTIVE
        if well and name not in config.witnesses:
            names.append(name)
    return sorted(names)


def _reluctant(config: Config, evidence: Evidence, memory: Memory, fit: bool) -> t.List[str]:
    """The heirs of last resort: they drain only because EC2 has announced something, and still forward (L1: an outage now is worse than one later)."""
    names = [config.self_name] if fit and evidence.me.notice else []
    for name, peer in memory.peers.items():
        report = evidence.heard.get(name, NOTHING_HEARD).report
        if peer.verdict == HEALTHY and report is not None and report.reluctant:
            names.append(name)
    return sorted(names)


def heir(claim: Claim, eligible: t.Sequence[str]) -> t.Optional[str]:
    """The home if it is eligible, else rendezvous hashing, so that all nodes agree without a leader."""
    if claim.home in eligible:
        return claim.home
    return max(
        eligible, key=lambda name: (hashlib.sha256(("%s %s" % (claim, name)).encode()).digest(), name), default=None
    )


def _plan_claims(
    config: Config, memory: Memory, evidence: Evidence, owners: t.Mapping[str, str], fit: bool
) -> t.Tuple[t.Tuple[SetRoute, ...], t.Dict[str, str]]:
    mine = evidence.instances.get(config.self_name)
    if mine is None or mine.interface_id is None:
        return (), {}
    eligible = _eligible(config, memory, evidence, fit)
    heirs = eligible or _reluctant(config, evidence, memory, fit)
    losses = {name: _loss(config, memory, evidence, name) for name in memory.peers}
    actions: t.List[SetRoute] = []
    drift: t.Dict[str, str] = {}
    for claim, view in evidence.routes.items():
        owner = owners.get(view.target or "")
        if view.state == ROUTE_ACTIVE and (
            owner == config.self_name or owner == claim.home and not losses.get(owner, "")
        ):
            continue  # nearly always: it is mine already, or with its home, which needs no heir
        if view.state == ROUTE_NO_TABLE:
            drift[str(claim)] = (
                "route table %s does not exist in EC2; create it, or take it out of the configuration"
                % claim.route_table
            )
            continue
        if owner is None and view.state == ROUTE_ACTIVE and view.target not in memory.former:
            drift[str(claim)] = "%s points to %s, which is no node of this cluster" % (
                claim,
                view.target,
            )  # L8: report, don't fight
            continue
        if ("route", claim.route_table, claim.destination) in evidence.busy:
            continue  # it is being written: among hundreds of claims, planning it over and over delays the others
        kind, reason = _plan_claim(config, memory, evidence, claim, view, owner, losses, eligible, heirs)
        if kind:
            actions.append(
                SetRoute(
                    claim,
                    mine.interface_id,
                    config.self_name,
                    view,
                    kind,
                    "%s %s from %s: %s" % (kind, claim, owner or view.target or "nobody", reason),
                )
            )
    return tuple(actions), drift


def _plan_claim(
    config: Config,
    memory: Memory,
    evidence: Evidence,
    claim: Claim,
    view: RouteView,
    owner: t.Optional[str],
    losses: t.Mapping[str, str],
    eligible: t.Sequence[str],
    heirs: t.Sequence[str],
) -> t.Tuple[str, str]:
    """What this node does about a claim that is not its own now: (adopt | mend | return, reason), or ("", "")."""
    me = config.self_name
    if owner == me:
        return (
            "",
            "",
        )  # a blackhole that points to me: EC2 will see that I run, and writing the same again changes nothing
    former = memory.former.get(view.target or "") if owner is None else None
    if view.state != ROUTE_ACTIVE or former is not None:
        # Nothing flows there: the heir mends it at once, there is nothing to lose (L8).
        why = "the route is %s" % view.state if former is None else "it is the interface of a former %s" % former
        return ("mend", why) if heir(claim, heirs) == me else ("", "")
    loss = losses.get(owner or "", "")
    if loss:
        fresh = view.read_at >= verdict.doubted_at(memory.peers[owner or ""])
        # Who drains forwards as well as an heir of last resort: between these two nothing moves.
        among = eligible if loss in (DRAINING, DRAINED) else heirs
        return ("adopt", "%s %s" % (owner, loss)) if fresh and heir(claim, among) == me else ("", "")
    if claim.home == me and me in eligible and config.returns.policy == "auto":
        # A loss while I was fit (the peer could not hear me) counts like a failure: otherwise two nodes would tear at the claim.
        proven = evidence.now - max(
            at for at in (memory.fit_since, memory.lost_at, memory.awake_since) if at is not None
        )
        if proven >= return_after(config, memory):
            return "return", "forwarding proven for %d s" % proven
    return "", ""
