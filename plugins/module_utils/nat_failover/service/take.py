# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's orders to take claims: home ones now, or one that targets a stranger.

An order is evidence for the decision and writes nothing itself. So each law but the one that it is
about holds: a node that is paused, drained or unfit refuses.
"""

from __future__ import annotations

import logging
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import WITNESS, Claim, owners_of
from ..model.order import By
from ..policy import explain, heirs
from .evidence import case_now
from .parts import Parts

LOOK_EVERY = 0.1  # seconds between two comparisons while an order is carried out
WITHIN = 20.0  # seconds for it
Answer = dict[str, t.Any]


class Take:
    """Carries out the orders of one service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def give_back(self, table: str, by: By) -> Answer:
        """Take the home claims of this node back now, those of one table, or all (``""``).

        The damping of returns is skipped (law L7). Raises ``NatFailoverError`` with the reason if
        this node may not own claims, or does not own them in time.
        """
        claims = await self._home_claims(table)
        strange = [claim for claim in claims if self._owner(claim) is None and self._target(claim)]
        if table and strange:
            target = self._target(strange[0])
            remedy = f"if {target} was not meant, run `nat-failover adopt {table}`"
            raise NatFailoverError(f"{strange[0]} targets {target}, which is no node's (law L8); {remedy}")
        me = self._parts.config.self_name
        away = [claim for claim in claims if claim not in strange and self._owner(claim) != me]
        if not away:
            return {"changed": False, "state": "at home"}
        await self._carry_out("return", away, by)
        return {"changed": True, "state": f"{', '.join(map(str, away))}: at home"}

    async def adopt(self, table: str, sure: bool, by: By) -> Answer:
        """Point the routes of a table of this node, which target a stranger, to this node.

        Without ``sure`` the refusal names the old and the new target. Raises ``NatFailoverError``.
        """
        claims = await self._home_claims(table)
        strange = [claim for claim in claims if self._owner(claim) is None and self._target(claim)]
        if not strange:
            return {"changed": False, "state": f"{table}: no route targets a stranger"}
        own = self._parts.collector.instances[self._parts.config.self_name].interface_id
        moves = ", ".join(f"{claim} from {self._target(claim)} to {own}" for claim in strange)
        if not sure:
            raise NatFailoverError(f"this points {moves}; add --yes if that is meant")
        await self._carry_out("adopt", strange, by)
        return {"changed": True, "state": f"moved {moves}"}

    def require_heir(self, node: str) -> None:
        """Refuse a switchover to a node that would not get all claims of this node.

        All nodes derive the heir of a claim by the same hash, so none can be chosen. Raises
        ``NatFailoverError`` with the heirs.
        """
        parts, me = self._parts, self._parts.config.self_name
        case = case_now(parts)
        nodes = [name for name in heirs.eligible_nodes(case) if name != me]
        if node not in nodes:
            peer = parts.memory.peers.get(node)
            state = peer.verdict if peer is not None else "not known"
            others = f"; {', '.join(nodes)} could" if nodes else ""
            raise NatFailoverError(f"{node} could not take over now: it is {state}, or drained, or a witness{others}")
        split = {claim: heirs.heir(claim, nodes) for claim in parts.owned}
        others = ", ".join(f"{claim} to {name}" for claim, name in split.items() if name != node)
        if others:
            remedy = "`nat-failover drain` hands each over to its heir"
            raise NatFailoverError(
                f"not all claims would go to {node}, but {others}: all nodes derive the heirs alike; {remedy}"
            )

    async def _home_claims(self, table: str) -> list[Claim]:
        """The claims that an order is about, by a new reading. Raises ``NatFailoverError``."""
        parts, me = self._parts, self._parts.config.self_name
        if parts.drain.state == WITNESS:
            raise NatFailoverError("this node is a witness: it owns no claims")
        parts.collector.find_tables()
        await parts.collector.read_since(parts.runtime.now())
        claims = [claim for claim in parts.collector.routes if table in ("", claim.route_table)]
        homes = sorted({claim.home for claim in claims} - {me})
        if table and not claims:
            raise NatFailoverError(f"no claim is on the route table {table}; `nat-failover status` lists them")
        if table and homes:
            raise NatFailoverError(f"the home of {table} is {homes[0]}; run this there")
        refusal = self._refusal()
        if refusal:
            raise NatFailoverError(refusal)
        return [claim for claim in claims if claim.home == me]

    def _refusal(self) -> str:
        """Why this node may take nothing now. Empty: it may."""
        parts = self._parts
        case = case_now(parts)
        reasons = explain.gates(case)
        if parts.drain.why:
            reasons.append(f"this node is {parts.drain.state} ({parts.drain.why})")
        laws = "laws L1 and L4 of docs/safety.md forbid it to write" if case.unfit else "end that first"
        return f"{'; '.join(reasons)}; {laws}" if reasons else ""

    def _owner(self, claim: Claim) -> str | None:
        owners = owners_of(self._parts.collector.instances, self._parts.config.witnesses)
        former = self._parts.memory.former.get(self._target(claim))
        return owners.get(self._target(claim), former)

    def _target(self, claim: Claim) -> str:
        view = self._parts.collector.routes.get(claim)
        return (view.target or "") if view is not None else ""

    async def _carry_out(self, order: str, claims: t.Sequence[Claim], by: By) -> None:
        """Order the claims until this node owns them. Raises ``NatFailoverError`` if it does not."""
        parts, me = self._parts, self._parts.config.self_name
        text = f"{order} {', '.join(map(str, claims))}, {by}"
        parts.events.emit("ordered", text, logging.WARNING, order=order, **by.details)
        parts.ordered = parts.ordered | frozenset(claims)
        end = parts.runtime.now() + WITHIN
        try:
            parts.collector.wake()
            while parts.runtime.now() < end and any(self._owner(claim) != me for claim in claims):
                await parts.runtime.sleep(LOOK_EVERY)
        finally:
            parts.ordered = parts.ordered - frozenset(claims)
        left = [claim for claim in claims if self._owner(claim) != me]
        if left:
            refused = [f"{each.problem}" for each, _next in parts.executor.refused()]
            why = "; ".join(refused) or "EC2 does not show them here; read `nat-failover status`"
            raise NatFailoverError(f"{', '.join(map(str, left))} not taken within {WITHIN:.0f} s: {why}")
