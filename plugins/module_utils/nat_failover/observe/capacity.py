# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shortages of this node: packets for which its CPU or its instance type had no room.

These are warnings and never a reason to hand over. The node still NATs, and the next one would have
no more room.
"""

from __future__ import annotations

import logging
import typing as t
from collections import deque

from ..host.nic_counters import DROPPED, SQUEEZED
from ..runtime.base import Pool, Runtime
from .this_host import Host

READ_EVERY = 10.0  # seconds: the ENA driver asks its device for some of them
WINDOW = 60.0  # seconds in which a counter must have moved
CONNTRACK_HIGH, CONNTRACK_LOW = 0.8, 0.75  # a warning begins above the one and ends below the other

EXCEEDED = "_allowance_exceeded"  # how ENA's counters end
# counter -> (least within WINDOW that is a warning, meaning and remedy)
MEANINGS: t.Mapping[str, tuple[int, str]] = {
    DROPPED: (
        1,
        "packets dropped, since the CPU did not keep up; raise net.core.netdev_max_backlog, or take more CPUs",
    ),
    # Each is a pause, not a loss, and a few are normal.
    SQUEEZED: (600, "times the CPU left packets for later; raise net.core.netdev_budget, or take more CPUs"),
    "bw_in" + EXCEEDED: (
        1,
        "packets came in above the instance's bandwidth and were queued or dropped; take a larger type",
    ),
    "bw_out" + EXCEEDED: (
        1,
        "packets went out above the instance's bandwidth and were queued or dropped; take a larger type",
    ),
    "pps" + EXCEEDED: (1, "packets above the instance's packet rate were queued or dropped; take a larger type"),
    "conntrack" + EXCEEDED: (
        1,
        "packets dropped, since EC2 tracks no more connections for this type; take a larger one, or untracked rules",
    ),
    "linklocal" + EXCEEDED: (
        1,
        "packets to the resolver, the metadata or the time service dropped; ask them less often",
    ),
}


class Limits:
    """Follows counters and the fill of the connection tracking table."""

    def __init__(self) -> None:
        self.counters: t.Mapping[str, int] = {}
        self._history: dict[str, deque[tuple[float, int]]] = {}
        self._warnings: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings that stand."""
        return tuple(self._warnings.values())

    def update(self, counters: t.Mapping[str, int], fill: float, now: float) -> tuple[list[str], list[str]]:
        """Take in new values. Returns the warnings that begin and those that end, in words.

        ``fill``: of the connection tracking table, 0 to 1.
        """
        self.counters = counters
        found = {}
        for name, value in counters.items():
            least, meaning = MEANINGS.get(
                name, (1, "packets above what the instance may do; see the ENA driver's metrics")
            )
            moved = self._moved(name, value, now)
            if moved >= least and (name in MEANINGS or name.endswith(EXCEEDED)):
                found[name] = f"{name}: {moved} within {WINDOW:.0f} s; {meaning}"
        if fill >= (CONNTRACK_LOW if "conntrack" in self._warnings else CONNTRACK_HIGH):
            found["conntrack"] = (
                f"connection tracking table {int(fill * 100)} % full; raise nat_instance_conntrack.max, or "
                "find the client that opens so many connections"
            )
        began = [text for name, text in found.items() if name not in self._warnings]
        ended = [f"{name}: the shortage is over" for name in self._warnings if name not in found]
        self._warnings = found
        return began, ended

    def _moved(self, name: str, value: int, now: float) -> int:
        history = self._history.setdefault(name, deque())
        if history and value < history[-1][1]:
            history.clear()  # the driver was loaded again
        history.append((now, value))
        while len(history) > 1 and history[1][0] <= now - WINDOW:
            history.popleft()
        return value - history[0][1]


class CapacityWatch:
    """Reads the counters now and then, and reports warnings as they begin and end."""

    def __init__(self, host: Host, runtime: Runtime, pool: Pool, emit: t.Callable[[str, str, int], None]) -> None:
        self._host = host
        self._runtime = runtime
        self._pool = pool
        self._emit = emit
        self._limits = Limits()
        self._due = float("-inf")

    @property
    def counters(self) -> t.Mapping[str, int]:
        """The newest counters, by name."""
        return self._limits.counters

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings that stand."""
        return self._limits.warnings

    async def read(self, interface: str) -> None:
        """Read the counters of this interface, if that is due."""
        now = self._runtime.now()
        if now < self._due:
            return
        self._due = now + READ_EVERY
        counters = await self._pool.run(self._host.counters, interface)
        began, ended = self._limits.update(counters, self._host.conntrack_fill(), now)
        for text in began:
            self._emit("limit", text, logging.WARNING)
        for text in ended:
            self._emit("limit", text, logging.INFO)
