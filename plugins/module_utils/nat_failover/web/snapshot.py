# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the service's status for all requests, at most once a second.

So no number of HTTP clients makes more work for the service.
"""

from __future__ import annotations

import asyncio
import time
import typing as t
from dataclasses import dataclass

from .. import readers

FRESH = 1.0  # seconds in which all requests get the same reading


@dataclass(frozen=True)
class Snapshot:
    """One reading. ``status`` is None if there was no answer, and ``problem`` says why."""

    status: t.Mapping[str, t.Any] | None
    problem: str = ""
    at: float = 0.0  # seconds since 1970


class StatusReader:
    """Reads one socket."""

    def __init__(self, path: str) -> None:
        """``path``: the socket for readers of the service."""
        self._path = path
        self._last: Snapshot | None = None
        self._until = float("-inf")
        self._reading: asyncio.Future[Snapshot] | None = None

    async def read(self) -> Snapshot:
        """A reading that is at most ``FRESH`` seconds old. Raises nothing."""
        if self._last is not None and time.monotonic() < self._until:
            return self._last
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        # A client that leaves must not end the reading of the others.
        return await asyncio.shield(self._reading)

    async def _read(self) -> Snapshot:
        try:
            self._last = await self._outcome()
            self._until = time.monotonic() + FRESH
            return self._last
        finally:
            self._reading = None

    async def _outcome(self) -> Snapshot:
        status: t.Mapping[str, t.Any] | None
        try:
            status, problem = await asyncio.wait_for(readers.ask(self._path, {"do": "status"}), readers.WITHIN), ""
        except asyncio.TimeoutError:  # before OSError, of which it is one since Python 3.11
            status, problem = None, f"no answer within {readers.WITHIN:.0f} s"
        except OSError as error:
            status, problem = None, f"{self._path}: {error.strerror or error}"
        except (ValueError, RecursionError) as error:
            status, problem = None, f"its answer is no status ({error})"
        return Snapshot(status, problem, time.time())
