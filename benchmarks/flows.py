# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of a zone whose node dies, is drained or comes back: how many go on, and how long new ones wait.

Contenders of a run: the service with identities (level 1), with synchronised connections too (level 2), without either (today: plain
masquerade), and keepalived with a notify script, alone and with conntrackd and the same Elastic IP.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lab import priority
from lab.traffic.driver import SENDERS, TCP

from . import flow_cases
from .campaign import Key, Part, Row
from .contenders import IDENTITIES, SYNCED, running
from .summary import median

LEVELS = {name: level for level, name in enumerate(IDENTITIES, 1)}
TODAY, PEER = "default", "keepalived-1"
PEER_SYNCED = PEER + SYNCED
PEERS = (PEER, PEER_SYNCED)
CONTENDERS = (*LEVELS, TODAY, *PEERS)
MOVE = (*LEVELS, PEER_SYNCED)  # an Elastic IP
KNOW_ALL = ("synchronised", PEER_SYNCED)  # flows, also those of clients that only listen
DELAYS_S = (0.0, 1.5, 5.0)  # from AssociateAddress until the internet gateway follows
HELD, QUICK_HELD = 10_000, 1_000
RUNS = 3
UNPLANNED = ("crash", "freeze")
DEATHS = (*UNPLANNED, "crash during return", "crash of the heir")
PLANNED = ("drain", "switchover", "return")
RTO_MS = 200.0  # the least wait of Linux before TCP retransmits; it doubles (RFC 6298)
GAP_MS = 20.0  # of the blueprint: the longest gap of a planned move


def plan(quick: bool) -> Iterator[Key]:
    """The keys. A delay matters to those whose Elastic IP moves, and a crash is what hurts: the rest is measured once for each."""
    held = QUICK_HELD if quick else HELD
    for run in range(1 if quick else RUNS):
        for case in flow_cases.CASES:
            for name in CONTENDERS:
                if case in flow_cases.ORDERS and name in PEERS:
                    continue
                delays = DELAYS_S if name in MOVE and case == "crash" else DELAYS_S[:1]
                for delay in (delays[0], delays[-1]) if quick and len(delays) > 1 else delays:
                    yield {"contender": name, "case": case, "delay_s": delay, "held": held, "run": run}


def measure(key: Key) -> Row:
    """The flows of one event, in a lab of its own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with (
            priority.at(priority.ACTING),
            running(key["contender"], folder, flow_cases.return_s(key["case"])) as contender,
        ):
            row = flow_cases.measure(contender, key["case"], key["delay_s"], key["held"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"asked": row.pop("held"), **row}


def promised(row: Row) -> list[tuple[str, Row]]:
    """The TCP flows of a row, watched one by one, that must go on: all if they are synchronised, else those whose client sends."""
    kinds = TCP if row["contender"] in KNOW_ALL else SENDERS
    return [(name, flow) for name, flow in flow_cases.kinds(row) if flow_cases.is_of(name, kinds)]


def alive(row: Row) -> tuple[int, int]:
    """(promised flows that go on, all promised flows), the held ones among them."""
    found, asked = promised(row), row["asked"]
    return sum(flow["alive"] for _name, flow in found) + asked["alive"], len(found) + asked["count"]


def resets(row: Row) -> int:
    """TCP connections that ended with an error."""
    watched = [flow for name, flow in flow_cases.kinds(row) if flow_cases.is_of(name, TCP)]
    return sum(bool(flow["error"]) for flow in watched) + int(row["asked"]["reset"])


def stall_ms(row: Row) -> float:
    """The longest time that a living flow of those that must go on stood still."""
    return max((flow["stall_ms"] for _name, flow in promised(row) if flow["alive"]), default=0.0)


def stall_goal_ms(row: Row) -> float:
    """Of the blueprint: 1.1 times the outage of flows, as the client sees it by UDP, and one step of TCP.

    Each wait of TCP is the sum of those before and the first one, so a step is no longer than the outage and the first wait.
    """
    outage: float = row["flows"]["udp"]["stall_ms"]
    return 1.1 * outage + outage + RTO_MS


def name(row: Row) -> str:
    """Of a group of measurements."""
    delay = f", Elastic IP after {row['delay_s']:g} s" if row["contender"] in MOVE else ""
    return f"{row['case']}, {row['contender']}{delay}"


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their names, in the order of events and contenders."""
    found: dict[str, list[Row]] = {}
    events = list(flow_cases.CASES)
    for row in sorted(
        rows, key=lambda row: (events.index(row["case"]), CONTENDERS.index(row["contender"]), row["delay_s"])
    ):
        found.setdefault(name(row), []).append(row)
    return found


def figures(rows: list[Row]) -> dict[str, float]:
    """By group: medians of the outage of new connections and of the longest stall, and the number of flows that were lost."""
    found: dict[str, float] = {}
    for group, members in groups(rows).items():
        if members[0]["contender"] in PEERS:
            continue
        found[f"{group}: new_outage_ms"] = median([row["new_outage_ms"] for row in members])
        if members[0]["contender"] in LEVELS:
            found[f"{group}: stall_ms"] = median([stall_ms(row) for row in members])
            counts = [alive(row) for row in members]
            found[f"{group}: lost"] = float(sum(count - living for living, count in counts))
    return found


def facts(rows: list[Row]) -> dict[str, Any]:
    """The figures of the issue. None: not measured."""
    one, two = of_level(rows, 1), of_level(rows, 2)
    at_once = [row for row in one if row["delay_s"] == 0]
    crashes: Callable[[Row], bool] = lambda row: row["case"] in UNPLANNED  # noqa: E731
    return {
        "level1_alive": _total(one, lambda row: alive(row)[0]),
        "level1_senders": _total(one, lambda row: alive(row)[1]),
        "level2_alive": _total(two, lambda row: alive(row)[0]),
        "level2_total": _total(two, lambda row: alive(row)[1]),
        "resets": _total(one, resets),
        "longest_stall_ms": max((stall_ms(row) for row in at_once), default=None),
        "new_connection_outage_ms": _median(row["new_outage_ms"] for row in one if crashes(row)),
        "outage_ms_today": _median(row["new_outage_ms"] for row in rows if row["contender"] == TODAY and crashes(row)),
        "planned_lost": lost_in_planned(one),
        "level2_planned_lost": lost_in_planned(two),
        "planned_stall_ms": max(map(stall_ms, planned(at_once)), default=None),
        "runs": len(rows),
    }


def lost_in_planned(rows: Sequence[Row]) -> int | None:
    """The flows that must go on and did not, in planned moves. None: not measured."""
    return _total(planned(rows), lambda row: alive(row)[1] - alive(row)[0])


def planned(rows: Sequence[Row]) -> list[Row]:
    """The rows of planned moves."""
    return [row for row in rows if row["case"] in PLANNED]


def of_level(rows: Sequence[Row], level: int) -> list[Row]:
    """The rows of identities of a level."""
    return [row for row in rows if LEVELS.get(row["contender"]) == level]


def _total(rows: Sequence[Row], count: Callable[[Row], int]) -> int | None:
    return sum(map(count, rows)) if rows else None


def _median(values: Iterator[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


PART = Part("flows", ("contender", "case", "delay_s", "held", "run"), plan, measure, figures, facts=facts)
