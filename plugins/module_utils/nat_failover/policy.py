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

from . import fencing
from .config import Config
from .model import (
    ACTIVE,
    DRAINED,
    DRAINING,
    FAILED,
    HEALTHY,
    PARTITIONED,
    ROUTE_ACTIVE,
    ROUTE_NO_TABLE,
    SICK,
    SILENT,
    SUSPECTED,
    TAG_FLARE,
    UNKNOWN,
    UNMANAGED,
    Claim,
    Evidence,
    FenceStep,
    Heard,
    Memory,
    PeerMemory,
    Plan,
    RouteView,
    SetRoute,
    Verdict,
)

LATE = 1.5  # heartbeat intervals without a heartbeat that start a burst
LEAST_UNANSWERED = 8  # probes (UDP and ICMP) that must have gone unanswered before silence means anything
FLARE_VALID = 10.0  # seconds: a flare is rewritten every FLARE_INTERVAL and read every second while suspicion lasts
FLARE_INTERVAL = 3.0
BURST_LENGTH = 3  # times silent_after; a longer silence is probed at the heartbeat's pace
SUSPICIOUS = (SUSPECTED, SILENT, FAILED, PARTITIONED, UNMANAGED)
GONE = ("stopping", "stopped", "shutting-down", "terminated")  # EC2 instance states


def decide(config: Config, memory: Memory, evidence: Evidence) -> t.Tuple[Memory, Plan]:
    """One tick. Evidence is judged first, then claims, then fences; the gates come last and see everything."""
    memory = _wake(config, memory, evidence)
    owners = {view.interface_id: name for name, view in evidence.instances.items() if view.interface_id}
    memory = _notice_taken(config, memory, evidence, owners)
    memory = replace(memory, peers={node.name: _judge(config, memory, evidence, node.name) for node in config.peers})
    fit, why_not = _fitness(config, memory, evidence)
    memory = _damp(config, memory, evidence, fit)
    routes, drift = _plan_claims(config, memory, evidence, owners, fit)
    memory, steps = fencing.plan(config, memory, evidence, owners)
    forbidden = _forbidden(config, evidence, why_not)
    withheld: t.Tuple[t.Union[SetRoute, FenceStep], ...] = (*routes, *steps) if forbidden else ()
    if forbidden:
        routes, steps = (), ()
    routes = tuple(action for action in routes if action.key not in evidence.busy)
    if any(action.kind == "return" for action in routes):
        memory = replace(memory, returned_at=evidence.now)
    steps = tuple(step for step in steps if step.key not in evidence.busy)
    memory = fencing.remember(memory, steps, evidence.now)
    return memory, Plan(
        verdicts=tuple(Verdict(name, peer.verdict, peer.evidence) for name, peer in memory.peers.items()),
        routes=routes,
        fence=steps,
        probe=_probes(config, memory, evidence),
        flare=_must_flare(config, memory, evidence),
        refresh=_must_refresh(memory, evidence),
        watch=_watch(config, memory, evidence),
        withheld=withheld,
        forbidden=forbidden,
        drift=drift,
    )


# --- judging peers -------------------------------------------------------------------------------------------------------------


def _wake(config: Config, memory: Memory, evidence: Evidence) -> Memory:
    """After a freeze all silence is counted anew: while I slept, nobody could be heard (L10)."""
    slept = memory.last_tick is not None and evidence.now - memory.last_tick > config.heartbeat.silent_after / 2
    return replace(memory, last_tick=evidence.now, awake_since=evidence.now if slept else memory.awake_since)


def _notice_taken(config: Config, memory: Memory, evidence: Evidence, owners: t.Mapping[str, str]) -> Memory:
    """A peer that has just taken my claim is alive, whatever I hear (L3)."""
    mine, takers = set(), set()
    for claim, view in evidence.routes.items():
        if claim.home != config.self_name:
            continue
        owner = owners.get(view.target or "")
        if owner == config.self_name:
            mine.add(claim)
        elif claim in memory.mine and owner is not None:
            takers.add(owner)
    peers = {
        name: replace(peer, took_mine_at=evidence.now) if name in takers else peer
        for name, peer in memory.peers.items()
    }
    memory = replace(memory, peers=peers, mine=frozenset(mine))
    if not takers:
        return memory
    lost_soon = memory.returned_at is not None and evidence.now - memory.returned_at < config.returns.maximum
    return replace(memory, lost_at=evidence.now, flaps=memory.flaps + 1 if lost_soon else memory.flaps)


def _judge(config: Config, memory: Memory, evidence: Evidence, name: str) -> PeerMemory:
    peer = memory.peers.get(name, PeerMemory(since=evidence.now))
    heard = evidence.heard.get(name, Heard())
    peer = _suspect(config, memory, evidence, peer, heard, name)
    kind = _kind(config, memory, evidence, peer, heard, name)
    if kind == peer.verdict:
        return peer
    words = explain(config, memory, evidence, peer, heard, name, kind)
    peer = replace(peer, verdict=kind, since=evidence.now, evidence=words)
    return replace(peer, seen_healthy=True) if kind == HEALTHY else peer


def _suspect(
    config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str
) -> PeerMemory:
    """Suspicion starts with the first late heartbeat and ends with the next one; flares are compared from its start on."""
    if heard.heartbeat_at is None:
        late = evidence.now - memory.awake_since > config.unseen_after / 2
    else:
        late = evidence.now - max(heard.heartbeat_at, memory.awake_since) > LATE * config.heartbeat.interval
    if not late:
        cleared = replace(peer, suspected_at=None, proven_at=None, flare_baseline=None, flare_at=None)
        return cleared if peer.suspected_at is not None else peer
    if peer.suspected_at is None:
        peer = replace(peer, suspected_at=evidence.now)
    unproven = _unproven(evidence, peer.suspected_at or evidence.now)
    if bool(unproven) == (peer.proven_at is not None):
        peer = replace(peer, proven_at=None if unproven else evidence.now)
    view = evidence.instances.get(name)
    if view is None:
        return peer
    flare = view.tags.get(TAG_FLARE, "")
    if peer.flare_baseline is None:
        return replace(peer, flare_baseline=flare)
    if flare != peer.flare_baseline:
        return replace(peer, flare_baseline=flare, flare_at=view.read_at)
    return peer


def _kind(config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str) -> str:
    """The verdict table, first match wins."""
    silent_after = config.heartbeat.silent_after
    udp, icmp = (_silence(memory, evidence, at) for at in (heard.heartbeat_at, heard.icmp_at))
    if heard.heartbeat_at is None and evidence.now - memory.awake_since < config.unseen_after:
        return UNKNOWN
    if heard.heartbeat_at is not None and udp < silent_after:
        # A freeze resets the count of silence, not what was known before it.
        if evidence.now - heard.heartbeat_at >= silent_after:
            return peer.verdict
        return HEALTHY if heard.report is not None and heard.report.forwarding else SICK
    if heard.icmp_at is not None and icmp < silent_after:
        return UNMANAGED
    if heard.unanswered < LEAST_UNANSWERED and udp < 2 * silent_after:
        return peer.verdict  # the burst has not had its time yet
    if _alive_elsewhere(evidence, peer, name):
        return PARTITIONED
    return FAILED if not _doubt(config, memory, evidence, peer, heard) else SILENT


def _silence(memory: Memory, evidence: Evidence, heard_at: t.Optional[float]) -> float:
    """Seconds for which silence can be held against a peer."""
    return evidence.now - max(memory.awake_since, heard_at if heard_at is not None else memory.awake_since)


def _alive_elsewhere(evidence: Evidence, peer: PeerMemory, name: str) -> str:
    """The witnesses: its flare, my own claim just taken by it, another node's view. Returns what was seen, or nothing."""
    for what, at in (("its flare changed", peer.flare_at), ("it has just taken my claim", peer.took_mine_at)):
        if at is not None and evidence.now - at < FLARE_VALID:
            return "%s %.1f s ago" % (what, evidence.now - at)
    for other, heard in evidence.heard.items():
        fresh = (
            heard.heartbeat_at is not None and peer.suspected_at is not None and heard.heartbeat_at >= peer.suspected_at
        )
        if fresh and heard.report is not None and heard.report.views.get(name) in (HEALTHY, SICK, UNMANAGED):
            return "%s hears it" % other
    return ""


def _unproven(evidence: Evidence, since: float) -> str:
    """What this node has not proven about itself since a moment; evidence from before a suspicion says nothing about it."""
    me = evidence.me
    if not me.forwarding:
        return me.fact
    if not me.internet or me.internet_at is None or me.internet_at < since:
        return "my own internet access is not proven since the silence began"
    if not me.ec2 or me.ec2_at is None or me.ec2_at < since:
        return "the EC2 API has not answered me since the silence began"
    return ""


def _doubt(config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard) -> str:
    """Why I, not the peer, may be the suspect (L4). Evidence must be younger than the suspicion, so it is gathered during the burst."""
    since = peer.suspected_at if peer.suspected_at is not None else evidence.now
    unproven = _unproven(evidence, since)
    if unproven:
        return unproven
    if heard.unanswered < LEAST_UNANSWERED:
        return "only %d of my probes have left this node" % heard.unanswered
    # If I was cut off until just now, the peer must have its chance to be heard again.
    if peer.proven_at is None or evidence.now - peer.proven_at < 2 * config.heartbeat.interval:
        return "my own internet access is proven only just now"
    # All peers gone at the same time: rather I am. A dead one cannot flare, so after a long silence without flares it is they after all.
    expected = [other for other, seen in memory.peers.items() if seen.verdict != FAILED]
    late = [_silence(memory, evidence, evidence.heard.get(other, Heard()).heartbeat_at) for other in expected]
    at_once = len(expected) > 1 and peer.verdict != FAILED and min(late) > LATE * config.heartbeat.interval
    if at_once and evidence.now - since < config.fence.after:
        return "I hear none of the other nodes"
    return ""


def explain(
    config: Config, memory: Memory, evidence: Evidence, peer: PeerMemory, heard: Heard, name: str, kind: str
) -> str:
    """The evidence for a verdict in words: one line that an operator can act on (L11)."""
    parts = [_ago("heartbeat", evidence.now, heard.heartbeat_at), _ago("ICMP", evidence.now, heard.icmp_at)]
    if heard.unanswered:
        parts.append("%d probes unanswered" % heard.unanswered)
    if heard.report is not None and heard.report.fact:
        parts.append("it says: %s" % heard.report.fact)
    if kind in (SILENT, FAILED, PARTITIONED):
        parts.append(_alive_elsewhere(evidence, peer, name) or "no flare")
        parts.append(
            _doubt(config, memory, evidence, peer, heard) or "own forwarding, internet and EC2 API proven meanwhile"
        )
    view = evidence.instances.get(name)
    parts.append("EC2 said %s %.1f s ago" % (view.state, evidence.now - view.read_at) if view else "EC2 not read yet")
    return ", ".join(parts)


def _ago(what: str, now: float, at: t.Optional[float]) -> str:
    return "no %s yet" % what if at is None else "%s %d ms ago" % (what, (now - at) * 1000)


# --- this node -----------------------------------------------------------------------------------------------------------------


def _fitness(config: Config, memory: Memory, evidence: Evidence) -> t.Tuple[bool, str]:
    """May this node write at all? (L1, L4) Returns (fit, the reason against it)."""
    me = evidence.me
    for good, reason in (
        (me.forwarding, "this node does not forward (%s)" % me.fact),
        (me.internet, "this node does not reach the internet"),
        (me.ec2, "the EC2 API does not answer this node"),
    ):
        if not good:
            return False, reason
    return True, ""


def _damp(config: Config, memory: Memory, evidence: Evidence, fit: bool) -> Memory:
    """Count proven health from its start; forget flaps after a long quiet time at home (L7)."""
    since = (memory.fit_since if memory.fit_since is not None else evidence.now) if fit else None
    quiet = memory.returned_at is not None and evidence.now - memory.returned_at > config.returns.maximum
    return replace(memory, fit_since=since, flaps=0 if quiet and memory.mine else memory.flaps)


def return_after(config: Config, memory: Memory) -> float:
    """Seconds of proven health before this node takes its claims back: doubles with each flap (L7)."""
    return min(config.returns.after * 2 ** min(memory.flaps, 30), config.returns.maximum)


def _forbidden(config: Config, evidence: Evidence, why_not: str) -> str:
    """The one gate before all writes: the reason that forbids them, or nothing."""
    if config.mode == "observe":
        return "mode is observe"
    if evidence.paused:
        return "the cluster is paused"
    return why_not


# --- claims --------------------------------------------------------------------------------------------------------------------


def _loss(config: Config, memory: Memory, evidence: Evidence, name: str) -> str:
    """Why this peer's claims need an heir, or nothing."""
    peer = memory.peers[name]
    report = evidence.heard.get(name, Heard()).report
    if peer.verdict == FAILED:
        return "failed"
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
        report = evidence.heard.get(name, Heard()).report
        if peer.verdict == HEALTHY and report is not None and report.state == ACTIVE:
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
    losses = {name: _loss(config, memory, evidence, name) for name in memory.peers}
    actions: t.List[SetRoute] = []
    drift: t.Dict[str, str] = {}
    for claim, view in evidence.routes.items():
        owner = owners.get(view.target or "")
        if owner == config.self_name and view.state == ROUTE_ACTIVE:
            continue
        if view.state == ROUTE_NO_TABLE:
            drift[str(claim)] = (
                "route table %s does not exist in EC2; create it, or take it out of the configuration"
                % claim.route_table
            )
            continue
        if owner is None and view.state == ROUTE_ACTIVE:
            drift[str(claim)] = "%s points to %s, which is no node of this cluster" % (
                claim,
                view.target,
            )  # L8: report, don't fight
            continue
        kind, reason = _plan_claim(config, memory, evidence, claim, view, owner, losses, eligible)
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
) -> t.Tuple[str, str]:
    """What this node does about a claim that is not its own now: (adopt | mend | return, reason), or ("", "")."""
    me = config.self_name
    if owner == me:
        return (
            "",
            "",
        )  # a blackhole that points to me: EC2 will see that I run, and writing the same again changes nothing
    if view.state != ROUTE_ACTIVE:
        # Nothing flows there: the heir mends it at once, there is nothing to lose (L8).
        return ("mend", "the route is %s" % view.state) if heir(claim, eligible) == me else ("", "")
    loss = losses.get(owner or "", "")
    if loss:
        fresh = view.read_at >= _doubted_at(memory.peers[owner or ""])
        return ("adopt", "%s %s" % (owner, loss)) if fresh and heir(claim, eligible) == me else ("", "")
    if claim.home == me and me in eligible and config.returns.policy == "auto":
        # A loss while I was fit (the peer could not hear me) counts like a failure: otherwise two nodes would tear at the claim.
        proven = evidence.now - max(
            at for at in (memory.fit_since, memory.lost_at, memory.awake_since) if at is not None
        )
        if proven >= return_after(config, memory):
            return "return", "forwarding proven for %d s" % proven
    return "", ""


def _doubted_at(peer: PeerMemory) -> float:
    """Evidence older than this says nothing about the peer's present state."""
    return peer.suspected_at if peer.suspected_at is not None else peer.since


# --- what the shell must find out ----------------------------------------------------------------------------------------------


def _probes(config: Config, memory: Memory, evidence: Evidence) -> t.Dict[str, float]:
    beat = config.heartbeat
    return {
        name: beat.burst_interval
        if evidence.now - peer.suspected_at < BURST_LENGTH * beat.silent_after
        else beat.interval
        for name, peer in memory.peers.items()
        if peer.suspected_at is not None
    }


def _watch(config: Config, memory: Memory, evidence: Evidence) -> t.Optional[float]:
    """How often to read EC2: often while a flare may still come in time to spare a swap, then steadily, None without a suspicion."""
    began = [peer.suspected_at for peer in memory.peers.values() if peer.suspected_at is not None]
    if not began:
        return None
    return config.heartbeat.silent_after / 4 if evidence.now - max(began) < 2 * config.heartbeat.silent_after else 1.0


def _must_flare(config: Config, memory: Memory, evidence: Evidence) -> bool:
    """Flare while I suspect a peer, or a peer that I hear suspects me (one-way loss)."""
    if any(peer.suspected_at is not None for peer in memory.peers.values()):
        return True
    return any(
        heard.report is not None
        and heard.report.views.get(config.self_name) in SUSPICIOUS
        and memory.peers[name].verdict in (HEALTHY, SICK)
        for name, heard in evidence.heard.items()
        if name in memory.peers
    )


def _must_refresh(memory: Memory, evidence: Evidence) -> t.Optional[float]:
    """When routes, my internet access or the API's health are known only from before a suspicion or a verdict: that time."""
    needed = max(
        (_doubted_at(peer) for peer in memory.peers.values() if peer.suspected_at is not None or peer.verdict == SICK),
        default=None,
    )
    if needed is None:
        return None
    known = [evidence.me.internet_at, evidence.me.ec2_at, *(view.read_at for view in evidence.routes.values())]
    return needed if any(at is None or at < needed for at in known) else None
