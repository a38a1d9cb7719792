# SPDX-License-Identifier: GPL-3.0-or-later
"""The section of the proxy in docs/benchmarks.md: tables and a plot of recorded rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import proxy
from .summary import median
from .svg import Bar, bars
from .table import milliseconds, table

Row = dict[str, Any]
NOT_YET = "*Not recorded yet.*\n"


def ways(rows: Sequence[Row]) -> str:
    """By way and fault, both engines apart."""
    body = []
    for engine in proxy.ENGINES:
        for name, members in _groups(rows, engine).items():
            outages = [row["outage_ms"] for row in members if row["outage_ms"] is not None]
            shown = (
                [milliseconds(value) for value in (median(outages), max(outages))] if outages else ["no answer", "–"]
            )
            verdicts = [row["verdict_ms"] for row in members if "verdict_ms" in row]
            failed = f"{sum(row['failed'] for row in members)} of {sum(row['requests'] for row in members)}"
            told = [milliseconds(median(verdicts)) if verdicts else "–"]
            told.append(milliseconds(max(row["longest_ms"] for row in members)))
            body.append([engine, name, str(len(members)), *shown, *told, failed])
    head = ["engine", "way, fault", "runs", "median ms", "max ms", "known to the balancer after (ms)"]
    return table([*head, "longest answer ms", "requests failed"], body) if body else NOT_YET


def goals(rows: Sequence[Row]) -> str:
    """The goals beside the figures, both engines in one."""
    found, facts = proxy.figures(list(rows)), proxy.facts(list(rows))
    wanted: list[tuple[str, float, float | None, str]] = [
        *((f"{name}: median", goal, found.get(f"{name}: outage_ms"), "ms") for name, goal in proxy.GOALS.items()),
        ("10 reloads under load: requests that failed", 0, facts["reload_refused"], ""),
        ("10 reloads under load: longest request", 1200, _worst(rows), "ms"),
        ("attacks: connections to forbidden places", 0, facts["leaks"], ""),
        ("drained: requests that failed", 0, facts["drain_failed"], ""),
        ("memory of the health check", 20, found.get("health_mb"), "MB"),
        ("CPU of the health check", 0.5, found.get("health_cpu_percent"), "%"),
    ]
    if all(value is None for _what, _goal, value, _unit in wanted):
        return NOT_YET
    body = [[what, f"{goal:,g} {unit}".strip(), *_judged(value, goal, unit)] for what, goal, value, unit in wanted]
    body += [
        [f"memory of {engine}, idle", "–", f"{_plain(found[f'{engine}_mb'])} MB", "–"]
        for engine in proxy.ENGINES
        if f"{engine}_mb" in found
    ]
    return table(["figure", "at most", "measured", ""], body)


def _judged(value: float | None, goal: float, unit: str) -> tuple[str, str]:
    """A figure and whether it is within its goal. One that was not measured has passed nothing."""
    if value is None:
        return "–", "not measured"
    return f"{_plain(value)} {unit}".strip(), "PASS" if value <= goal else "FAIL"


def _plain(value: float) -> str:
    """Four digits at least, and no exponent."""
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def attacks(rows: Sequence[Row]) -> str:
    """The table of attacks, by the walls that stand."""
    body = [
        [row["engine"], row["fault"], str(row["trials"]), str(row["leaks"])]
        for row in rows
        if row["way"] == proxy.ATTACK
    ]
    head = ["engine", "walls", "kinds of requests", "connections to forbidden places"]
    return table(head, body) if body else NOT_YET


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> SVG: the outage by way, medians of both engines."""
    found = proxy.figures(list(rows))
    shown = [
        Bar(name, found[f"{name}: outage_ms"])
        for name in dict.fromkeys(proxy.name(row) for row in rows)
        if f"{name}: outage_ms" in found and "drained" not in name
    ]
    return {"images/proxy.svg": bars("A proxy fails: until downloads work again", "ms", shown)} if shown else {}


def _groups(rows: Sequence[Row], engine: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["engine"] == engine and "outage_ms" in row:
            found.setdefault(proxy.name(row), []).append(row)
    return found


def _worst(rows: Sequence[Row]) -> float | None:
    """The longest request during a reload."""
    return max((row["longest_ms"] for row in rows if row["way"] == proxy.RELOAD), default=None)
