# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state that this node announces, and its hand-over of claims.

A drain has three origins: the operator, an interruption that EC2 announced, the end of this machine
or service. Only the operator's drain is a tag, since only that one must outlive a reboot. An
interruption is read from EC2 again after a restart, so its drain ends with it. The drain of a
shutdown ends with the shutdown.
"""

from __future__ import annotations

import logging
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import ACTIVE, DRAINED, STOPPING, TAG_DRAINED, WITNESS
from ..model.evidence import HEALTHY
from ..policy import interruption
from .parts import Parts

READ_EVERY = 0.1  # seconds between readings of EC2 while a command waits for a drain
Answer = dict[str, t.Any]


class Drain:
    """Keeps ``parts.drain`` up to date. ``announce()`` publishes a changed state at once."""

    def __init__(self, parts: Parts, announce: t.Callable[[], None]) -> None:
        self._parts = parts
        self._drain = parts.drain
        self._announce = announce
        self._overruled: frozenset[str] = frozenset()  # texts of interruptions that the operator set aside
        # The moment of this service's last change of the tag. Older readings do not count.
        self._tagged_at = float("-inf")
        if parts.config.me.witness:
            self._drain.state = WITNESS

    def follow(self) -> None:
        """Derive the state from the tag, the interruptions and the routes."""
        if self._drain.state != WITNESS:
            self._follow_tag()
            self._follow_interruptions()
            self._become()

    def leave_now(self) -> None:
        """Announce the end of the service, without a hand-over."""
        self._drain.state = STOPPING

    def _follow_tag(self) -> None:
        """Follow the drained tag on this instance, which decides also after a restart."""
        view = self._parts.collector.instances.get(self._parts.config.self_name)
        if view is None or view.read_at <= self._tagged_at or self._parts.executor.tagging:
            return
        if TAG_DRAINED not in view.tags:
            self._drain.operator = ""
        elif not self._drain.operator:
            self._drain.operator = f"the tag {TAG_DRAINED} is on this instance"

    def _follow_interruptions(self) -> None:
        """Follow the announcements of EC2, except those that the operator set aside."""
        standing = self._parts.collector.interruptions
        if not standing and not self._drain.interruptions and not self._overruled:
            return
        self._overruled &= {each.text for each in standing}
        valid = [each for each in standing if each.text not in self._overruled]
        now = self._parts.runtime.wall_time()
        self._drain.interruptions = interruption.pressing(self._parts.config.handover, valid, now)

    def _become(self) -> None:
        """Change the announced state, and report the change."""
        drain, emit = self._drain, self._parts.events.emit
        before = drain.state
        drain.state = interruption.state(drain.why, self._owned_count() if drain.why else None)
        if drain.state == before:
            return
        if drain.state == ACTIVE:
            emit("resumed", "no reason for the drain is left; this node may own claims again")
            return
        if before == ACTIVE or drain.state != DRAINED:
            emit("draining", drain.why)
        if drain.state == DRAINED:
            emit("drained", "no route targets this node any more")

    def _owned_count(self) -> int | None:
        """The number of routes that target this node. None: not read yet."""
        collector = self._parts.collector
        known = collector.routes and self._parts.config.self_name in collector.instances
        return len(self._parts.owned) if known else None

    def _publish(self) -> None:
        """Take over and announce a new state now instead of at the next tick."""
        self._become()
        self._announce()

    # --- commands ---------------------------------------------------------------------------------

    async def drain(self, reason: str, wait: float) -> Answer:
        """The operator's drain. Returns when no route targets this node.

        Raises ``NatFailoverError`` if no peer can take over, or names the claims that are left
        after ``wait`` seconds.
        """
        if self._drain.state == WITNESS:
            raise NatFailoverError("this node is a witness: it owns no claims, so maintenance needs no drain")
        changed = not self._drain.operator
        if changed and self._parts.owned and not self._heirs():
            raise NatFailoverError(f"no peer can take over now: {self._peers()}; repair or resume a peer first")
        if changed:
            self._drain.operator, self._tagged_at = reason, self._parts.runtime.now()
            self._publish()
            await self._parts.executor.tag_self(TAG_DRAINED, reason)
            self._tagged_at = self._parts.runtime.now()
        if not await self._handed_over(wait):
            raise NatFailoverError(
                f"{self._left(wait)}; read `nat-failover status` on the peers, or `nat-failover resume` here"
            )
        return {"changed": changed, "state": self._drain.state}

    async def resume(self) -> Answer:
        """End the drain, also one of an interruption. Returns when the tag is removed.

        Claims come home after ``return.after_s`` of proven forwarding. Raises ``NatFailoverError``
        if this machine or service ends.
        """
        if self._drain.ending:
            raise NatFailoverError(f"{self._drain.ending}; this node is eligible again after its next start")
        changed = self._drain.state not in (ACTIVE, WITNESS)
        if changed:
            await self._parts.executor.tag_self(TAG_DRAINED, None)
            self._overruled |= {each.text for each in self._drain.interruptions}
            self._drain.operator, self._tagged_at = "", self._parts.runtime.now()
            self._follow_interruptions()
            self._publish()
        return {"changed": changed, "state": self._drain.state}

    async def leave(self, why: str) -> Answer:
        """Hand over within ``handover.wait_s``, before this machine or service ends in any case.

        Raises ``NatFailoverError`` with the claims that are left.
        """
        wait = self._parts.config.handover.wait
        if self._drain.state == WITNESS:
            return {"changed": False, "state": self._drain.state}
        changed, self._drain.ending = not self._drain.ending, why
        self._publish()
        if self._parts.owned and not self._heirs():
            raise self._abandoned(f"no peer takes over: {self._peers()}")
        if not await self._handed_over(wait):
            raise self._abandoned(self._left(wait))
        return {"changed": changed, "state": self._drain.state}

    def _abandoned(self, problem: str) -> NatFailoverError:
        """Report a hand-over that failed, and return its error."""
        self._parts.events.emit("abandoned", f"{self._drain.ending}, and {problem}", logging.ERROR)
        return NatFailoverError(problem)

    # --- progress ---------------------------------------------------------------------------------

    async def _handed_over(self, wait: float) -> bool:
        """Wait up to ``wait`` seconds until no route targets this node.

        Returns whether that is so.
        """
        runtime = self._parts.runtime
        began = runtime.now()
        if self._parts.owned:
            # The peers need this moment for their writes. A reading would show nothing new yet
            await runtime.sleep(READ_EVERY)
        self._parts.collector.find_tables()
        while not self._empty(began) and runtime.now() < began + wait:
            self._parts.collector.read_soon()
            await runtime.sleep(READ_EVERY)
        return self._empty(began)

    def _empty(self, since: float) -> bool:
        """Whether no route targets this node, by a reading younger than ``since``.

        The last reading counts if EC2 does not answer.
        """
        collector = self._parts.collector
        known = all(view.read_at >= since for view in collector.routes.values())
        found = collector.tables_at is not None and collector.tables_at >= since  # a new table may target this node
        return self._drain.state == DRAINED and ((known and found) or not collector.me.ec2)

    def _heirs(self) -> list[str]:
        """The peers that could take claims over now."""
        if self._parts.paused:
            return []
        heard = self._parts.transport.heard()
        healthy = [name for name, peer in self._parts.memory.peers.items() if peer.verdict == HEALTHY]
        return [name for name in healthy if self._state_of(heard.get(name)) == ACTIVE]

    @staticmethod
    def _state_of(heard: t.Any) -> str | None:
        """The state that a peer announced last. None: it announced none."""
        return heard.report.state if heard is not None and heard.report is not None else None

    def _left(self, waited: float) -> str:
        """The claims that are left after ``waited`` seconds, and the reasons."""
        left = ", ".join(str(claim) for claim in self._parts.owned)
        return f"this node still owns {left} after {int(waited)} s: {self._peers()}"

    def _peers(self) -> str:
        """The reasons for claims that stay: the state of each peer, and the pause."""
        heard = self._parts.transport.heard()
        peers = [
            f"{name} is {peer.verdict}, {self._state_of(heard.get(name))}"
            for name, peer in self._parts.memory.peers.items()
        ]
        return "; ".join([*peers, *filter(None, [self._parts.paused])])
