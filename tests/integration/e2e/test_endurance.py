# SPDX-License-Identifier: GPL-3.0-or-later
"""Many failovers in a row: the survivor's service must end as it began."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.e2e.cluster import Cluster

ROUNDS = 30
WARM_UP = 5  # rounds until caches and connections have about their size
# A pool may still grow by a thread and its connection when more calls than ever before happen to overlap; a leak grows with the rounds.
ROUNDS_FOR_ONE = 6


@dataclass
class Footprint:
    """The holdings of a process: resident kB, threads, open file handles."""

    resident_kb: int
    threads: int
    handles: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(int(lines["VmRSS"].split()[0]), int(lines["Threads"]), len(os.listdir(f"/proc/{pid}/fd")))


def quiet(cluster: Cluster, pid: int) -> Footprint:
    """The footprint when nothing goes on: the least of a few looks, since a read of EC2 may be under way in any of them."""
    cluster.settle()
    looks = []
    for _look in range(10):
        time.sleep(0.1)
        looks.append(Footprint.of(pid))
    return Footprint(
        *(min(values) for values in zip(*((f.resident_kb, f.threads, f.handles) for f in looks), strict=True))
    )


@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.nightly
def test_kills_and_returns_leak_nothing(cluster: Cluster) -> None:
    lab = cluster.lab
    survivor = cluster.service("nat-b").pid
    first = None
    for number in range(ROUNDS):
        if number == WARM_UP:
            first = quiet(cluster, survivor)
        lab.fault("kill", "nat-a")
        cluster.wait(f"takeover {number}", lambda: lab.owner("a") == "nat-b", 5)
        lab.host("nat-a").reboot(hard=True)
        cluster.wait(f"return {number}", lambda: lab.owner("a") == "nat-a", 20)
    last, slack = quiet(cluster, survivor), (ROUNDS - WARM_UP) // ROUNDS_FOR_ONE
    assert first is not None
    assert cluster.service("nat-b").poll() is None, "the same process all the time"
    assert last.threads <= first.threads + slack, (first, last)
    assert last.handles <= first.handles + 2 * slack, (first, last)
    assert last.resident_kb <= first.resident_kb + 1536, (first, last)
    assert cluster.writes().count(("ReplaceRoute", "nat-b")) >= ROUNDS
    assert cluster.writes("StopInstances") == []
