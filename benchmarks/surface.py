# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's nights, replayed: the cause that the first screen of ``nat-failover status`` names, and whether what it says is true.

A script knows the fault and reads the screens of the nodes that run. The truth comes from the lab: the clients' connections, EC2's routes,
the hosts. Nobody who knows the engine takes part.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.fabric.names import INTERNET_MORE
from lab.hosts.host import ON
from tests.integration.e2e.cluster import Cluster, running_cluster

from .campaign import Key, Part, Row
from .nights import ALL, BY_NAME, Night, peer_of, zone_of
from .table import table

NODES = ("nat-a", "nat-b")
SCREEN = 24  # lines that a terminal shows
NOTICED_S = 4.0  # of darkness, after which a node must return 2
QUIET_S = 11.0  # of a cluster that is well before its night: the problems of a start are no incident
OVER_S = 90.0  # within which a fault that ends by itself must be over
AGE_S = 2.0  # by which an age may differ from the truth: both are read one after the other
CRITICAL = 2


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 3):
        for night in ALL:
            yield {"fault": night.name, "run": run}


def measure(key: Key) -> Row:
    """Which node it befalls is chance, and the same for each measurement of this key."""
    night, node = BY_NAME[key["fault"]], random.Random(f"{key['fault']} {key['run']}").choice(NODES)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with running_cluster(Path(folder), helpers=True) as cluster:
            for name in NODES:
                cluster.wait(f"{name} is well", lambda name=name: cluster.run(name, "status").returncode == 0, 20)  # type: ignore[misc]
            time.sleep(QUIET_S)
            return {"node": node, **suffer(cluster, night, node)}


def suffer(cluster: Cluster, night: Night, node: str) -> Row:
    """The answers of one night."""
    began = time.monotonic()
    night.inject(cluster, node)
    died = time.monotonic() if night.dies else None
    samples = []
    if night.over is not None:
        cluster.wait(f"{night.name} is over", lambda: bool(night.over and night.over(cluster, node)), OVER_S)
    else:
        while time.monotonic() < began + night.watch_s:
            samples.append(sample(cluster))
    screens = {name: "\n".join(done.stdout.splitlines()[:SCREEN]) for name, done in ask_all(cluster).items()}
    names = named(night, node, cluster, screens)
    untrue = [line for name in screens for line in lies(cluster, name, node, died)]
    return {
        "named_by": names,
        "untrue": untrue,
        "dark_samples": sum(bool(each.dark) for each in samples),
        "exit2_missed": missed(samples),
        "screens": {name: text.splitlines() for name, text in screens.items()},
    }


@dataclass(frozen=True)
class Sample:
    """The dark zones at a moment, and the exit codes of the nodes that run."""

    at: float
    dark: frozenset[str]
    codes: Mapping[str, int]


def ask(cluster: Cluster, name: str, *options: str) -> subprocess.CompletedProcess[str] | None:
    """The status of a node. None: it is off, perhaps since a moment ago."""
    try:
        return cluster.run(name, "status", *options)
    except LabError:
        if cluster.lab.host(name).state == ON:
            raise
        return None


def ask_all(cluster: Cluster, *options: str) -> dict[str, subprocess.CompletedProcess[str]]:
    """The status of each node that an operator can ask."""
    answers = {name: ask(cluster, name, *options) for name in NODES}
    return {name: done for name, done in answers.items() if done}


def sample(cluster: Cluster) -> Sample:
    at, zones = time.monotonic(), list(cluster.lab.ids.zones)
    with ThreadPoolExecutor() as pool:
        reached = pool.map(lambda zone: cluster.lab.connect(f"client-{zone}", INTERNET_MORE[0], 443, 0.7), zones)
        codes = {name: done.returncode for name, done in ask_all(cluster, "--brief").items()}
        dark = frozenset(zone for zone, well in zip(zones, reached, strict=True) if not well)
    return Sample(at, dark, codes)


def missed(samples: Sequence[Sample]) -> int:
    """The samples in which a zone was dark for a while, and no node returned 2."""
    since: dict[str, float] = {}
    found = 0
    for each in samples:
        since = {zone: since.get(zone, each.at) for zone in each.dark}
        late = any(each.at - at > NOTICED_S for at in since.values())
        found += late and CRITICAL not in each.codes.values()
    return found


def named(night: Night, node: str, cluster: Cluster, screens: Mapping[str, str]) -> list[str]:
    """The nodes whose screen names the cause."""
    table = cluster.lab.ids.zones[zone_of(node)].route_table
    fields = {"node": node, "peer": peer_of(node), "table": table}

    def match(pattern: str, asked: str, text: str) -> bool:
        # Of a fault between two nodes each names the other one.
        other = (
            {**fields, "node": peer_of(node), "peer": node}
            if "{peer}" in pattern and asked == peer_of(node)
            else fields
        )
        return bool(re.search(pattern.format(**other), text))

    return [name for name, text in screens.items() if all(match(each, name, text) for each in night.names)]


def lies(cluster: Cluster, name: str, node: str, died: float | None) -> list[str]:
    """The statements of a node's status that are not so."""
    done = ask(cluster, name, "--json")
    status = json.loads(done.stdout) if done else {}
    if "claims" not in status:  # its service does not run: it says so, and nothing else
        return []
    found = []
    for claim in status["claims"]:
        zone = next(z for z, ids in cluster.lab.ids.zones.items() if ids.route_table == claim["route_table"])
        if not claim["old"] and claim["owner"] != cluster.lab.owner(zone):
            found.append(f"{name}: owner of {claim['route_table']} is {claim['owner']}")
        well = cluster.lab.connect(f"client-{zone}", INTERNET_MORE[0], 443, 1.0)
        if not claim["old"] and claim["served"] is not None and claim["served"] != well:
            found.append(f"{name}: {claim['route_table']} served: {claim['served']}")
    for row in status["verdicts"]:
        silent = died is not None and row["peer"] == node
        if silent and row["verdict"] == "healthy":
            found.append(f"{name}: {node} is healthy")
        if silent and died is not None and row["heartbeat_ms_ago"] is not None:
            age = time.monotonic() - died
            if abs(row["heartbeat_ms_ago"] / 1000 - age) > AGE_S + 0.05 * age:
                found.append(f"{name}: {node} was heard {row['heartbeat_ms_ago']} ms ago")
    return found


def figures(rows: list[Row]) -> dict[str, float]:
    """Of each: how often it must not be."""
    return {
        "faults that status does not name": sum(not row["named_by"] for row in rows),
        "untrue statements": sum(len(row["untrue"]) for row in rows),
        "dark moments without exit code 2": sum(row["exit2_missed"] for row in rows),
    }


def facts(rows: list[Row]) -> dict[str, Any]:
    """The line of issue: how many faults, how many were named."""
    return {
        "faults": len(rows),
        "named_by_status": sum(bool(row["named_by"]) for row in rows),
        "untrue": sum(len(row["untrue"]) for row in rows),
        "exit2_missed": sum(row["exit2_missed"] for row in rows),
    }


def nights(rows: Sequence[Row]) -> str:
    """Each fault, and the screens that name its cause."""
    head = ["fault of a node", "named", "on the screen of", "untrue", "exit code 2 missed"]
    body: list[list[Any]] = []
    for name in dict.fromkeys(row["fault"] for row in rows):
        members = [row for row in rows if row["fault"] == name]
        where = {"itself" if each == row["node"] else "its peer" for row in members for each in row["named_by"]}
        body.append([name, *_counts(members, " and ".join(sorted(where)) or "none")])
    return table(head, [*body, ["all", *_counts(rows, "")]]) if body else "*Not recorded yet.*\n"


def _counts(rows: Sequence[Row], where: str) -> list[Any]:
    found = facts(list(rows))
    return [f"{found['named_by_status']} of {found['faults']}", where, found["untrue"], found["exit2_missed"]]


PART = Part("surface", ("fault", "run"), plan, measure, figures, facts=facts)
