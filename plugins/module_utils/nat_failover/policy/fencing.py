# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a failed node is stopped and started: the part of the policy that can hurt, so it stands alone. Pure, like policy.py.

A fence is level-triggered too. Its stages are written on the failed instance (tag ``nat-failover:fence`` = ``<fencer>:<stage>``) before each call, so a
fencer that restarts in the middle finds out what it still owes: a node that it stopped is started again.
With a witness table, ``locking.py`` has the last word.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model.cluster import (
    ACTIVE,
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    TAG_DRAINED,
    TAG_FENCE,
    TAG_MAINTENANCE,
    WITNESS,
    Evidence,
    FenceStep,
    InstanceView,
    Memory,
    PeerMemory,
)
from ..model.settings import Config
from . import fence_lock as locking

HOUR = 3600.0
MARKED = "marked"  # the stage before the first call that stops anything
SETTLED = 10.0  # seconds after which EC2 surely shows the effect of a call


class Case(t.NamedTuple):
    """One peer, with all that a decision on fencing it rests on. ``owners``: interface id -> node."""

    config: Config
    memory: Memory
    evidence: Evidence
    owners: t.Mapping[str, str]
    name: str
    peer: PeerMemory
    view: InstanceView


def plan(
    config: Config, memory: Memory, evidence: Evidence, owners: t.Mapping[str, str]
) -> t.Tuple[Memory, t.Tuple[FenceStep, ...]]:
    """The next step of each fence, if any. Fences that are over are forgotten."""
    if memory.fences:
        memory = memory.updated(fences=tuple(at for at in memory.fences if evidence.now - at < HOUR))
    memory = locking.watch(memory, evidence)
    if config.fence.policy == "none" or config.mode == "route" or evidence.me.state == WITNESS:
        return memory, ()
    peers = dict(memory.peers)
    steps: t.Dict[t.Tuple[str, ...], FenceStep] = {}
    for name, peer in memory.peers.items():
        view = evidence.instances.get(name)
        if view is None or not view.instance_id:
            continue
        peers[name] = peer = _observe(peer, view, evidence.now)
        if config.witness.table is None and peer.verdict != FAILED and TAG_FENCE not in view.tags:
            continue  # nobody is fencing it, nobody wants to, and there is no lock to look after
        case = Case(config, memory, evidence, owners, name, peer, view)
        wanted, reason = _step(case)
        step, about_lock = locking.guard(config, memory, evidence, name, wanted, _under_way(case))
        if step:
            text = "%s %s: %s" % (step, name, about_lock or reason)
            # The instance that all this was seen of, not one that may take its place meanwhile.
            planned = FenceStep(step, name, view.instance_id, text, memory.lock_value)
            steps.setdefault(planned.key, planned)  # there is one lock: one step about it at a time
    return memory.updated(peers=peers), tuple(steps.values())


def remember(memory: Memory, steps: t.Sequence[FenceStep], now: float) -> Memory:
    """Record what is being done, so that it is done once an incident."""
    if not steps:
        return memory
    peers = dict(memory.peers)
    fences = memory.fences
    for step in steps:
        peer = peers[step.peer]
        if step.step == "mark":
            fences = (*fences, now)
        stage = {"mark": MARKED, "stop": "stop", "reboot": "started", "start": "started"}.get(
            step.step, peer.fence_stage
        )
        if stage != peer.fence_stage:
            peers[step.peer] = replace(peer, fence_stage=stage, fence_at=now)
    return memory.updated(peers=peers, fences=fences)


def holder(view: InstanceView) -> t.Tuple[str, str]:
    """(fencer, stage) from the fence tag, or two empty strings."""
    fencer, _colon, stage = view.tags.get(TAG_FENCE, "").rpartition(":")
    return fencer, stage


def _under_way(case: Case) -> bool:
    """Have I begun a fence of this peer that is not over yet?"""
    begun = case.peer.fence_stage in ("stop", "stopped") and case.evidence.now - case.peer.fence_at < SETTLED
    return begun or holder(case.view) == (case.config.self_name, "stop")


def _observe(peer: PeerMemory, view: InstanceView, now: float) -> PeerMemory:
    if peer.seen_healthy and peer.verdict != HEALTHY and view.state != "running":
        # Whoever switched it off and on again: its boot is no silence to be punished, so it has to be seen healthy anew (L6).
        peer = replace(peer, seen_healthy=False)
    if peer.verdict == HEALTHY and TAG_FENCE not in view.tags:
        return replace(peer, fence_stage="") if peer.fence_stage else peer
    if peer.fence_stage == "stop" and view.state in ("stopping", "stopped"):
        return replace(peer, fence_stage="stopped", fence_at=now)
    return peer


def _step(case: Case) -> t.Tuple[str, str]:
    """The next step for one peer: (step, reason), or ("", "")."""
    config, memory, peer, view = case.config, case.memory, case.peer, case.view
    fencer, stage = holder(view)
    if fencer == config.self_name:
        return _go_on(case)
    if not fencer and peer.verdict != FAILED:
        return "", ""
    if not fencer:
        forbidden = objection(case)
        begun = peer.fence_stage not in ("", MARKED)
        return ("", "") if forbidden or begun else ("mark", "about to fence it")
    other = memory.peers.get(fencer)
    if stage == "stop" and view.state == "stopped" and (other is None or other.verdict == FAILED):
        return "start", "%s stopped it and has failed itself" % fencer
    return "", ""


def _go_on(case: Case) -> t.Tuple[str, str]:
    """A fence that I have begun, by what EC2 says of the instance: the table of steps."""
    config, memory, peer, view, now = case.config, case.memory, case.peer, case.view, case.evidence.now
    stage = holder(view)[1]
    if stage == "stop" and view.state == "stopped":
        return "start", "I stopped it"
    if stage == "stop" and view.state == "stopping":
        since = now - (peer.fence_at if peer.fence_stage else memory.awake_since)
        return ("force_stop", "still stopping after %d s" % since) if since > config.fence.stop_timeout else ("", "")
    if view.state != "running":
        return "", ""
    # A stop may still be under way although EC2 says running: to forget it too early would leave the node stopped for good.
    sure = stage != "stop" or now - max(peer.since, memory.awake_since) > SETTLED
    if peer.verdict == HEALTHY:
        return ("unmark", "it is healthy") if sure else ("", "")
    if stage != "stop" or peer.fence_stage not in ("", MARKED, "stop"):
        return "", ""
    # The mark has been read back, so all is asked again: the peer may have shown a sign of life meanwhile.
    forbidden = objection(case)
    if forbidden:
        return ("unmark", forbidden) if sure else ("", "")
    silence = now - (peer.suspected_at if peer.suspected_at is not None else now)
    kind = "reboot" if config.fence.policy == "reboot" else "stop"
    return kind, "failed, and silent without a flare for %d s" % silence


def objection(case: Case) -> str:
    """The reason why this peer must not be fenced now, or nothing: the first that holds."""
    rows = _objections(case)
    return next((reason for holds, reason in rows if holds), "")


def _objections(case: Case) -> t.Tuple[t.Tuple[bool, str], ...]:
    """All objections to a fence: (does it hold?, in words)."""
    config, memory, evidence, owners, name, peer, view = case
    now, me = evidence.now, evidence.instances.get(config.self_name)
    said = evidence.heard.get(name, NOTHING_HEARD).report
    # L6: what the peer itself or an operator has announced; what EC2 says it does already
    announced = said is not None and said.state != ACTIVE
    tagged = TAG_MAINTENANCE in view.tags or TAG_DRAINED in view.tags
    # L3: silence counts from the last sign of life, and not while none may be written; the lower rank waits longer, and a reading of
    # its flare must be recent
    signs = (peer.suspected_at, peer.flare_at, peer.item_at, peer.took_mine_at, memory.awake_since, memory.paused_at)
    silence = now - max(at for at in signs if at is not None)
    wait = config.fence.after + config.fence.stagger * config.rank(config.self_name)
    unread = now - view.read_at > config.ec2.poll + config.ec2.read_timeout
    # L2: the routes first, also of tables that are new, and no more than the budget (my present mark is counted already)
    tables = evidence.tables_at is None or now - evidence.tables_at > 2 * config.ec2.poll + config.ec2.read_timeout
    pointing = {owners.get(route.target or "") for route in evidence.routes.values()}
    spent = len([at for at in memory.fences if now - at < HOUR]) - (holder(view)[0] == config.self_name)
    return (
        (peer.verdict != FAILED, "its verdict is %s" % peer.verdict),
        (name in config.witnesses, "it is a witness"),
        (not peer.seen_healthy, "it was never seen healthy"),
        (announced, "it said it is %s" % (said.state if said else "")),
        (view.state != "running", "EC2 says %s" % view.state),
        (tagged, "it is tagged as drained or under maintenance"),
        (me is None or holder(me)[1] == "stop", "I am being fenced myself"),
        (silence < wait, "silent and without a flare for %d of %d s" % (silence, wait)),
        (unread, "its flare was not read lately"),
        (tables, "route tables were not looked for lately"),
        (not evidence.routes or name in pointing, "a route still points to it"),
        (spent >= config.fence.max_per_hour, "the budget of %d fences an hour is spent" % config.fence.max_per_hour),
    )
