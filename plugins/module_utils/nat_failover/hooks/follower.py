# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the events of the service over its socket for readers."""

from __future__ import annotations

import asyncio
import typing as t

from .. import readers


class Follower:
    """Remembers which events were read.

    The first reading begins after the last event: the past is no news. A restart of the service
    begins its numbers anew, and all its events are news.
    """

    def __init__(self, path: str) -> None:
        """``path``: the socket."""
        self._path = path
        self._boot_id: str | None = None
        self._last = 0
        self.missed = 0  # events that the service had forgotten before they were read

    async def read(self) -> list[dict[str, t.Any]]:
        """The new events, oldest first, each with ``cluster``, ``node`` and ``boot_id``.

        Empty while the service does not answer. Raises nothing.
        """
        try:
            answer = await asyncio.wait_for(self._request(self._last), readers.WITHIN)
            if self._boot_id not in (None, answer["boot_id"]) and self._last:
                answer = await asyncio.wait_for(self._request(0), readers.WITHIN)
            return self._news(answer)
        except (OSError, asyncio.TimeoutError, ValueError, RecursionError, KeyError, TypeError):
            return []

    def _news(self, answer: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        first, again = self._boot_id is None, self._boot_id == answer["boot_id"]
        seen = self._last if again else 0
        self._boot_id, self._last = answer["boot_id"], answer["last"]
        if first:
            return []
        common = {key: answer[key] for key in ("cluster", "node", "boot_id")}
        news = [{**common, **event} for event in answer["events"] if event["seq"] > seen]
        self.missed += max(0, answer["last"] - seen - len(news))
        return news

    async def _request(self, after: int) -> dict[str, t.Any]:
        return await readers.ask(self._path, {"do": "events", "after": after})
