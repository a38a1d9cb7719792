# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's order to fence a peer.

An order is evidence for the decision and writes nothing itself. It takes the place of the verdict
``failed``. Each other objection to a fence holds, and the budget of fences is spent all the same.
"""

from __future__ import annotations

import logging
import typing as t
from dataclasses import replace

from ..errors import NatFailoverError
from ..model.cluster import EC2_RUNNING
from ..model.evidence import FAILED
from ..model.order import By
from ..policy import explain, fitness
from ..policy.case import UNWELL, Fence
from ..policy.marks import STARTED
from .evidence import gather
from .parts import Parts

LOOK_EVERY = 0.2  # seconds between two comparisons while an order is carried out
WITHIN = 60.0  # seconds in which EC2 must show that the peer ends
Answer = dict[str, t.Any]


class FenceOrder:
    """Carries out the orders of one service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def fence(self, peer: str, sure: bool, typed: str, by: By) -> Answer:
        """Stop and start a peer, or reboot it if that is the policy.

        Returns once EC2 shows that it ends. ``sure`` is enough for a peer that has failed. For
        another one that is not well ``typed`` must be its name. Raises ``NatFailoverError`` with
        all objections that hold.
        """
        parts = self._parts
        if peer not in parts.memory.peers:
            raise NatFailoverError(f"{peer} is no peer of this node; `nat-failover status` lists them")
        if not by.reason:
            raise NatFailoverError(f"a fence of {peer} needs a reason; give it with --reason")
        self._require_free(peer)
        parts.collector.find_tables()
        await parts.collector.read_since(parts.runtime.now())
        self._require_unwell(peer)
        self._require_confirmed(peer, sure, typed)
        order = f"ordered {by}"
        self._require_no_objection(peer, order)
        parts.events.emit("ordered", f"fence {peer}, {by}", logging.WARNING, order="fence", peer=peer, **by.details)
        await self._carry_out(peer, order)
        return {
            "changed": True,
            "state": f"{peer} ends; this node starts it again (`nat-failover history` has the steps)",
        }

    def _require_free(self, peer: str) -> None:
        """Refuse a second order for the same peer."""
        standing = self._parts.fence_ordered.get(peer)
        if standing:
            raise NatFailoverError(f"a fence of {peer} is {standing}; wait for its end")

    def _require_unwell(self, peer: str) -> None:
        """Refuse a peer that is well, or of which nothing is known."""
        found = self._parts.memory.peers[peer].verdict
        if found not in UNWELL:
            remedy = f"drain it on {peer}, then stop its instance in EC2"
            raise NatFailoverError(f"{peer} is {found}: only a peer that is not well is fenced; {remedy}")

    def _require_confirmed(self, peer: str, sure: bool, typed: str) -> None:
        """Refuse an order that its giver has not confirmed."""
        found = self._parts.memory.peers[peer].verdict
        if typed == peer or (sure and found == FAILED):
            return
        if sure:
            raise NatFailoverError(
                f"{peer} is {found} and has not failed: --yes is not enough; leave it out and type the name {peer}"
            )
        raise NatFailoverError(f"not confirmed: the name typed is {typed!r}; type {peer} to stop and start it")

    def _require_no_objection(self, peer: str, order: str) -> None:
        against = self._against(peer, order)
        if against:
            raise NatFailoverError(f"{peer} is not fenced: {'; '.join(against)}")

    def _against(self, peer: str, order: str) -> list[str]:
        """All objections to the fence, as the policy has them."""
        parts = self._parts
        evidence = gather(parts, parts.runtime.now())
        evidence = replace(evidence, fence_ordered={**evidence.fence_ordered, peer: order})
        case = fitness.assess(parts.config, parts.memory, evidence)
        instance = evidence.instances.get(peer)
        if instance is None or not instance.instance_id:
            return ["EC2 has not shown its instance yet"]
        fence = Fence(case, peer, parts.memory.peers[peer], instance)
        begun = [f"{fence.fencer} has begun a fence of it (stage {fence.stage})"] if fence.fencer else []
        return [*begun, *explain.against_fence(case, fence)]

    async def _carry_out(self, peer: str, order: str) -> None:
        """Give the order to the decision until the peer ends.

        Raises ``NatFailoverError`` if it does not.
        """
        parts = self._parts
        parts.fence_ordered = {**parts.fence_ordered, peer: order}
        end = parts.runtime.now() + WITHIN
        try:
            parts.collector.wake()
            while parts.runtime.now() < end and not self._ends(peer):
                await parts.runtime.sleep(LOOK_EVERY)
        finally:
            parts.fence_ordered = {name: each for name, each in parts.fence_ordered.items() if name != peer}
        if not self._ends(peer):
            refused = [each.problem for each, _next in parts.executor.refused() if peer in each.key]
            why = "; ".join([*refused, *self._against(peer, order)]) or "read `nat-failover explain`"
            raise NatFailoverError(f"{peer} does not end within {WITHIN:.0f} s: {why}")

    def _ends(self, peer: str) -> bool:
        """Whether EC2 shows that the instance ends, or its mark that it was rebooted."""
        evidence = gather(self._parts, self._parts.runtime.now())
        mark = evidence.marks.get(peer)
        own = mark is not None and mark.fencer == self._parts.config.self_name
        return own and (evidence.instances[peer].state != EC2_RUNNING or (mark is not None and mark.stage == STARTED))
