# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of packets for which a CPU or the instance type had no room: softnet_stat and the
statistics of the driver.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct

from .kernel import PROC

DROPPED, SQUEEZED = "softnet_dropped", "softnet_squeezed"


def read(interface: str, proc: str = PROC) -> dict[str, int]:
    """The counters that warnings are made of.

    Those that this kernel or this driver lacks are left out.
    """
    driver = driver_counters(interface)
    return {**softnet(proc), **{name: value for name, value in driver.items() if "_allowance_" in name}}


def softnet(proc: str = PROC) -> dict[str, int]:
    """Dropped packets and squeezed polls, summed over all CPUs.

    Empty if the kernel does not tell.
    """
    # Each CPU has a row of hexadecimal numbers, these two in its second and third column.
    try:
        with open(os.path.join(proc, "net", "softnet_stat"), encoding="ascii") as stream:
            rows = [line.split() for line in stream]
        return {DROPPED: sum(int(row[1], 16) for row in rows), SQUEEZED: sum(int(row[2], 16) for row in rows)}
    except (OSError, ValueError, IndexError):
        return {}


# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
GSTRINGS, GSTATS, GSSET_INFO = 0x1B, 0x1D, 0x37
STATISTICS = 1  # the set of strings with the names of statistics
NAME = 32  # bytes of each


def driver_counters(interface: str) -> dict[str, int]:
    """The statistics that ``ethtool -S`` prints. Empty if the driver has none.

    Needs no privilege.
    """
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
    return dict(zip(labels, struct.unpack(f"={count}Q", values)))


def _ethtool(sock: socket.socket, interface: str, question: bytes) -> bytes:
    """One request. The kernel writes its answer over the question."""
    answer = array.array("B", question)
    fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP", interface.encode(), answer.buffer_info()[0]))
    return answer.tobytes()
