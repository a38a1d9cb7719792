# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that send heartbeats in the name of a peer: a cloned image, or a copied configuration.

They have the key, so their packets are authentic. Their address tells them from the peer.
"""

from __future__ import annotations

import asyncio
import typing as t
from dataclasses import replace

from ..errors import NatFailoverError
from ..model.evidence import Stranger
from ..runtime.base import Runtime

KEPT = 60.0  # seconds after its last packet for which a stranger is remembered
MOST = 32  # strangers at a time


class ImpostorWatch:
    """Keeps the strangers of the last minute, each with the instance that has its address."""

    def __init__(self, runtime: Runtime, find: t.Callable[[str], t.Awaitable[str]]) -> None:
        """``find(address)`` returns the id of the instance, or "". It may raise ``NatFailoverError``."""
        self._runtime = runtime
        self._find = find
        self._known: dict[tuple[str, str], Stranger] = {}
        self._searches: set[asyncio.Future[None]] = set()

    @property
    def strangers(self) -> tuple[Stranger, ...]:
        """Those of the last minute."""
        if not self._known:
            return ()
        since = self._runtime.now() - KEPT
        self._known = {key: each for key, each in self._known.items() if each.last_at >= since}
        return tuple(self._known.values())

    def note(self, name: str, address: str) -> None:
        """An authentic packet of ``name`` came from an address that its instance does not have."""
        key, now = (name, address), self._runtime.now()
        known = self._known.get(key)
        if known is not None and now - known.last_at <= KEPT:
            self._known[key] = replace(known, last_at=now)
        elif known is not None or len(self._known) < MOST:
            self._known[key] = Stranger(name, address, now, now)
            search = asyncio.ensure_future(self._search(key))
            self._searches.add(search)
            search.add_done_callback(self._searches.discard)

    async def _search(self, key: tuple[str, str]) -> None:
        """Name the instance that has the address. Without an answer of EC2 it stays unnamed."""
        try:
            instance_id = await self._find(key[1])
        except NatFailoverError:
            return
        if key in self._known:
            self._known[key] = replace(self._known[key], instance_id=instance_id)
