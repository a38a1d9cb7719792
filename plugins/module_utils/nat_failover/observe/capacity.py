# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this node runs short of: packets that its CPU or its instance type had no room for. These are warnings, never a reason to hand over: the
node still NATs, and the next one would have no more room.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import typing as t
from collections import deque

from ..host.kernel import PROC

READ_EVERY = 10.0  # seconds: the ENA driver asks its device for some of them
WINDOW = 60.0  # seconds in which a counter must have moved
CONNTRACK_HIGH, CONNTRACK_LOW = 0.8, 0.75  # a warning begins above the one and ends below the other

DROPPED, SQUEEZED = "softnet_dropped", "softnet_squeezed"
EXCEEDED = "_allowance_exceeded"  # how ENA's counters end
# counter -> (least within WINDOW that is worth a word, what it means and what helps)
MEANINGS: t.Mapping[str, t.Tuple[int, str]] = {
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
        "packets dropped, since EC2 tracks no more connections for this instance type; take a larger one, or security group rules "
        "that are not tracked",
    ),
    "linklocal" + EXCEEDED: (
        1,
        "packets to the resolver, the metadata or the time service dropped; ask them less often",
    ),
}


class Limits:
    """Follows counters and the fill of the connection tracking table. ``update`` returns what is new, in words, for the journal."""

    def __init__(self) -> None:
        self.counters: t.Mapping[str, int] = {}
        self._history: t.Dict[str, t.Deque[t.Tuple[float, int]]] = {}
        self._warnings: t.Dict[str, str] = {}

    @property
    def warnings(self) -> t.Tuple[str, ...]:
        return tuple(self._warnings.values())

    def update(self, counters: t.Mapping[str, int], fill: float, now: float) -> t.Tuple[t.List[str], t.List[str]]:
        """(warnings that begin, warnings that end)."""
        self.counters = counters
        found = {}
        for name, value in counters.items():
            least, meaning = MEANINGS.get(
                name, (1, "packets above what the instance may do; see the ENA driver's metrics")
            )
            moved = self._moved(name, value, now)
            if moved >= least and (name in MEANINGS or name.endswith(EXCEEDED)):
                found[name] = "%s: %d within %d s; %s" % (name, moved, WINDOW, meaning)
        if fill >= (CONNTRACK_LOW if "conntrack" in self._warnings else CONNTRACK_HIGH):
            found["conntrack"] = (
                "connection tracking table %d %% full; raise nat_instance_conntrack.max, or find who opens so many connections"
                % (fill * 100)
            )
        began = [text for name, text in found.items() if name not in self._warnings]
        ended = ["%s: over" % name for name in self._warnings if name not in found]
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


# --- where they are read -----------------------------------------------------------------------------------------------------------


def read(interface: str, proc: str = PROC) -> t.Dict[str, int]:
    """The counters that count, as far as this kernel and this driver have them."""
    driver = driver_counters(interface)
    return {**softnet(proc), **{name: value for name, value in driver.items() if "_allowance_" in name}}


def softnet(proc: str = PROC) -> t.Dict[str, int]:
    """Sums over all CPUs; the second and third column of a row of hexadecimal numbers for each."""
    try:
        with open(os.path.join(proc, "net", "softnet_stat"), encoding="ascii") as stream:
            rows = [line.split() for line in stream]
        return {DROPPED: sum(int(row[1], 16) for row in rows), SQUEEZED: sum(int(row[2], 16) for row in rows)}
    except (OSError, ValueError, IndexError):
        return {}


# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
GSTRINGS, GSTATS, GSSET_INFO = 0x1B, 0x1D, 0x37
STATISTICS = 1  # the set of strings that are names of statistics
NAME = 32  # bytes of each


def driver_counters(interface: str) -> t.Dict[str, int]:
    """What ``ethtool -S`` prints; empty where the driver has nothing. Needs no privilege."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sizes = _ethtool(sock, interface, struct.pack("=IIQI", GSSET_INFO, 0, 1 << STATISTICS, 0))
            mask, count = struct.unpack_from("=QI", sizes, 8)
            if not mask or not count:
                return {}
            head = struct.pack("=III", GSTRINGS, STATISTICS, count)
            names = _ethtool(sock, interface, head + bytes(NAME * count))[len(head) :]
            head = struct.pack("=II", GSTATS, count)
            values = _ethtool(sock, interface, head + bytes(8 * count))[len(head) :]
    except OSError:
        return {}
    labels = [names[NAME * i : NAME * (i + 1)].split(b"\0")[0].decode("ascii", "replace") for i in range(count)]
    return dict(zip(labels, struct.unpack("=%dQ" % count, values)))


def _ethtool(sock: socket.socket, interface: str, question: bytes) -> bytes:
    """One request; the kernel writes its answer over the question."""
    answer = array.array("B", question)
    fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP", interface.encode(), answer.buffer_info()[0]))
    return answer.tobytes()
