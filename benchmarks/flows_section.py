# SPDX-License-Identifier: GPL-3.0-or-later
"""The section of connections in docs/benchmarks.md: tables and a plot of recorded rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lab.traffic.client import GAP_S

from . import flows, sync
from .summary import median
from .svg import Bar, bars
from .table import milliseconds, table

Row = dict[str, Any]
NOT_YET = "*Not recorded yet.*\n"
SHORT_MS = 1000 * GAP_S  # a shorter pause is not recorded
MARGIN = 1.1  # of an outage against that without identities, in the same run
WORDS = {
    flows.TODAY: "no identities",
    flows.PEER: "keepalived",
    flows.PEER_SYNCED: "keepalived, conntrackd",
    "identities": "identities, level 1",
    "synchronised": "identities, level 2",
}
COSTS = {
    "opened_per_s": ",.0f",
    "owner_cpu_percent": ".1f",
    "peer_cpu_percent": ".1f",
    "owner_resident_mb": ".1f",
    "peer_resident_mb": ".1f",
    "peer_kb_per_s": ",.0f",
}
KINDS = ("echo", "push", "down", "pull", "up", "udp", "icmp")


def summary(rows: Sequence[Row]) -> str:
    """By event and contender."""
    head = ["event", "contender", "Elastic IP after", "runs", "held connections alive", "resets", "longest stall ms"]
    body = []
    for members in flows.groups(rows).values():
        first = members[0]
        counts = [row["asked"] for row in members]
        held = f"{sum(each['alive'] for each in counts):,} of {sum(each['count'] for each in counts):,}"
        body.append(
            [
                first["case"],
                WORDS[first["contender"]],
                f"{first['delay_s']:g} s" if first["contender"] in flows.MOVE else "–",
                str(len(members)),
                held,
                f"{sum(map(flows.resets, members)):,}",
                milliseconds(max(map(flows.stall_ms, members)) or None),
                milliseconds(median([row["new_outage_ms"] for row in members])),
                _sum([row["other_zone_lost"] for row in members]),
            ]
        )
    return table([*head, "new connections out for ms", "packets lost in the other zone"], body) if body else NOT_YET


SINCE = {"flows": "", "later": ", flows that began at the heir"}


def kinds(rows: Sequence[Row]) -> str:
    """By event and contender, what became of each kind of flow."""
    body = []
    for members in flows.groups(rows).values():
        first = members[0]
        if first["contender"] in flows.MOVE and first["delay_s"] not in (0, flows.DELAYS_S[-1]):
            continue
        delay = f", {first['delay_s']:g} s" if first["contender"] in flows.MOVE else ""
        for flows_of, words in SINCE.items():
            if all(row[flows_of] for row in members):
                fates = [_fate([row[flows_of][kind] for row in members if kind in row[flows_of]]) for kind in KINDS]
                body.append([first["case"] + words, WORDS[first["contender"]] + delay, *fates])
    head = [
        "event",
        "contender",
        "echo",
        "push, silent client",
        "download",
        "download, HTTP/2",
        "upload",
        "UDP",
        "ICMP",
    ]
    return table(head, body) if body else NOT_YET


def goals(rows: Sequence[Row]) -> str:
    """The goals of both levels beside the figures."""
    found = flows.facts(list(rows))
    body: list[list[str]] = []

    def add(what: str, goal: str, value: str, met: bool) -> None:
        body.append([what, goal, value, "PASS" if met else "FAIL"])

    if found["level1_senders"]:
        living, count = found["level1_alive"], found["level1_senders"]
        add("level 1: flows whose client sends, alive", f"{count:,}", f"{living:,}", living == count)
    if found["level2_total"]:
        living, count = found["level2_alive"], found["level2_total"]
        add("level 2: TCP flows, alive", f"{count:,}", f"{living:,}", living == count)
    for level, figure in ((1, "planned_lost"), (2, "level2_planned_lost")):
        lost = found[figure]
        if lost is not None:
            add(f"level {level}: flows lost in a drain, a switchover or a return", "0", str(lost), lost == 0)
        planned = [row for row in flows.planned(flows.of_level(rows, level)) if row["delay_s"] == 0]
        gaps = {
            "longest outage of new connections in these": max((row["new_outage_ms"] for row in planned), default=None),
            "longest gap of a flow in these": max(map(flows.stall_ms, planned), default=None),
        }
        for what, gap in gaps.items():
            if gap is not None:
                add(f"level {level}: {what}", f"{flows.GAP_MS:g} ms", f"{gap:,.0f} ms", gap <= flows.GAP_MS)
    for group, members in flows.groups(flows.of_level(rows, 2)).items():
        if members[0]["case"] in flows.DEATHS:
            worst = max(members, key=lambda row: flows.stall_ms(row) / flows.stall_goal_ms(row))
            value, goal = flows.stall_ms(worst), flows.stall_goal_ms(worst)
            add(f"longest stall: {group}", f"{goal:,.0f} ms", f"{value:,.0f} ms", value <= goal)
    for group, value, today in outages(rows):
        goal = today * MARGIN
        add(f"new connections: {group}", f"{goal:,.0f} ms", f"{value:,.0f} ms", value <= goal)
    return table(["figure", "goal", "measured", ""], body) if body else NOT_YET


def outages(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """(group, median outage of new connections in a crash with identities, the same without them)."""
    today = [row["new_outage_ms"] for row in rows if (row["case"], row["contender"]) == ("crash", flows.TODAY)]
    if not today:
        return []
    return [
        (group, median([row["new_outage_ms"] for row in members]), median(today))
        for group, members in flows.groups(rows).items()
        if members[0]["case"] == "crash" and members[0]["contender"] in flows.LEVELS
    ]


def costs(rows: Sequence[Row]) -> str:
    """By rate, the cost of conntrackd on both nodes; medians."""
    head = ["asked for, a second", "runs", "opened a second", "CPU % of a core, owner", "the same, peer"]
    body = []
    for rate in sync.RATES:
        members = [row for row in rows if row["rate"] == rate]
        if members:
            middle = {name: median([row[name] for row in members]) for name in COSTS}
            cells = [f"{middle[name]:{COSTS[name]}}" for name in COSTS]
            body.append([f"{rate:,}", str(len(members)), *cells])
    return table([*head, "resident MB, owner", "the same, peer", "KB a second to the peer"], body) if body else NOT_YET


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> SVG: living connections after a crash."""
    shown = [
        Bar(group.removeprefix("crash, "), 100 * _share(members))
        for group, members in flows.groups(rows).items()
        if members[0]["case"] == "crash"
    ]
    title = "A NAT node dies: connections that go on, of those whose client sends"
    return {"images/flows.svg": bars(title, "%", shown)} if shown else {}


def _sum(counts: Sequence[int | None]) -> str:
    """Of what was watched."""
    return "–" if None in counts else str(sum(each or 0 for each in counts))


def _share(members: Sequence[Row]) -> float:
    counts = [flows.alive(row) for row in members]
    return sum(living for living, _count in counts) / sum(count for _living, count in counts)


_FATES: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("reset", lambda flow: bool(flow["error"])),
    ("hangs", lambda flow: not flow["alive"]),
)


def _fate(members: Sequence[Row]) -> str:
    """The worst that became of a kind in any run, or its longest stall; "–" without any."""
    if not members:
        return "–"
    for word, is_so in _FATES:
        if any(is_so(flow) for flow in members):
            return word
    longest = max(flow["stall_ms"] for flow in members)
    return f"{longest:,.0f} ms" if longest > SHORT_MS else f"under {SHORT_MS:g} ms"
