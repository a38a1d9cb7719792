# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of the service for its node when all is well: CPU, memory, wake-ups and the time to start, by Python version."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import pythons
from .campaign import Key, Part, Row
from .meter import Meter
from .nodes import running_nodes
from .summary import median

SECONDS, QUICK_SECONDS, SETTLE_S, STARTS, IDLE_S = 60.0, 20.0, 5.0, 5, 10.0
IDLE = Path(__file__).parent / "idle.py"
TARGETS = {"cpu_percent": 1.0, "resident_mb": 64.0}  # of the blueprint; with what it spawns
FIGURES = ("cpu_percent", "resident_mb", "peak_mb", "wakeups_per_s", "start_ms")


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 5):
        for version in pythons.VERSIONS:
            yield {"python": version, "seconds": QUICK_SECONDS if quick else SECONDS, "run": run}


def measure(key: Key) -> Row:
    """Two nodes, each with its canary and root helper; the mean of both."""
    python = pythons.find(key["python"])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_nodes(Path(folder), python=python) as cluster:
            time.sleep(SETTLE_S)
            names = ("nat-a", "nat-b")
            services = [Meter(cluster.service(name).pid) for name in names]
            canaries = [Meter(cluster.helpers(name)[0].pid) for name in names]
            time.sleep(key["seconds"])
            costs, clients = ([each.read().row() for each in meters] for meters in (services, canaries))
            starts = [cluster.start_up("nat-b") * 1000 for _number in range(STARTS)]
    row = _mean(costs)
    row["cpu_percent"] = round(row["cpu_percent"] + row.pop("children_percent"), 3)
    canary = _mean(clients)
    return {
        **row,
        "canary_cpu_percent": canary["cpu_percent"],
        "canary_resident_mb": canary["resident_mb"],
        "idle_percent": _idle(python, row["wakeups_per_s"]),
        "start_ms": round(median(starts), 1),
        "boto3": pythons.boto3_version(python),
    }


def _idle(python: str, wakeups_per_s: float) -> float:
    """The cost of as many wake-ups for an event loop that does nothing else: the floor of this machine and this Python."""
    command = [python, str(IDLE), str(wakeups_per_s), str(IDLE_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10 * IDLE_S)
    return round(float(done.stdout), 3)


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians by version."""
    found: dict[str, float] = {}
    for version in pythons.VERSIONS:
        members = [row for row in rows if row["python"] == version]
        for name in FIGURES if members else ():
            found[f"Python {version}: {name}"] = median([row[name] for row in members])
    return found


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 3) for name in rows[0] if name != "seconds"}


PART = Part("footprint", ("python", "seconds", "run"), plan, measure, figures)
