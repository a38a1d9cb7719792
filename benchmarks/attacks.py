# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on the service, for the comparison of a release with the one before: forged heartbeats, floods, mutated input.

All of it stays inside this process and inside the lab's namespaces. Floods last ``FLOOD_S`` seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nat_failover.wire.codec import REASONS

from . import forgery, garbage
from .campaign import Key, Part, Row
from .meter import Meter
from .nodes import Nodes, counters, running_nodes
from .summary import median

FORGED, QUICK_FORGED = 100_000, 30_000
FUZZED, QUICK_FUZZED = 20_000, 4_000
FLOOD_S, SETTLE_S = 8.0, 3.0
SENDER = Path(__file__).parent / "flood.py"
STRANGER, PEER, BOTH = (
    "a stranger, at one node",
    "in the peer's name, at one node",
    "a stranger with ICMP, at both nodes",
)
FLOODS = (STRANGER, PEER, BOTH)
NODES = ("nat-a", "nat-b")
WRITES = ("ReplaceRoute", "CreateRoute")
FENCES = ("StopInstances", "StartInstances", "RebootInstances")


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 5):
        yield {"attack": "forged heartbeats", "kind": "all", "count": QUICK_FORGED if quick else FORGED, "run": run}
        for parser in garbage.PARSERS:
            yield {"attack": "mutated input", "kind": parser, "count": QUICK_FUZZED if quick else FUZZED, "run": run}
        for flood in FLOODS:
            yield {"attack": "flood", "kind": flood, "count": 0, "run": run}


def measure(key: Key) -> Row:
    if key["attack"] == "forged heartbeats":
        return forgery.attack(key["count"], key["run"])
    if key["attack"] == "mutated input":
        return garbage.attack(key["kind"], key["count"], str(key["run"]))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_nodes(Path(folder)) as cluster:
            time.sleep(SETTLE_S)
            return _flood(cluster, key["kind"])


def _flood(cluster: Nodes, kind: str) -> Row:
    """The effects of a flood from a client on both nodes. CPU is that of the busier service."""
    zones, client = cluster.lab.ids.zones, "client-b"
    targets = [zones["a"].private_ip, *([zones["b"].private_ip] if kind == BOTH else [])]
    source = zones["b"].private_ip if kind == PEER else ""
    names = NODES if kind == BOTH else NODES[:1]
    if source:
        cluster.lab.exec(client, ["ip", "address", "add", f"{source}/32", "dev", "lo"])
    seen = {name: len(cluster.events(name, "verdict")) for name in NODES}
    written = len(cluster.writes(*WRITES, *FENCES))
    reached = {name: _reached(cluster, name) for name in names}
    idle = _idle(cluster)
    meters = {name: Meter(cluster.service(name).pid) for name in NODES}
    words = [sys.executable, str(SENDER), str(FLOOD_S), "icmp" if kind == BOTH else "udp", source or "-", *targets]
    done = cluster.lab.exec(client, words, timeout=FLOOD_S + 30)
    costs = [meters[name].read() for name in NODES]
    told = json.loads(done.stdout)
    time.sleep(SETTLE_S)  # a verdict or a write that the flood has caused comes now
    writes = cluster.writes(*WRITES, *FENCES)[written:]
    taken = sum(_reached(cluster, name) - reached[name] for name in names)
    return {
        "sent": told["sent"],
        "pps": round(told["sent"] / told["seconds"]),
        "taken_percent": round(100 * taken / max(1, told["sent"]), 2),
        "cpu_percent": round(max(cost.cpu_percent for cost in costs), 1),
        "idle_cpu_percent": round(idle, 1),
        "verdicts": sum(len(cluster.events(name, "verdict")) - seen[name] for name in NODES),
        "routes": len([action for action, _caller in writes if action in WRITES]),
        "fences": len([action for action, _caller in writes if action in FENCES]),
    }


def _idle(cluster: Nodes) -> float:
    """CPU of the busier service without a flood, in percent of a core."""
    meters = [Meter(cluster.service(name).pid) for name in NODES]
    time.sleep(SETTLE_S)
    return max(meter.read().cpu_percent for meter in meters)


def _reached(cluster: Nodes, node: str) -> int:
    """Datagrams that a service has read and refused so far."""
    counted = counters(cluster, node)
    return sum(value for name, value in counted.items() if name in REASONS or name.startswith("icmp_"))


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by (attack, kind), in the order of the plan."""
    found: dict[tuple[str, str], list[Row]] = {}
    for key in plan(quick=True):
        members = [row for row in rows if (row["attack"], row["kind"]) == (key["attack"], key["kind"])]
        if members:
            found[key["attack"], key["kind"]] = members
    return found


WORST = {
    "forged heartbeats": ("accepted", "microseconds"),
    "mutated input": ("unexpected",),
    "flood": ("taken_percent", "cpu_percent", "verdicts", "routes", "fences"),
}


def figures(rows: list[Row]) -> dict[str, float]:
    """Counts of what must not happen are sums, costs are medians."""
    found: dict[str, float] = {}
    for (attack, kind), members in groups(rows).items():
        for name in WORST[attack]:
            values = [row[name] for row in members]
            summed = name in ("accepted", "unexpected", "verdicts", "routes", "fences")
            found[f"{attack}, {kind}: {name}"] = sum(values) if summed else median(values)
    return found


def facts(rows: list[Row]) -> dict[str, Any]:
    """How much was tried: what the figures must be read beside."""
    found: dict[str, Any] = {"cores": os.cpu_count()}
    for (attack, kind), members in groups(rows).items():
        if attack == "forged heartbeats":
            found["packets_forged"] = sum(row["forged"] for row in members)
        elif attack == "mutated input":
            found[f"fuzzed, {kind}"] = sum(row["fuzzed"] for row in members)
        else:
            found[f"flood pps, {kind}"] = median([row["pps"] for row in members])
    return found


PART = Part("attacks", ("attack", "kind", "count", "run"), plan, measure, figures, facts=facts)
