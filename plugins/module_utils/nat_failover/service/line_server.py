# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local socket that answers each client once.

A request and its answer are one JSON object on one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import typing as t

from ..errors import NatFailoverError
from .sender import is_served

LOG = logging.getLogger("nat-failover")
LONGEST = 65536  # bytes of a request
REQUEST_WITHIN = 5.0  # seconds in which a client must send its request
ANSWER_WITHIN = 10.0  # seconds in which a client must have read its answer

Answer = t.Callable[[t.Any], t.Awaitable[t.Mapping[str, t.Any]]]


class LineServer:
    """One socket. Only its owner and its group have access."""

    def __init__(self, path: str, answer: Answer, most_clients: int) -> None:
        """``answer``: the answer to one request. It may raise ``NatFailoverError`` with a refusal.

        Clients beyond ``most_clients`` are refused at once: each holds a file descriptor.
        """
        self.path = path
        self._answer = answer
        self._most_clients = most_clients
        self._server: asyncio.AbstractServer | None = None
        self._clients = 0  # served now

    async def open(self) -> None:
        """Serve from now on.

        Raises ``OSError`` if the socket cannot be made, and ``NatFailoverError`` if another process
        serves it.
        """
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        if is_served(self.path):
            raise NatFailoverError(
                f"{self.path}: another nat-failover serves this socket, and goes on; ask it with `nat-failover status`"
            )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # a crashed service left it
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LONGEST)
        os.chmod(self.path, 0o660)

    def close(self) -> None:
        """Serve no new client, and remove the socket."""
        if self._server is not None:
            # wait_closed() would wait for a `drain --wait 600` under way, and so delay the end of
            # the service.
            self._server.close()
            with contextlib.suppress(FileNotFoundError):  # Python 3.13 and later removes it itself
                os.unlink(self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client, whatever it sends."""
        self._clients += 1
        try:
            if self._clients > self._most_clients:
                answer: t.Mapping[str, t.Any] = {"error": f"{self._most_clients} clients are being served; try again"}
            else:
                answer = await self._answered(reader)
            writer.write(json.dumps(answer).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), ANSWER_WITHIN)
        except asyncio.TimeoutError:  # before OSError, of which it is one since Python 3.11
            writer.transport.abort()  # the client does not read: its answer is dropped
        except OSError:
            pass  # A client that has gone away gets no answer. Its command has been carried out
        finally:
            self._clients -= 1
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> t.Mapping[str, t.Any]:
        """The answer to one client's request. A refusal and a defect are answers too."""
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), REQUEST_WITHIN))
        except (ValueError, RecursionError, OSError, asyncio.TimeoutError):
            return {"error": "the request is not one line of JSON"}
        try:
            return await self._answer(request)
        except NatFailoverError as error:
            return {"error": str(error)}
        except Exception as error:  # pylint: disable=broad-except  # a defect must not leave a client without an answer
            LOG.exception("control: unexpected")
            return {"error": f"unexpected {type(error).__name__}; read `journalctl -u nat-failover`"}
