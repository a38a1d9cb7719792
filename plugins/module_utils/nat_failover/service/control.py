# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local control socket: one JSON object a line, asked and answered. Reachable by root and the service's group only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import typing as t

from ..errors import NatFailoverError
from ..policy import pause

if t.TYPE_CHECKING:
    from .commands import Orders

LONGEST = 65536  # bytes of a request
ANSWER_WITHIN = 5.0  # seconds for what does not wait by itself


class Control:
    """Serves one service's ``Orders``."""

    def __init__(self, directory: str, orders: "Orders") -> None:
        self.path = os.path.join(directory, "control.sock")
        self._orders = orders
        self._server: t.Optional[asyncio.AbstractServer] = None

    async def open(self) -> None:
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        if os.path.exists(self.path):
            os.unlink(self.path)  # of a service that crashed; systemd lets only one of us run
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LONGEST)
        os.chmod(self.path, 0o660)

    async def close(self) -> None:
        if self._server is not None:
            # Not wait_closed(): a `drain --wait 600` under way must not hold up the end of the service.
            self._server.close()
            with contextlib.suppress(FileNotFoundError):  # newer Pythons unlink it themselves
                os.unlink(self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), ANSWER_WITHIN))
            answer = await self._answer(request)
        except (ValueError, asyncio.TimeoutError):
            answer = {"error": "the request is not one line of JSON"}
        except NatFailoverError as error:
            answer = {"error": str(error)}
        try:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except OSError:
            pass  # the asker went away; what was asked for has been done
        finally:
            writer.close()

    async def _answer(self, request: t.Any) -> t.Dict[str, t.Any]:
        verb = request.get("do") if isinstance(request, dict) else None
        if verb == "status":
            return self._orders.status()
        if verb == "drain":
            return await self._orders.drain(str(request.get("reason", "drain")), float(request.get("wait", 60)))
        if verb == "resume":
            return await self._orders.resume()
        if verb == "leave":
            return await self._orders.leave()
        if verb == "pause":
            return await self._orders.pause(pause.seconds(str(request.get("for", "1h"))))
        if verb == "unpause":
            return await self._orders.unpause()
        return {"error": "unknown request %r; known: status, drain, resume, leave, pause, unpause" % (verb,)}


def ask(directory: str, request: t.Mapping[str, t.Any], timeout: float = 10.0) -> t.Optional[t.Dict[str, t.Any]]:
    """Ask the service that runs on this host; None when none runs. Raises ``NatFailoverError`` with its refusal."""
    path = os.path.join(directory, "control.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise NatFailoverError(
                "%s: %s; run this as root or as a member of the group nat-failover" % (path, error.strerror or error)
            ) from None
        try:
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except OSError:
            raise NatFailoverError(
                "%s: no answer within %d s; look at `journalctl -u nat-failover`" % (path, timeout)
            ) from None
    answer = (
        json.loads(line)
        if line
        else {"error": "the service closed the connection; look at `journalctl -u nat-failover`"}
    )
    if "error" in answer:
        raise NatFailoverError(answer["error"])
    return t.cast(t.Dict[str, t.Any], answer)
