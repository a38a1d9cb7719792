# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator asks a running service for, over the control socket."""

from __future__ import annotations

import logging
import time
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import TAG_PAUSE
from ..policy import pause

if t.TYPE_CHECKING:
    from .service import Service


class Orders:
    """A method for each; the answer is what has come of it. Raises ``NatFailoverError`` with the reason why nothing has."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    def status(self) -> t.Dict[str, t.Any]:
        """All that the service can tell; see status.py."""
        return self._service.status()

    async def drain(self, reason: str, wait: float) -> t.Dict[str, t.Any]:
        """Hand over all claims; see drain.py."""
        return await self._service.draining.drain(reason, wait)

    async def resume(self) -> t.Dict[str, t.Any]:
        """Be eligible again."""
        return await self._service.draining.resume()

    async def leave(self) -> t.Dict[str, t.Any]:
        """Hand over all claims, since this machine shuts down."""
        return await self._service.draining.leave("this machine shuts down")

    async def pause(self, length: float) -> t.Dict[str, t.Any]:
        """Let no node of the cluster write anything for ``length`` seconds; the peers see it within ``ec2.poll_s``."""
        service, value = self._service, pause.value(time.time() + length)
        await service.hands.tag(service.config.self_name, TAG_PAUSE, value)
        service.record("paused", "until %s, asked for by the operator" % value, logging.WARNING)
        for name, view in service.gatherer.instances.items():  # on all: an instance that ends takes its tags along
            if name != service.config.self_name and view.instance_id:
                await self._pause_also(name, value)
        service.gatherer.read_soon()
        return {"changed": True, "state": "paused until %s" % value}

    async def _pause_also(self, name: str, value: str) -> None:
        """A further place for the pause: who cannot be tagged sees it on the others."""
        try:
            await self._service.hands.tag(name, TAG_PAUSE, value)
        except NatFailoverError as error:
            self._service.record("failed", "pause on %s: %s" % (name, error), logging.WARNING)

    async def unpause(self) -> t.Dict[str, t.Any]:
        """End the pause, on whichever node its tag is."""
        service = self._service
        await service.gatherer.read_since(service.clock())
        tagged = [name for name, view in service.gatherer.instances.items() if TAG_PAUSE in view.tags]
        for name in tagged:
            await service.hands.tag(name, TAG_PAUSE, None)
        if tagged:
            service.record("unpaused", "asked for by the operator")
            service.gatherer.read_soon()
        return {"changed": bool(tagged), "state": "not paused"}
