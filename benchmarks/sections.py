# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and plots of the parts beside the outages, made of recorded rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nat_failover.config.sections import EARLY, PROFILES

from . import alarms, attacks, footprint, forwarding, pythons, rollout, scale
from .contenders import UNTAGGED
from .summary import median
from .svg import Bar, bars
from .table import milliseconds, table

Row = dict[str, Any]
NOT_YET = "*Not recorded yet.*\n"
MARGIN_MS = 50  # of the blueprint's limit for a hard death


def verdict(good: bool) -> str:
    """In capitals: it is what the eye looks for."""
    return "PASS" if good else "FAIL"


def limit_ms(profile: str, latency: int) -> int:
    """How long a hard death may interrupt packets: silence, one heartbeat, one latency and a margin.

    A profile whose takeovers are not early has its answer of EC2 before the write: it comes within the silence, or takes longer.
    """
    interval, _burst, silent = PROFILES[profile]
    return (silent if profile in EARLY else max(silent, latency)) + interval + latency + MARGIN_MS


def limits(rows: Sequence[Row]) -> str:
    """A hard death against its limit, of clusters whose instances carry the tag and of those that do not."""
    body = []
    for contender in (*PROFILES, *(profile + UNTAGGED for profile in PROFILES)):
        profile = contender.removesuffix(UNTAGGED)
        for latency in sorted({row["api_ms"] for row in rows}):
            found = [
                row["outage_ms"]
                for row in rows
                if (row["contender"], row["case"], row["api_ms"]) == (contender, "kill", latency)
            ]
            if found:
                limit, middle = limit_ms(profile, latency), median(found)
                cells = [milliseconds(value) for value in (limit, middle, max(found))]
                tagged = "no" if contender != profile else "yes"
                body.append([f"`{profile}`", tagged, f"{latency} ms", *cells, verdict(middle <= limit)])
    head = ["profile", "tagged", "API latency", "limit", "median", "max", "median within the limit"]
    return table(head, body) if body else NOT_YET


def footprints(rows: Sequence[Row]) -> str:
    """By Python version; medians."""
    head = [
        "Python",
        "boto3",
        "CPU",
        "of which idle",
        "resident",
        "peak",
        "private",
        "wake-ups/s",
        "threads",
        "start",
        "canary: CPU",
        "resident",
    ]
    body = []
    for version in pythons.VERSIONS:
        members = [row for row in rows if row["python"] == version]
        if members:
            m = {name: median([row[name] for row in members]) for name, value in members[0].items() if _number(value)}
            good = all(m[name] <= target for name, target in footprint.TARGETS.items())
            body.append(
                [version, members[-1]["boto3"], f"{m['cpu_percent']:.2f} %", f"{m['idle_percent']:.2f} %"]
                + [f"{m[name]:.0f} MB" for name in ("resident_mb", "peak_mb", "private_mb")]
                + [f"{m['wakeups_per_s']:.0f}", f"{m['threads']:.0f}", f"{m['start_ms']:.0f} ms"]
                + [f"{m['canary_cpu_percent']:.2f} %", f"{m['canary_resident_mb']:.0f} MB", verdict(good)]
            )
    return table([*head, "within the limits"], body) if body else NOT_YET


def carried(rows: Sequence[Row]) -> str:
    """Packets a second and CPU per packet of the three contenders; medians."""
    body = []
    for traffic, members in forwarding.groups(list(rows)).items():
        pps, ns = (
            [median([row[figure][name] for row in members]) for name in forwarding.CONTENDERS]
            for figure in ("pps", "ns")
        )
        share = median([row["share"] for row in members])
        told = f"{verdict(share >= forwarding.GOAL)}{', noisy' if forwarding.noisy(members) else ''}"
        spread = f"{100 * median([row['spread'] for row in members]):.1f} %"
        body.append([traffic, *(f"{value:,.0f}" for value in pps), *(f"{value:,.0f}" for value in ns)])
        body[-1] += [f"{100 * share:.1f} %", spread, told]
    head = ["traffic", "plain: packets/s", "bare", "role", "plain: ns/packet", "bare", "role", "role / bare", "spread"]
    return table([*head, f"{100 * forwarding.GOAL:.0f} % of the bare rule"], body) if body else NOT_YET


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def adoptions(rows: Sequence[Row]) -> str:
    """How long so many tables take from the verdict on; the ratio is to one table in the same surroundings."""
    found = {key: members for key, members in scale.groups(list(rows)).items() if key[0] == "tables"}
    body = []
    for (_kind, count, limit, latency), members in found.items():
        m = {
            name: median([row[name] for row in members])
            for name in ("adopt_ms", "writes", "reads", "refused", "least_ms")
        }
        one = found.get(("tables", 1, limit, latency))
        if limit == "EC2" and m["least_ms"]:
            told = f"{m['adopt_ms'] / m['least_ms']:.2f} x the bucket's own time, {verdict(m['adopt_ms'] <= 1.1 * m['least_ms'])}"
        else:
            told = f"{m['adopt_ms'] / median([row['adopt_ms'] for row in one]):.1f} x one table" if one else "–"
        body.append(
            [count, limit, f"{latency} ms", milliseconds(m["adopt_ms"]), told]
            + [f"{m[name]:.0f}" for name in ("writes", "refused", "reads")]
        )
    head = ["tables", "throttling", "API latency", "adopted after (ms)", "", "writes tried", "refused", "reads"]
    return table(head, body) if body else NOT_YET


def clusters(rows: Sequence[Row]) -> str:
    """The cost of a larger cluster for each of its nodes."""
    body = []
    for (kind, count, _limit, _latency), members in scale.groups(list(rows)).items():
        if kind == "nodes":
            m = {name: median([row[name] for row in members]) for name, value in members[0].items() if _number(value)}
            body.append(
                [
                    count,
                    milliseconds(m["detect_ms"]),
                    milliseconds(m["detect_last_ms"]),
                    f"{m['packets_per_s']:.0f}",
                    f"{m['cpu_percent']:.2f} %",
                    f"{m['resident_mb']:.0f} MB",
                    f"{m['wakeups_per_s']:.0f}",
                ]
            )
    head = ["nodes", "detected after (ms)", "by the last one", "packets/s", "CPU", "resident", "wake-ups/s"]
    return table(head, body) if body else NOT_YET


def false_takeovers(rows: Sequence[Row]) -> str:
    """Per year, as simulated and by formula. None seen: the rate is below three in the time that was simulated (95 %)."""
    body = []
    for (profile, condition), members in alarms.groups(list(rows)).items():
        hours, seen = sum(row["hours"] for row in members), sum(row["takeovers"] for row in members)
        rate = f"{alarms.per_year(members):,.0f}" if seen else f"none seen (< {3 * alarms.YEAR_S / 3600 / hours:,.0f})"
        formula = alarms.silences_per_year(profile, condition)
        told = "–" if formula is None else f"{formula:,.1f}" if formula >= 0.1 else f"{formula:.0e}"
        fences = sum(row["fences"] for row in members)
        body.append([f"`{profile}`", condition, f"{hours:g}", seen, rate, told, fences])
    head = [
        "profile",
        "condition",
        "simulated hours",
        "takeovers",
        "per year",
        "silences per year by formula",
        "fences",
    ]
    return table(head, body) if body else NOT_YET


def rollouts(rows: Sequence[Row]) -> str:
    """The cost of a run of the role, per host."""
    body = []
    for (count, name), members in rollout.groups(rows).items():
        m = {figure: median([each[figure] for each in members]) for figure in rollout.FIGURES}
        body.append(
            [
                count,
                name,
                f"{m['wall_s'] * count:,.0f} s",
                f"{m['wall_s']:.2f} s",
                f"{m['operator_cpu_s']:.2f} s",
                f"{m['host_cpu_s']:.2f} s",
                f"{m['trips']:.0f}",
                f"{m['sent_kb']:,.0f} kB",
            ]
        )
    head = ["hosts", "run", "took", "per host", "CPU of your machine", "CPU of the host", "round trips", "sent"]
    return table(head, body) if body else NOT_YET


def rollout_tasks(rows: Sequence[Row]) -> str:
    """The tasks that took longest, with as many hosts as were measured: milliseconds per host."""
    if not rows:
        return NOT_YET
    count = max(row["hosts"] for row in rows)
    found = rollout.groups(rows)
    times = {
        name: {
            task: median([each["tasks"].get(task, 0.0) for each in found[count, name]]) * 1000
            for each in found[count, name]
            for task in each["tasks"]
        }
        for name in rollout.PASSES
    }
    tasks = sorted({*times["first"], *times["second"]}, key=lambda task: -times["second"].get(task, 0.0))
    body = [[task, *(milliseconds(times[name].get(task)) for name in rollout.PASSES)] for task in tasks[:12]]
    return table([f"task ({count} hosts)", "first run, ms per host", "second run, ms per host"], body)


def forgeries(rows: Sequence[Row]) -> str:
    """Forged heartbeats and mutated input: how many were tried, and how many did what nobody foresees."""
    body = []
    for (attack, kind), members in attacks.groups(rows).items():
        if attack == "forged heartbeats":
            tried, bad = "forged", "accepted"
            told = f"{median([row['microseconds'] for row in members]):.1f} µs to refuse one"
        elif attack == "mutated input":
            tried, bad = "fuzzed", "unexpected"
            share = sum(row["refused"] for row in members) / sum(row["fuzzed"] for row in members)
            told = f"{100 * share:.0f} % refused with an error"
        else:
            continue
        counts = [sum(row[name] for row in members) for name in (tried, bad)]
        body.append([attack, kind, f"{counts[0]:,}", f"{counts[1]:,}", told])
    head = ["attack", "on", "tried", "accepted, or unexpected", ""]
    return table(head, body) if body else NOT_YET


def floods(rows: Sequence[Row]) -> str:
    """The cost of a flood for a node, and its effects."""
    body = []
    for (attack, kind), members in attacks.groups(rows).items():
        if attack == "flood":
            m = {name: median([row[name] for row in members]) for name, value in members[0].items() if _number(value)}
            body.append(
                [kind, f"{m['pps']:,.0f}", f"{m['taken_percent']:.1f} %", f"{m['cpu_percent']:.0f} %"]
                + [f"{m['idle_cpu_percent']:.1f} %"]
                + [sum(row[name] for row in members) for name in ("verdicts", "routes", "fences")]
            )
    head = ["flood", "packets/s", "read by the service", "CPU", "before it", "verdicts", "routes", "fences"]
    return table(head, body) if body else NOT_YET


def plots(rows: dict[str, Sequence[Row]]) -> dict[str, str]:
    """File name -> SVG, of what is recorded."""
    found: dict[str, str] = {}
    sizes = scale.groups(list(rows["scale"]))
    adopted = [
        Bar(
            f"{count} tables, {'throttled' if limit == 'EC2' else f'API {latency} ms'}",
            median([r["adopt_ms"] for r in members]),
        )
        for (kind, count, limit, latency), members in sizes.items()
        if kind == "tables"
    ]
    detected = [
        Bar(f"{count} nodes", median([r["detect_last_ms"] for r in members]))
        for (kind, count, _limit, _latency), members in sizes.items()
        if kind == "nodes"
    ]
    if adopted:
        found["images/adoption.svg"] = bars("From the verdict to the last route of a failed node", "ms", adopted)
    if detected:
        found["images/clusters.svg"] = bars("A node dies: until the last of the others knows", "ms", detected)
    resident = [
        Bar(f"Python {version}", median([r["resident_mb"] for r in rows["footprint"] if r["python"] == version]))
        for version in pythons.VERSIONS
        if any(r["python"] == version for r in rows["footprint"])
    ]
    if resident:
        found["images/footprint.svg"] = bars("Resident memory of the service", "MB", resident)
    rolled = [
        Bar(f"{count} hosts, {name} run", median([each["wall_s"] for each in members]) * 1000)
        for (count, name), members in rollout.groups(rows.get("rollout", ())).items()
    ]
    if rolled:
        found["images/rollout.svg"] = bars("site.yml: time per host", "ms", rolled)
    return found
