# SPDX-License-Identifier: GPL-3.0-or-later
"""Many route tables, also where EC2 throttles, and many nodes: how long an adoption and a detection take, and what they cost."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import vpc

from .campaign import Key, Part, Row
from .meter import Meter
from .nodes import Nodes, counters, running_nodes
from .summary import median

TABLES, NODES = (1, 10, 50, 200), (2, 3, 5, 9, 16)
# The token buckets of EC2's documentation, "Request throttling for the Amazon EC2 API": mutating and non-mutating actions, per account.
BUCKETS = ({"action": "ReplaceRoute", "burst": 50, "rate": 5}, {"action": "Describe*", "burst": 100, "rate": 20})
EC2_MS = 300  # a usual time for EC2 to answer
LIMIT_S = 120.0
WINDOW_S = 20.0
SETTLE_S = 3.0


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 5):
        for count in TABLES:
            for limit, latency in (("none", 0), ("none", EC2_MS), ("EC2", 0)):
                yield {"kind": "tables", "count": count, "limit": limit, "api_ms": latency, "run": run}
        for count in NODES:
            yield {"kind": "nodes", "count": count, "limit": "none", "api_ms": 0, "run": run}


def measure(key: Key) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if key["kind"] == "tables":
            return _adoption(Path(folder), key["count"], key["limit"] == "EC2", key["api_ms"])
        return _detection(Path(folder), key["count"])


def least_s(count: int) -> float:
    """The time that the bucket of the writes alone gives to so many tables."""
    bucket = BUCKETS[0]
    return max(0.0, (count - float(bucket["burst"])) / float(bucket["rate"]))  # type: ignore[arg-type]


def _adoption(folder: Path, count: int, throttled: bool, latency_ms: int) -> Row:
    """nat-a, the home of all these tables, dies."""

    def prepare(cluster: Any) -> None:
        lab, zone = cluster.lab, cluster.lab.ids.zones["a"]
        with lab.api.lock:
            more = vpc.add_route_tables(count - 1, zone)
        cluster.tables = {"nat-a": [zone.route_table, *more]}

    # No fence: its calls would share the buckets.
    with running_nodes(folder, settings={"mode": "route"}, prepare=prepare) as cluster:
        lab, tables = cluster.lab, cluster.tables["nat-a"]
        time.sleep(SETTLE_S)
        for bucket in BUCKETS if throttled else ():
            lab.fault("api", **bucket)
        if latency_ms:
            lab.fault("api", delay_ms=latency_ms)
        at = lab.fault("kill", "nat-a")
        cluster.wait("all adopted", lambda: _adopted(cluster, tables), LIMIT_S)
        time.sleep(1.0)
        verdict = _failed_at(cluster, "nat-b", at)
        calls = lab.calls(since=at)
        writes = [call for call in calls if call.action in ("ReplaceRoute", "CreateRoute")]
        last: dict[str, float] = {}
        for call in writes:
            if call.ok:
                last.setdefault(str(call.parameters["RouteTableId"]), call.time)
        return {
            "adopt_ms": round((max(last.values()) - verdict) * 1000, 1),
            "detect_ms": round((verdict - at) * 1000, 1),
            "writes": len(writes),
            "reads": len([call for call in calls if call.action.startswith("Describe")]),
            "refused": len([call for call in calls if call.error == "RequestLimitExceeded"]),
            "least_ms": round(least_s(count) * 1000) if throttled else 0,
        }


def _adopted(cluster: Nodes, tables: Any) -> bool:
    heir = cluster.lab.ids.node("nat-b").interface_id
    snapshot = {each.id: each for each in cluster.lab.api.snapshot().route_tables}
    return all(
        any(route.destination == vpc.DEFAULT_ROUTE and route.target_id == heir for route in snapshot[table].routes)
        for table in tables
    )


def _detection(folder: Path, count: int) -> Row:
    zones = [chr(ord("a") + number) for number in range(count)]
    with running_nodes(folder, settings={"mode": "route"}, zones=zones, helpers=False) as cluster:
        time.sleep(SETTLE_S)
        names = [f"nat-{zone}" for zone in zones]
        before = {name: counters(cluster, name) for name in names}
        meters = {name: Meter(cluster.service(name).pid) for name in names}
        began = time.monotonic()
        time.sleep(WINDOW_S)
        costs = [meters[name].read() for name in names]
        seconds = time.monotonic() - began
        packets = [_packets(counters(cluster, name)) - _packets(before[name]) for name in names]
        at = cluster.lab.fault("kill", "nat-a")
        survivors = names[1:]
        cluster.wait("adopted", lambda: cluster.lab.owner("a") in survivors, LIMIT_S)
        time.sleep(2.0)
        detected = [(_failed_at(cluster, name, at) - at) * 1000 for name in survivors]
        return {
            "detect_ms": round(median(detected), 1),
            "detect_last_ms": round(max(detected), 1),
            "packets_per_s": round(sum(packets) / len(packets) / seconds, 1),
            "cpu_percent": round(sum(each.cpu_percent for each in costs) / count, 3),
            "resident_mb": round(sum(each.resident_mb for each in costs) / count, 2),
            "wakeups_per_s": round(sum(each.wakeups_per_s for each in costs) / count, 1),
        }


def _packets(counted: dict[str, int]) -> int:
    return sum(counted.get(name, 0) for name in ("sent", "received", "pinged", "echoed"))


def _failed_at(cluster: Nodes, node: str, since: float) -> float:
    """When a node called nat-a failed; raises ``LookupError`` if it never did."""
    # The file, not the status: hundreds of written routes push a verdict out of what is kept in memory.
    history = (cluster.folder / node / "state" / "history.jsonl").read_text(encoding="utf-8")
    for event in map(json.loads, history.splitlines()):
        if event["kind"] == "verdict" and event["monotonic"] >= since - 0.001 and event["verdict"] == "failed":
            return float(event["monotonic"])
    raise LookupError(f"{node} has not called nat-a failed")


def groups(rows: list[Row]) -> dict[tuple[str, int, str, int], list[Row]]:
    """Rows by (kind, count, limit, latency), in this order."""
    found: dict[tuple[str, int, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["count"], row["limit"], row["api_ms"]), []).append(row)
    return dict(sorted(found.items()))


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians by size."""
    found: dict[str, float] = {}
    names = {
        "tables": ("adopt_ms",),
        "nodes": ("detect_ms", "detect_last_ms", "packets_per_s", "cpu_percent", "resident_mb"),
    }
    for (kind, count, limit, latency), members in groups(rows).items():
        for name in names[kind]:
            how = f", limit {limit}, API {latency} ms" if kind == "tables" else ""
            found[f"{count} {kind}{how}: {name}"] = median([row[name] for row in members])
    return found


PART = Part("scale", ("kind", "count", "limit", "api_ms", "run"), plan, measure, figures)
