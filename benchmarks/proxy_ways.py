# SPDX-License-Identifier: GPL-3.0-or-later
"""One fault of nat-a, in a lab of its own, seen by a client of its zone that finds the proxy by one of the ways."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.downloads import LIMIT_S, Download, outage_ms
from tests.integration.balanced import Balanced, until
from tests.integration.proxy.conftest import planning
from tests.integration.proxy.moving import ADDRESS, Served, running_served
from tests.integration.proxy.seen import ended

from .campaign import Key, Row

WAYS = ("vip", "nlb", "pair", "single")
PLACES = {"nat-a": "10.0.0.10", "nat-b": "10.0.1.10"}
HEALTH = "proxy_health"
WITHIN_S = 40.0
BEFORE_S, AFTER_S = 2.0, 2.0 * LIMIT_S
DARK_S = 20.0  # of an uplink
# Without a sign of the end, clients are watched for so long.
WATCHED_S = {"pair": 3.0, "single": 5.0}
# Times of the service are those of its defaults; only the way home is short, and no node is stopped meanwhile.
SETTINGS: dict[str, Any] = {
    "return": {"after_s": 5, "max_s": 20},
    "fence": {"after_s": 30, "stagger_s": 15},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 2, "poll_s": 5},
    "unseen_after_s": 10,
    "handover": {},
}


@dataclass(frozen=True)
class Way:
    """The proxies as the client is told them, and the balancer where there is one."""

    proxies: str
    balanced: Balanced | None = None


def _drain(served: Served) -> None:
    """As the playbook maintenance: the proxy first, then the node."""
    served.nodes.health("nat-a", "drain")
    done = served.run("nat-a", "drain", "--wait", "20")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def _uplink(served: Served) -> None:
    """Gone for a while; the fault that is measured from is its end."""
    served.lab.fault("uplink", "nat-a")
    time.sleep(DARK_S)
    served.lab.heal()


FAULTS: dict[str, Callable[[Served], object]] = {
    "node killed": lambda served: served.lab.fault("kill", "nat-a"),
    "proxy killed": lambda served: served.nodes.kill_engine("nat-a"),
    "drained": _drain,
    "uplink back": _uplink,
}


def measure(key: Key) -> Row:
    """The outage from the fault on, and what the proxy costs its node."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, planning(Path(folder)) as planner:
        with running_served(planner, key["engine"], SETTINGS) as served:
            way, spent = _way(served, key["way"]), _spent(served)
            if key["api_ms"]:
                served.lab.fault("api", delay_ms=key["api_ms"])
            process = served.requests("client-a", way.proxies)
            time.sleep(BEFORE_S)
            at = time.monotonic()
            FAULTS[key["fault"]](served)
            if key["fault"] == "uplink back":
                at = time.monotonic()
            verdict = _wait(served, key, way, at)
            time.sleep(AFTER_S)
            costs = {"engine_mb": _megabytes(served, key["engine"]), "health_mb": _megabytes(served, HEALTH)}
            costs["health_cpu_percent"] = _percent(spent, _spent(served))
            seen = ended(process)
            stopped = [action for action, _caller in served.writes() if action == "StopInstances"]
            default = served.lab.owner("a")
    if key["fault"] == "proxy killed" and (default != "nat-a" or stopped):
        raise RuntimeError(f"the default route is with {default}, stopped: {stopped}")
    return {**_outage(seen, at), **verdict, **costs}


def _way(served: Served, name: str) -> Way:
    if name != "nlb":
        return Way({"vip": ADDRESS, "pair": ",".join(PLACES.values()), "single": PLACES["nat-a"]}[name])
    balanced = Balanced.of_proxies(served.lab)
    balanced.register()
    until(lambda: set(balanced.states().values()) == {"healthy"}, WITHIN_S)
    return Way(balanced.dns_name, balanced)


def _wait(served: Served, key: Key, way: Way, at: float) -> Row:
    """Until clients should have a proxy again. With a balancer: milliseconds until DescribeTargetHealth says so."""
    if way.balanced is not None:
        states = way.balanced.states
        until(lambda: states()["nat-a"] == "unhealthy.draining", WITHIN_S)
        return {"verdict_ms": round((time.monotonic() - at) * 1000, 1)}
    if key["way"] == "vip":
        served.wait("the address moves", lambda: served.address_of("a") == "nat-b", WITHIN_S)
    else:
        time.sleep(max(0.0, at + WATCHED_S[key["way"]] - time.monotonic()))
    return {}


def _outage(seen: list[Any], at: float) -> Row:
    """Milliseconds from the fault to the first of the answers that no failure follows; the failures."""
    if not any(each.ok for each in seen if each.begun < at):
        raise RuntimeError(f"no answer before the fault: {[each.text for each in seen][:3]}")
    after: list[Download] = [each for each in seen if each.ended > at]
    found = outage_ms(after, at)
    return {
        "outage_ms": None if found is None else round(found, 1),
        "failed": sum(not each.ok for each in after),
        "longest_ms": round(max((each.ended - each.begun for each in after if each.ok), default=0.0) * 1000, 1),
        "requests": len(after),
    }


def _megabytes(served: Served, program: str) -> float:
    """Of one node (PSS)."""
    found = 0
    for pid in served.nodes.pids("nat-b", program):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(found / 1024, 1)


def _spent(served: Served) -> tuple[float, float]:
    """This moment, and the seconds of CPU that the health check of a node has taken so far (proc(5), schedstat: nanoseconds)."""
    files = [
        file for pid in served.nodes.pids("nat-b", HEALTH) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")
    ]
    return time.monotonic(), sum(int(file.read_text(encoding="ascii").split()[0]) for file in files) / 1e9


def _percent(one: tuple[float, float], two: tuple[float, float]) -> float:
    return round(100 * (two[1] - one[1]) / (two[0] - one[0]), 2)
