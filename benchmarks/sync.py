# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of conntrackd on both nodes while clients of one zone open connections: CPU, memory, and the packets between the nodes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.fabric.names import INTERNET
from lab.traffic.driver import Traffic
from lab.traffic.words import ONCE
from nat_failover.host import conntrackd_conf, state_sync
from tests.integration.e2e.identities import running_identities
from tests.integration.e2e.synchronised import Synchronised

from .campaign import Key, Part, Row
from .contenders import OURS
from .meter import Meter
from .summary import median

RATES = (0, 500, 2000)  # new connections a second
SECONDS, QUICK_SECONDS, REST_S = 12.0, 6.0, 3.0
NODES = {"owner": "nat-a", "peer": "nat-b"}  # of the zone whose clients open connections
CLIENT = "client-a"
OPENER = Path(__file__).with_name("opener.py")


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 3):
        for rate in RATES:
            yield {"rate": rate, "seconds": QUICK_SECONDS if quick else SECONDS, "run": run}


def measure(key: Key) -> Row:
    """One rate, in a lab of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_identities(Path(folder), settings=OURS, make=Synchronised) as cluster:
            assert isinstance(cluster, Synchronised)
            cluster.wait("conntrackd is arranged", lambda: all(map(cluster.arranged, NODES.values())), 30)
            with Traffic(cluster.lab.host(CLIENT).popen, cluster.lab.names, kinds=()):  # its far end alone
                time.sleep(REST_S)
                return _watched(cluster, key["rate"], key["seconds"])


def _watched(cluster: Synchronised, rate: float, seconds: float) -> Row:
    """The cost of both daemons while connections are opened. The rate is the one that came about."""
    meters = {role: Meter(cluster.daemons[node].pid) for role, node in NODES.items()}
    before = {role: _received(cluster, node) for role, node in NODES.items()}
    opened: dict[str, Any] = {"done": 0, "failed": 0, "seconds": seconds}
    if rate:
        argv = [sys.executable, "-S", str(OPENER), str(seconds), str(rate), INTERNET, str(ONCE)]
        opened = json.loads(cluster.lab.exec(CLIENT, argv, timeout=10 * seconds).stdout)
    else:
        time.sleep(seconds)
    costs = {role: meter.read() for role, meter in meters.items()}
    came = {role: _received(cluster, node) - before[role] for role, node in NODES.items()}
    return {
        "opened_per_s": round(opened["done"] / opened["seconds"], 1),
        "failed": opened["failed"],
        **{f"{role}_cpu_percent": round(cost.cpu_percent, 2) for role, cost in costs.items()},
        **{f"{role}_resident_mb": round(cost.resident_mb, 1) for role, cost in costs.items()},
        "peer_kb_per_s": round(came["peer"] / 1000 / costs["peer"].seconds, 1),
        "owner_kb_per_s": round(came["owner"] / 1000 / costs["owner"].seconds, 1),
        "lost": {role: _reading(cluster, node).lost for role, node in NODES.items()},
    }


def _reading(cluster: Synchronised, node: str) -> Any:
    argv = ["conntrackd", "-C", str(cluster.folder / node / conntrackd_conf.NAME), "-s"]
    return state_sync.parse(cluster.lab.exec(node, argv).stdout)


def _received(cluster: Synchronised, node: str) -> int:
    """Bytes that came from the other node."""
    return int(_reading(cluster, node).received)


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians by rate."""
    found: dict[str, float] = {}
    for rate in RATES:
        members = [row for row in rows if row["rate"] == rate]
        for role in NODES if members else ():
            name = f"{rate} connections/s: conntrackd of the {role}, cpu_percent"
            found[name] = median([row[f"{role}_cpu_percent"] for row in members])
    return found


PART = Part("sync", ("rate", "seconds", "run"), plan, measure, figures)
