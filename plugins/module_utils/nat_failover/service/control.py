# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local control socket.

A request and its answer are one JSON object on one line. Only root and the service's group have
access.
"""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError
from ..model.order import By
from ..model.text import plain
from ..policy import pause
from .line_server import LineServer
from .sender import LONGEST_WAIT, control_socket

if t.TYPE_CHECKING:
    from .commands import Commands

Request = t.Mapping[str, t.Any]
Answer = dict[str, t.Any]
LONGEST_TEXT = 120  # characters of an actor or a reason
MOST_CLIENTS = 32  # served at the same time. Each holds a file descriptor of the service


class Control:
    """Serves the commands of one service."""

    def __init__(self, directory: str, commands: Commands) -> None:
        """``directory``: the folder of the socket. ``open`` makes it."""
        self._commands = commands
        self._server = LineServer(control_socket(directory), self._answer, MOST_CLIENTS)

    async def open(self) -> None:
        """Serve from now on. Raises ``OSError`` if the socket cannot be made."""
        await self._server.open()

    async def close(self) -> None:
        """Serve no new client, and remove the socket."""
        self._server.close()

    async def _answer(self, request: t.Any) -> dict[str, t.Any]:
        """The answer to a request. Raises ``NatFailoverError`` with a refusal."""
        verb = request.get("do") if isinstance(request, dict) else None
        carry_out = REQUESTS.get(verb) if isinstance(verb, str) else None
        if carry_out is None:
            return {"error": f"unknown request {verb!r}; known: {', '.join(REQUESTS)}"}
        answer = carry_out(self._commands, request, given_by(request))
        return await answer if isinstance(answer, t.Awaitable) else answer


def _drain(commands: Commands, request: Request, by: By) -> t.Awaitable[Answer]:
    reason = str(request.get("reason", "drain"))
    return commands.drain(reason, _wait(request.get("wait", 60)), by)


def _switchover(commands: Commands, request: Request, by: By) -> t.Awaitable[Answer]:
    return commands.switchover(str(request.get("to", "")), _wait(request.get("wait", 60)), by)


def _pause(commands: Commands, request: Request, by: By) -> t.Awaitable[Answer]:
    return commands.pause(pause.seconds(str(request.get("for", "1h"))), by)


def _adopt(commands: Commands, request: Request, by: By) -> t.Awaitable[Answer]:
    return commands.adopt(str(request.get("table", "")), request.get("sure") is True, by)


def _fence(commands: Commands, request: Request, by: By) -> t.Awaitable[Answer]:
    typed = str(request.get("typed", ""))
    return commands.fence(str(request.get("peer", "")), request.get("sure") is True, typed, by)


# By the word ``do`` of a request. A function that returns no awaitable answers at once.
REQUESTS: t.Mapping[str, t.Callable[[Commands, Request, By], Answer | t.Awaitable[Answer]]] = {
    "status": lambda commands, request, by: commands.status(),
    "explain": lambda commands, request, by: commands.explain(),
    "drain": _drain,
    "switchover": _switchover,
    "resume": lambda commands, request, by: commands.resume(by),
    "return": lambda commands, request, by: commands.give_back(str(request.get("table", "")), by),
    "adopt": _adopt,
    "fence": _fence,
    "leave": lambda commands, request, by: commands.leave(),
    "pause": _pause,
    "unpause": lambda commands, request, by: commands.unpause(by),
}


def given_by(request: t.Mapping[str, t.Any]) -> By:
    """The actor and the reason of an order, as the client names them. Both are plain and short."""
    return By(*(plain(str(request.get(key, "")))[:LONGEST_TEXT] for key in ("actor", "reason")))


def _wait(value: t.Any) -> float:
    """Seconds to wait for a drain. Raises ``NatFailoverError`` for anything but a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_WAIT:
        raise NatFailoverError(f"wait: {value!r} is not a number of seconds up to {LONGEST_WAIT}; write e.g. 60")
    return float(value)
