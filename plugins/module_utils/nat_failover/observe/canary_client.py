# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's side of the canary: it names a target over a unix socket, and the canary probes it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import typing as t

from ..errors import NatFailoverError
from ..model.settings import Target
from ..runtime.base import Lines, Runtime

ANSWER_WITHIN = 1.0  # seconds that the canary's answer may be late, beyond the timeout of the target


class CanaryGone(NatFailoverError):
    """There is no canary that could probe. That proves nothing against this node's forwarding."""


class CanaryClient:
    """Probes a target as a client of this node would reach it. Fits ``wire.prober.Reach``.

    ``aside`` is the reason why the canary's packets do not come in by the interface of clients, ""
    if they do.
    """

    def __init__(self, path: str, runtime: Runtime) -> None:
        """``path``: the canary's unix socket."""
        self._path = path
        self._runtime = runtime
        self.aside = ""
        self._idle: Lines | None = None  # a connection without an open question

    async def __call__(self, target: Target, timeout: float) -> str:
        """Returns "" when the target answered, else the reason in words. Raises ``CanaryGone``."""
        try:
            address = await self._resolve(target)
        except OSError as error:
            return f"{target}: {error.strerror or error}"
        asked = self._ask(target._replace(host=address), timeout)
        try:
            answer = await self._runtime.within(timeout + ANSWER_WITHIN, asked)
        except (OSError, ValueError, KeyError, asyncio.TimeoutError) as error:
            # A time limit has no words of its own.
            why = str(error) or "no answer: it hangs"
            raise CanaryGone(f"{self._path}: {why}; see `systemctl status nat-failover-canary`") from None
        self.aside = str(answer.get("aside", ""))
        return str(answer["problem"])

    async def _ask(self, target: Target, timeout: float) -> dict[str, t.Any]:
        lines = await self._connection()
        try:
            answer = json.loads(await lines.ask(json.dumps({**target._asdict(), "timeout": timeout}).encode()))
            if "problem" not in answer:
                raise ValueError(answer.get("error", "no answer"))
        except BaseException:  # also when cancelled: a late answer must not be taken for that to the next question
            lines.close()
            raise
        self.close()
        self._idle = lines
        return t.cast(dict[str, t.Any], answer)

    async def _connection(self) -> Lines:
        """The connection of the last question, unless the canary has closed it or another question
        is under way.
        """
        kept, self._idle = self._idle, None
        if kept is not None and not kept.ended:
            return kept
        if kept is not None:
            kept.close()
        return await self._runtime.connect_unix(self._path)

    def close(self) -> None:
        """Close the idle connection. The next question opens another one."""
        if self._idle is not None:
            self._idle.close()
        self._idle = None

    async def _resolve(self, target: Target) -> str:
        """An address: the canary must not depend on its own way to a resolver.

        Raises ``OSError``.
        """
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(target.host))
        return await self._runtime.resolve(target.host)
