# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket for readers: status and events, and no orders.

The processes beside the service (metrics, hooks) read it. They are other users, in the group
``nat-failover-read``, and have no access to the control socket. The unit of the service gives the
socket to that group once it is there.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import NatFailoverError
from . import status
from .line_server import LineServer
from .parts import Parts

NAME = "status.sock"
MOST_CLIENTS = 8  # served at the same time
SHARED_FOR = 0.2  # seconds in which all clients get the same status


class StatusSocket:
    """Serves the status of one service."""

    def __init__(self, directory: str, parts: Parts) -> None:
        """``directory``: the folder of the socket. ``open`` makes it."""
        self._parts = parts
        self._server = LineServer(os.path.join(directory, NAME), self._answer, MOST_CLIENTS)
        self._status: dict[str, t.Any] = {}
        self._made_at = float("-inf")

    async def open(self) -> None:
        """Serve from now on. Raises ``OSError`` if the socket cannot be made."""
        await self._server.open()

    def close(self) -> None:
        """Serve no new client, and remove the socket."""
        self._server.close()

    async def _answer(self, request: t.Any) -> dict[str, t.Any]:
        """The answer to a request. Raises ``NatFailoverError`` with a refusal."""
        verb = request.get("do") if isinstance(request, dict) else None
        if verb == "status":
            return self._shared_status()
        if verb == "events":
            return self._events(request.get("after", 0))
        raise NatFailoverError(f"unknown request {verb!r}; known here: status, events")

    def _shared_status(self) -> dict[str, t.Any]:
        now = self._parts.runtime.now()
        if now - self._made_at >= SHARED_FOR:
            self._status, self._made_at = status.status(self._parts), now
        return self._status

    def _events(self, after: t.Any) -> dict[str, t.Any]:
        """The events that are still known, of those with a greater number than ``after``.

        ``boot_id`` changes with each start of the service. Without a history the numbers begin anew
        then.
        """
        if isinstance(after, bool) or not isinstance(after, int):
            raise NatFailoverError(f"after: {after!r} is not the number of an event; write e.g. 0")
        events = self._parts.events
        return {
            "cluster": self._parts.config.cluster,
            "node": self._parts.config.self_name,
            "boot_id": self._parts.boot_id,
            "last": events.seq,
            "events": [event for event in events.events if event["seq"] > after],
        }
