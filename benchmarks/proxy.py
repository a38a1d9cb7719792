# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP proxy: how long clients go without answers, by the way in which they find a proxy, what a reload costs them, and what it lets out.

The ways: ``vip`` (the address that nat-failover moves), ``nlb`` (a load balancer with AWS's shortest checks), ``pair`` (both proxies in the
client's own code), ``single`` (one proxy, no second one). All are measured in the same labs, by the same client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.integration.proxy.attacks import WALLS

from . import proxy_alone, proxy_ways
from .campaign import Key, Part, Row
from .summary import median

ENGINES = ("squid", "tinyproxy")
RELOAD, ATTACK = "reload", "attack"
# Way, fault, milliseconds of each call to the API, and how often in a full run.
TRIALS: tuple[tuple[str, str, int, int], ...] = (
    ("vip", "node killed", 0, 5),
    ("vip", "node killed", 300, 3),
    ("vip", "proxy killed", 0, 3),
    ("vip", "drained", 0, 3),
    ("nlb", "node killed", 0, 3),
    ("nlb", "drained", 0, 1),
    ("pair", "node killed", 0, 2),
    ("single", "node killed", 0, 1),
    ("single", "uplink back", 0, 2),
    (RELOAD, "under load", 0, 2),
    *((ATTACK, wall, 0, 1) for wall in WALLS),
)
# Of the blueprint. The load balancer's checks are 5 s apart, two of them count, and each may take 2 s.
GOALS = {
    "vip, node killed, API 0 ms": 1000.0,
    "vip, node killed, API 300 ms": 1300.0,
    "nlb, node killed, API 0 ms": 13000.0,
    "single, uplink back, API 0 ms": 3000.0,
}


def plan(quick: bool) -> Iterator[Key]:
    """A quick run has each trial once, and most of them with one engine: they are not the engine's affair."""
    for run in range(1 if quick else max(times for *_trial, times in TRIALS)):
        for engine in ENGINES:
            for way, fault, latency, times in TRIALS:
                first = (way, fault, latency) == TRIALS[0][:3]
                if run < times and (not quick or engine == ENGINES[1] or first or way in (RELOAD, ATTACK)):
                    yield {"engine": engine, "way": way, "fault": fault, "api_ms": latency, "run": run}


def measure(key: Key) -> Row:
    """One trial, with an engine that was started for it."""
    if key["way"] == RELOAD:
        return proxy_alone.reloads(key["engine"])
    if key["way"] == ATTACK:
        return proxy_alone.attacks(key["engine"], key["fault"])
    return proxy_ways.measure(key)


def name(row: Row) -> str:
    """A trial, for people."""
    api = f", API {row['api_ms']} ms" if row["way"] in proxy_ways.WAYS else ""
    return f"{row['way']}, {row['fault']}{api}"


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians: outages and failed requests by way and fault, memory by engine; leaks."""
    found: dict[str, list[float]] = {}
    for row in rows:
        told = {f"{name(row)}: {key}": row.get(key) for key in ("outage_ms", "longest_ms", "leaks")}
        if row["fault"] == "drained" or row["way"] == RELOAD:
            told[f"{name(row)}: failed"] = row["failed"]
        told |= {f"{row['engine']}_mb": row.get("engine_mb")}
        told |= {key: row.get(key) for key in ("health_mb", "health_cpu_percent")}
        for key, value in told.items():
            if value is not None:
                found.setdefault(key, []).append(value)
    return {key: median(values) for key, values in found.items()}


def facts(rows: list[Row]) -> dict[str, Any]:
    """The figures of the issue, the goals that are met, and the trials after which no answer came at all."""
    found = figures(rows)
    met = {each: found[f"{each}: outage_ms"] <= goal for each, goal in GOALS.items() if f"{each}: outage_ms" in found}
    never = sorted({name(row) for row in rows if row.get("outage_ms", 0) is None})
    return {
        "vip_ms": found.get("vip, node killed, API 0 ms: outage_ms"),
        "nlb_ms": found.get("nlb, node killed, API 0 ms: outage_ms"),
        "reload_refused": total(rows, "failed", lambda row: row["way"] == RELOAD),
        "leaks": total(rows, "leaks", lambda row: row["way"] == ATTACK),
        "drain_failed": total(rows, "failed", lambda row: row["fault"] == "drained"),
        "squid_mb": found.get("squid_mb"),
        "tinyproxy_mb": found.get("tinyproxy_mb"),
        "runs": len(rows),
        "goals_met": met,
        "no_answer": never,
    }


def total(rows: Sequence[Row], key: str, chosen: Callable[[Row], bool]) -> int | None:
    """The sum of a figure over the rows that are chosen; None without any."""
    found = [row[key] for row in rows if chosen(row)]
    return sum(found) if found else None


PART = Part("proxy", ("engine", "way", "fault", "api_ms", "run"), plan, measure, figures, facts=facts)
