# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the metrics for CloudWatch: a line in each interval, from start to SIGTERM.

It calls nothing of AWS. An agent on the node carries the lines.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import typing as t

from . import emf
from .snapshot import StatusReader

LOG = logging.getLogger("nat-failover")
CONNECTIONS = "/proc/sys/net/netfilter/nf_conntrack_count"
LARGEST = 1 << 20  # bytes of the file; one older file is kept

Write = t.Callable[[str], None]  # one line; raises OSError


def connections(path: str = CONNECTIONS) -> int | None:
    """Entries of the connection tracking table. None: the kernel has none."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def to_file(path: str, largest: int = LARGEST) -> Write:
    """Appends lines to a file. One that has no room for the next line becomes ``<path>.1``."""

    def write(line: str) -> None:
        data = line.encode() + b"\n"
        if os.path.exists(path) and os.path.getsize(path) + len(data) > largest:
            os.replace(path, f"{path}.1")
        with open(path, "ab") as file:
            file.write(data)

    return write


class CloudWatch:
    """The lines of one node."""

    def __init__(self, socket: str, cluster: str, node: str, write: Write, count: t.Callable[[], int | None]) -> None:
        """``socket``: the service's socket for readers. ``count``: as ``connections``."""
        self._reader = StatusReader(socket)
        self._cluster, self._node = cluster, node
        self._write, self._count = write, count
        self._since = emf.Since()
        self._failed = False

    async def tell(self) -> None:
        """Read the status, and write one line. A line that cannot be written is reported once."""
        snapshot = await self._reader.read()
        metrics = self._since.metrics(snapshot, self._count())
        try:
            self._write(emf.line(metrics, self._cluster, self._node, snapshot.at))
        except OSError as error:
            if not self._failed:
                LOG.warning("cloudwatch: a line is lost: %s", error.strerror or error)
            self._failed = True
        else:
            self._failed = False

    async def live(self, interval: float) -> None:
        """A line now, and one in each interval, until it is cancelled."""
        due = time.monotonic()
        while True:
            await self.tell()
            due = max(due + interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


async def serve(told: CloudWatch, interval: float, ready: t.Callable[[str], None]) -> None:
    """Tell until SIGTERM or SIGINT. ``ready`` gets systemd's message."""
    life = asyncio.ensure_future(told.live(interval))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, life.cancel)
    ready(f"READY=1\nSTATUS=writes metrics for CloudWatch each {interval:.0f} s")
    try:
        await life
    except asyncio.CancelledError:
        pass
