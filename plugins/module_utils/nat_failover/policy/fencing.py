# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a failed node is stopped and started. Pure. It stands alone, because it can hurt.

A fence is level-triggered. Its stage is written on the failed instance (tag ``nat-failover:fence``
= ``<fencer>:<stage>``) before each call. With a witness table, ``fence_lock.py`` has the last word.
``fence_steps.py`` holds the steps of a fence, ``fence_objections.py`` the reasons against one.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..model.cluster import EC2_RUNNING, EC2_STOPPED, EC2_STOPPING, TAG_FENCE, WITNESS, InstanceView
from ..model.evidence import FAILED, HEALTHY
from ..model.memory import Memory, PeerMemory
from ..model.plan import FenceStep
from . import fence_lock, fence_steps
from .case import Case, Fence
from .fence_objections import ENDING, HOUR, MARKED
from .fence_steps import SETTLED
from .marks import STOP

# The stage that follows from a step.
STAGES: t.Mapping[str, str] = {"mark": MARKED, "stop": "stop", "reboot": "started", "start": "started"}


def plan(case: Case) -> tuple[Memory, tuple[FenceStep, ...]]:
    """(memory, the next step of each fence, if any). Fences that are over are forgotten."""
    config, memory, evidence = case.config, case.memory, case.evidence
    if memory.fences:
        refunded = _refunded(case)
        fences = (at for at in memory.fences if evidence.now - at < HOUR and at not in refunded)
        memory = memory.updated(fences=tuple(fences))
    memory = fence_lock.watch(memory, evidence)
    if config.fence.policy == "none" or config.mode == "route" or evidence.me.state == WITNESS:
        return memory, ()
    case = case.after(memory)
    peers = dict(memory.peers)
    steps: dict[tuple[str, ...], FenceStep] = {}
    for name, peer in memory.peers.items():
        instance = evidence.instances.get(name)
        if instance is None or not instance.instance_id:
            continue
        peers[name] = peer = _observe(peer, instance, evidence.now, name in evidence.marks)
        ordered = name in evidence.fence_ordered
        if config.witness.table is None and peer.verdict != FAILED and name not in evidence.marks and not ordered:
            continue  # no fence exists or is wanted, and there is no lock to look after
        fence = Fence(case, name, peer, instance)
        wanted, reason = fence_steps.next_step(fence)
        step, about_lock = fence_lock.guard(case, name, wanted, _under_way(fence))
        if step:
            text = f"{step} {name}: {about_lock or reason}"
            # The step names the instance that the evidence is of, not one that may take its place
            # meanwhile.
            void = instance.tags.get(TAG_FENCE, "") if step == "mark" else ""
            planned = FenceStep(step, name, instance.instance_id, text, memory.lock_value, void)
            # There is one lock, so one step about it at a time
            steps.setdefault(planned.key, planned)
    return memory.updated(peers=peers), tuple(steps.values())


def _refunded(case: Case) -> frozenset[float]:
    """The moments of stops and reboots that EC2 refused for good: nothing was stopped."""
    refused, instances = case.evidence.refused, case.evidence.instances
    if not refused:
        return frozenset()
    return frozenset(
        peer.fence_at
        for name, peer in case.memory.peers.items()
        for step in ENDING
        if name in instances and STAGES[step] == peer.fence_stage and (step, instances[name].instance_id) in refused
    )


def remember(memory: Memory, steps: t.Sequence[FenceStep], now: float) -> Memory:
    """The memory with what is being done now, so that it is done once an incident.

    A stop or a reboot spends from the budget, once an incident. A mark alone spends nothing.
    """
    if not steps:
        return memory
    peers = dict(memory.peers)
    fences = memory.fences
    for step in steps:
        peer = peers[step.peer]
        stage = STAGES.get(step.step, peer.fence_stage)
        if step.step in ENDING and peer.fence_at not in fences:
            fences = (*fences, now)
            peers[step.peer] = replace(peer, fence_stage=stage, fence_at=now)
        elif stage != peer.fence_stage:
            peers[step.peer] = replace(peer, fence_stage=stage, fence_at=now)
    return memory.updated(peers=peers, fences=fences)


def _under_way(fence: Fence) -> bool:
    """Whether this node has begun a fence of the peer that is not over yet."""
    begun = fence.peer.fence_stage in ("stop", "stopped") and fence.now - fence.peer.fence_at < SETTLED
    return begun or (fence.fencer, fence.stage) == (fence.case.config.self_name, STOP)


def _observe(peer: PeerMemory, instance: InstanceView, now: float, marked: bool) -> PeerMemory:
    """The peer's memory with what EC2 shows of its instance."""
    if peer.seen_healthy and peer.verdict != HEALTHY and instance.state != EC2_RUNNING:
        # The silence of a machine that boots is no failure, so it has to be seen healthy anew (L6).
        peer = replace(peer, seen_healthy=False)
    if peer.verdict == HEALTHY and not marked:
        return replace(peer, fence_stage="") if peer.fence_stage else peer
    if peer.fence_stage == "stop" and instance.state in (EC2_STOPPING, EC2_STOPPED):
        return replace(peer, fence_stage="stopped", fence_at=now)
    return peer
