# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that a running service takes over its control socket."""

from __future__ import annotations

import logging
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import TAG_PAUSE
from ..model.order import NOBODY, By
from ..model.text import plain
from ..policy import explain, pause
from . import rows, status
from .drain import Drain
from .evidence import gather
from .fence_order import FenceOrder
from .parts import Parts
from .take import Take

Answer = dict[str, t.Any]


class Commands:
    """One method for each command.

    Each returns a dictionary with ``changed`` and ``state``, except for ``status``. Each raises
    ``NatFailoverError`` with the reason if it cannot do its work. Lengths of time are seconds.
    """

    def __init__(self, parts: Parts, drain: Drain) -> None:
        self._parts = parts
        self._drain = drain
        self._take = Take(parts)
        self._fence = FenceOrder(parts)

    def status(self) -> Answer:
        """The whole status. Shape: ``status.status``."""
        return status.status(self._parts)

    def explain(self) -> Answer:
        """Why each claim and each peer is as it is. Keys: ``schema``, ``node``, ``items``.

        Shape of an item: ``policy.explain.Explanation``, with the ``failures`` of its actions.
        """
        parts = self._parts
        now = parts.runtime.now()
        failed = rows.failures(parts, now)
        found = explain.explain(parts.config, parts.memory, gather(parts, now))
        items = [
            {**each._asdict(), "failures": [row for row in failed if each.subject in row["action"].split()]}
            for each in found
        ]
        return {"schema": status.SCHEMA, "node": parts.config.self_name, "items": items}

    async def drain(self, reason: str, wait: float, by: By = NOBODY) -> Answer:
        """Hand over all claims within ``wait`` seconds. The drain outlives a reboot."""
        text = f"{plain(reason)} ({by.actor})" if by.actor else plain(reason)
        return await self._drain.drain(text, wait)

    async def switchover(self, node: str, wait: float, by: By) -> Answer:
        """A drain that is refused unless ``node`` takes over all claims of this node."""
        self._take.require_heir(plain(node))
        return await self.drain(by.reason or f"switchover to {plain(node)}", wait, by)

    async def resume(self, by: By = NOBODY) -> Answer:
        """End a drain: this node may own claims again."""
        answer = await self._drain.resume()
        if answer["changed"]:
            self._parts.events.emit("ordered", f"resume, {by}", order="resume", **by.details)
        return answer

    async def give_back(self, table: str, by: By) -> Answer:
        """Take home claims back now. See ``Take.give_back``."""
        return await self._take.give_back(plain(table), by)

    async def adopt(self, table: str, sure: bool, by: By) -> Answer:
        """Take a table whose routes target a stranger. See ``Take.adopt``."""
        return await self._take.adopt(plain(table), sure, by)

    async def fence(self, peer: str, sure: bool, typed: str, by: By) -> Answer:
        """Stop and start a peer that is not well. See ``FenceOrder.fence``."""
        return await self._fence.fence(plain(peer), sure, typed, by)

    async def leave(self) -> Answer:
        """Hand over all claims before this machine shuts down."""
        return await self._drain.leave("this machine shuts down")

    async def pause(self, length: float, by: By = NOBODY) -> Answer:
        """Let no node of the cluster write anything for ``length`` seconds.

        Peers read the tag within ``ec2.poll_s``.
        """
        parts, value = self._parts, pause.value(self._parts.runtime.wall_time() + length)
        await parts.executor.tag(parts.config.self_name, TAG_PAUSE, value)
        parts.events.emit("paused", f"until {value}, {by}", logging.WARNING, **by.details)
        # All instances carry the tag, since a terminated one takes its tags along.
        for name, view in parts.collector.instances.items():
            if name != parts.config.self_name and view.instance_id:
                await self._pause_also(name, value)
        parts.collector.read_soon()
        return {"changed": True, "state": f"paused until {value}"}

    async def _pause_also(self, name: str, value: str) -> None:
        """Tag a peer too. A peer without the tag reads the pause on the other nodes."""
        try:
            await self._parts.executor.tag(name, TAG_PAUSE, value)
        except NatFailoverError as error:
            text = f"no pause tag on {name}, which reads the pause on the other nodes: {error}"
            self._parts.events.emit("failed", text, logging.WARNING)

    async def unpause(self, by: By = NOBODY) -> Answer:
        """End the pause: remove its tag from every node."""
        parts = self._parts
        await parts.collector.read_since(parts.runtime.now())
        tagged = [name for name, view in parts.collector.instances.items() if TAG_PAUSE in view.tags]
        for name in tagged:
            await parts.executor.tag(name, TAG_PAUSE, None)
        if tagged:
            parts.events.emit("unpaused", str(by), **by.details)
            parts.collector.read_soon()
        return {"changed": bool(tagged), "state": "not paused"}
