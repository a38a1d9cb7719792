# SPDX-License-Identifier: GPL-3.0-or-later
"""The path of packets: a node with the role's rules, canary and service, beside one bare MASQUERADE rule and beside plain routing.

The three take turns, round by round. One core sends the packets and carries them, as it would take them from a network card.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lab.fabric.names import INTERFACE, VPC

from . import carriers, packets
from .campaign import Key, Part, Row
from .nodes import Nodes, running_nodes
from .summary import median

# name -> (kind, flows)
TRAFFIC = {
    "UDP, 1 flow": (packets.UDP, 1),
    "UDP, 2 flows": (packets.UDP, 2),
    "UDP, 4 flows": (packets.UDP, 4),
    "TCP, 1 flow": (packets.TCP, 1),
    "UDP, 10,000 connections": (packets.UDP, 10_000),
    "new TCP connections": (packets.NEW, 50_000),
}
FLOOR, PLAIN, BARE, ROLE = "floor", "plain", "bare", "role"
CONTENDERS = (PLAIN, BARE, ROLE)
ALL = (FLOOR, *CONTENDERS)  # the first one drops each packet at its entry: what remains is the sender
ONE_RULE = ["-t", "nat", "-A", "POSTROUTING", "-s", VPC, "-o", INTERFACE, "-j", "MASQUERADE"]
NODE = "nat-a"
# As the role configures a node by default. A sender at full speed starves this machine, not the node: no route must move for that.
SETTINGS: dict[str, Any] = {
    "mode": "observe",
    "sources": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "imds": {"users": []},
}
ROUNDS, QUICK_ROUNDS, SECONDS, SETTLE_S = 15, 7, 0.4, 3.0
GOAL = 0.97  # of the bare rule's rate
NOISY = 0.05  # a spread of the middle half of the rounds that makes a result doubtful
LOST = 0.01


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 3):
        for traffic in TRAFFIC:
            yield {"traffic": traffic, "rounds": QUICK_ROUNDS if quick else ROUNDS, "run": run}


def measure(key: Key) -> Row:
    kind, count = TRAFFIC[key["traffic"]]
    if (os.cpu_count() or 1) < 2:
        raise RuntimeError(
            "this machine has 1 core; one to send packets and one to carry them are needed: use 2 or more"
        )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        cluster = stack.enter_context(running_nodes(Path(folder), settings=SETTINGS))
        cluster.lab.exec(NODE, cluster.command(NODE, "repair"), env=cluster.environment(), input="sysctls\n")
        hosts = {
            FLOOR: stack.enter_context(carriers.made(cluster.lab, FLOOR, 3, returns=False)),
            PLAIN: stack.enter_context(carriers.made(cluster.lab, PLAIN, 1)),
            BARE: stack.enter_context(carriers.made(cluster.lab, BARE, 2, [ONE_RULE])),
            ROLE: carriers.of_node(cluster.lab, NODE),
        }
        carriers.sink(cluster.lab, list(hosts.values()))
        time.sleep(SETTLE_S)
        rounds = list(_rounds(hosts, kind, count, key["rounds"]))
        _still_works(cluster)
    return summed(rounds)


def _rounds(hosts: dict[str, carriers.Carrier], kind: str, count: int, number: int) -> Iterator[dict[str, Any]]:
    """One round after the other, each with another contender first."""
    for turn in range(number + 1):
        found = {}
        for name in (*ALL[turn % 4 :], *ALL[: turn % 4]):
            found[name] = hosts[name].carry(kind, count, SECONDS, turn)
            lost = 1 - found[name]["returned"] / found[name]["sent"]
            if lost > LOST:
                raise RuntimeError(
                    f"{name}: {lost:.1%} of the packets did not come back: what was measured is no forwarding"
                )
            hosts[name].forget()  # a SYN of a connection that it knows would be another case
        if turn:  # the first one warms up
            yield found


def summed(rounds: list[dict[str, Any]]) -> Row:
    """CPU per packet and the rate of one core by contender, and the share of the role in the bare rule's rate; medians.

    The sender is left out of the CPU per packet, and is part of the rate: it stands for the driver of a network card.
    """
    costs = {name: [r[name]["cpu_ns"] / r[name]["returned"] for r in rounds] for name in ALL}
    floor = median(costs[FLOOR])
    return {
        "pps": {name: round(1e9 / median(costs[name])) for name in CONTENDERS},
        "ns": {name: round(median(costs[name]) - floor, 1) for name in CONTENDERS},
        "sender_ns": round(floor, 1),
        "share": round(median([bare / role for bare, role in zip(costs[BARE], costs[ROLE], strict=True)]), 4),
        "spread": round(max(_spread(values) for values in costs.values()), 4),
        "kernel": platform.release(),
    }


def _spread(values: list[float]) -> float:
    """The middle half of the values, as a share of their median."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return (ordered[-1 - quarter] - ordered[quarter]) / median(ordered)


def _still_works(cluster: Nodes) -> None:
    """The node has been a working node all the time, its canary and service among it. Raises ``AssertionError``."""
    cluster.wait("the node forwards, and its canary is answered", lambda: _fit(cluster), 15)


def _fit(cluster: Nodes) -> bool:
    told = cluster.status(NODE)["self"]
    return bool(told["forwarding"] and told["canary"] == "answered")


def groups(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by traffic, in the order of the plan."""
    found = {traffic: [row for row in rows if row["traffic"] == traffic] for traffic in TRAFFIC}
    return {traffic: members for traffic, members in found.items() if members}


def figures(rows: list[Row]) -> dict[str, float]:
    """CPU per packet, and of the role also in units of the bare rule's."""
    found: dict[str, float] = {}
    for traffic, members in groups(rows).items():
        for name in CONTENDERS:
            found[f"{traffic}, {name}: ns"] = median([row["ns"][name] for row in members])
        found[f"{traffic}: role / bare"] = round(1 / median([row["share"] for row in members]), 4)
    return found


def facts(rows: list[Row]) -> dict[str, Any]:
    """Rates, and what they must be read beside."""
    found: dict[str, Any] = {"cores": os.cpu_count(), "kernel": platform.release()}
    for traffic, members in groups(rows).items():
        found[f"{traffic}: pps"] = {name: median([row["pps"][name] for row in members]) for name in CONTENDERS}
    found["noisy"] = [traffic for traffic, members in groups(rows).items() if noisy(members)]
    return found


def noisy(rows: list[Row]) -> bool:
    """Whether the rounds differ so much that the result says little."""
    return median([row["spread"] for row in rows]) > NOISY


PART = Part("forwarding", ("traffic", "rounds", "run"), plan, measure, figures, facts=facts)
