# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP proxy: how long clients go without answers, by the way in which they find a proxy, and what a proxy costs its node.

The ways: ``vip`` (the address that nat-failover moves), ``nlb`` (a load balancer with AWS's shortest checks), ``pair`` (both proxies in the
client's own code), ``single`` (one proxy, no second one). All are measured in the same labs, by the same client.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration.balanced import Balanced, until
from tests.integration.proxy import client
from tests.integration.proxy.conftest import planning
from tests.integration.proxy.moving import ADDRESS, Served, running_served
from tests.integration.proxy.seen import Request, ended

from .campaign import Key, Part, Row
from .summary import median
from .table import milliseconds, table

QUICK, FULL = 1, 8  # runs of each
ENGINES = ("squid", "tinyproxy")
NODES = ("nat-a", "nat-b")
WAYS = ("vip", "nlb", "pair", "single")
LATENCIES = (0, 300)  # milliseconds of each call to the API
INTERVAL_S = 0.1
LIMIT_S = 40.0  # of an outage
BEFORE_S, AFTER_S = 2.0, 3.0  # seconds of answers at each end
PORTS = {"nat-a": "10.0.0.10", "nat-b": "10.0.1.10"}
HEALTH = "proxy_health"
# Of the blueprint. The load balancer's checks are 5 s apart, two of them count, and each may take 2 s.
GOALS = {
    "vip, node killed, API 0 ms": 1000.0,
    "vip, node killed, API 300 ms": 1300.0,
    "nlb, node killed, API 0 ms": 13000.0,
}
# Times of the service are those of its defaults; only the way home is short, and no node is stopped meanwhile.
SETTINGS: dict[str, Any] = {
    "return": {"after_s": 5, "max_s": 20},
    "fence": {"after_s": 30, "stagger_s": 15},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 2, "poll_s": 5},
    "unseen_after_s": 10,
    "handover": {},
}


def _drain(served: Served) -> None:
    """As the playbook maintenance: the proxy first, then the node."""
    served.nodes.health("nat-a", "drain")
    done = served.run("nat-a", "drain", "--wait", "20")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


FAULTS: dict[str, Callable[[Served], object]] = {
    "node killed": lambda served: served.lab.fault("kill", "nat-a"),
    "proxy killed": lambda served: served.nodes.kill_engine("nat-a"),
    "drained": _drain,
}


def plan(quick: bool) -> Iterator[Key]:
    for run in range(QUICK if quick else FULL):
        for engine in ENGINES[1:] if quick else ENGINES:
            for way in WAYS:
                yield {"engine": engine, "way": way, "fault": "node killed", "api_ms": 0, "run": run}
            yield {"engine": engine, "way": "vip", "fault": "node killed", "api_ms": 300, "run": run}
            for fault in ("proxy killed", "drained"):
                yield {"engine": engine, "way": "vip", "fault": fault, "api_ms": 0, "run": run}


def measure(key: Key) -> Row:
    """One fault of nat-a, in a lab of its own, seen by a client of its zone."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, planning(Path(folder)) as planner:
        with running_served(planner, key["engine"], SETTINGS) as served:
            proxies = _proxies(served, key["way"])
            costs = _costs(served)
            if key["api_ms"]:
                served.lab.fault("api", delay_ms=key["api_ms"])
            process = served.requests("client-a", proxies, INTERVAL_S)
            time.sleep(BEFORE_S)
            at = time.monotonic()
            FAULTS[key["fault"]](served)
            _until_answers(served, key, at)
            time.sleep(AFTER_S)
            seen = ended(process)
            stopped = [action for action, _caller in served.writes() if action == "StopInstances"]
            default = served.lab.owner("a")
    if key["fault"] == "proxy killed" and (default != "nat-a" or stopped):
        raise RuntimeError(f"the default route is with {default}, stopped: {stopped}")
    return {**_outage(seen, at), **costs}


def _proxies(served: Served, way: str) -> str:
    """The name or the addresses that the client gets."""
    if way == "nlb":
        balanced = Balanced(
            served.lab,
            HealthCheckProtocol="HTTP",
            HealthCheckPort="3129",
            HealthCheckPath="/healthz",
            Matcher={"HttpCode": "200"},
        )
        balanced.cross_zone()
        balanced.set(end_unhealthy="false", drain_unhealthy="300")
        balanced.register()
        until(lambda: set(balanced.states().values()) == {"healthy"}, LIMIT_S)
        return balanced.dns_name
    return {"vip": ADDRESS, "pair": ",".join(PORTS.values()), "single": PORTS["nat-a"]}[way]


def _until_answers(served: Served, key: Key, at: float) -> None:
    """Look for as long as the outage may last: by the route where there is one, else for a fixed time."""
    if key["way"] == "vip":
        served.wait("the address moves", lambda: served.address_of("a") == "nat-b", LIMIT_S)
        time.sleep(2 * client.LIMIT_S)
    else:
        longest = {"nlb": 16.0, "pair": 5.0, "single": 16.0}[key["way"]]
        time.sleep(max(0.0, at + longest - time.monotonic()))


def _outage(seen: list[Request], at: float) -> Row:
    """Milliseconds from the fault to the first of the answers that no failure follows; the failures."""
    if not any(each.ok for each in seen if each.begun < at):
        raise RuntimeError(f"no answer before the fault: {[each.text for each in seen][:3]}")
    after = [each for each in seen if each.ended > at]
    failed = [each for each in after if not each.ok]
    last = max((each.begun for each in failed), default=at)
    back = [each.ended for each in after if each.ok and each.begun > last]
    return {
        "outage_ms": round((min(back) - at) * 1000, 1) if failed and back else 0.0 if back else None,
        "failed": len(failed),
        "requests": len(after),
    }


def _costs(served: Served) -> Row:
    """Megabytes (PSS) of one node's engine and of its health check."""
    return {
        "engine_mb": _megabytes(served, served.nodes.plan["engine"]),
        "health_mb": _megabytes(served, HEALTH),
    }


def _megabytes(served: Served, program: str) -> float:
    found = 0
    for pid in served.nodes.pids("nat-b", program):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(found / 1024, 1)


def _name(row: Row) -> str:
    return f"{row['way']}, {row['fault']}, API {row['api_ms']} ms"


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians: outages and failed requests by way and fault, memory by engine."""
    outages: dict[str, list[float]] = {}
    for row in rows:
        if row["outage_ms"] is not None:
            outages.setdefault(f"{_name(row)}: outage_ms", []).append(row["outage_ms"])
        if row["fault"] == "drained":
            outages.setdefault(f"{_name(row)}: failed", []).append(row["failed"])
        outages.setdefault(f"{row['engine']}_mb", []).append(row["engine_mb"])
        outages.setdefault("health_mb", []).append(row["health_mb"])
    return {name: median(found) for name, found in outages.items()}


def ways(rows: Sequence[Row]) -> str:
    """A table of the ways and faults, by engine."""
    body = []
    for engine in ENGINES:
        names = dict.fromkeys(_name(row) for row in rows if row["engine"] == engine)
        for name in names:
            members = [row for row in rows if (row["engine"], _name(row)) == (engine, name)]
            outages = [row["outage_ms"] for row in members if row["outage_ms"] is not None]
            goal = GOALS.get(name)
            shown = (
                [milliseconds(value) for value in (median(outages), max(outages))] if outages else ["no answer", "-"]
            )
            met = "-" if goal is None or not outages else "PASS" if median(outages) <= goal else "FAIL"
            failed = f"{sum(row['failed'] for row in members)} of {sum(row['requests'] for row in members)}"
            memory = [f"{median([row[key] for row in members]):.1f}" for key in ("engine_mb", "health_mb")]
            limit = "-" if goal is None else milliseconds(goal)
            body.append([engine, name, str(len(members)), *shown, limit, met, failed, *memory])
    head = ["engine", "way, fault", "runs", "median ms", "max ms", "goal ms", "median within it", "requests failed"]
    return table([*head, "engine MB", "health MB"], body) if body else "*Not recorded yet.*\n"


def facts(rows: list[Row]) -> dict[str, Any]:
    """The goals that are met, and the ways after which no answer came at all."""
    found = figures(rows)
    met = {name: found[f"{name}: outage_ms"] <= goal for name, goal in GOALS.items() if f"{name}: outage_ms" in found}
    never = sorted({_name(row) for row in rows if row["outage_ms"] is None})
    return {"runs": len(rows), "goals_met": met, "no_answer": never}


PART = Part("proxy", ("engine", "way", "fault", "api_ms", "run"), plan, measure, figures, facts=facts)
