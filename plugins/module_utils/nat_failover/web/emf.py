# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status as one line in CloudWatch's embedded metric format. Pure.

An agent carries the line to CloudWatch Logs, which makes metrics of it. Source: the specification
of the embedded metric format in the user guide of CloudWatch.
"""

from __future__ import annotations

import json
import typing as t

from ..errors import ConfigError
from . import judgement
from .snapshot import Snapshot

NAMESPACE = "NatFailover"
DIMENSIONS = (("Cluster",), ("Cluster", "Node"))
# Names of NAT Gateway's metrics stand for what they mean there.
UNITS: t.Mapping[str, str] = {
    "ServiceUp": "None",
    "Forwarding": "None",
    "CanAct": "None",
    "RoutesDark": "Count",
    "RoutesAwayFromHome": "Count",
    "ActiveConnectionCount": "Count",
    "PacketsDropCount": "Count",
    "TakeoverMilliseconds": "Milliseconds",
    "Fences": "Count",
}
MOST_VALUES = 100  # of one metric in a line
FENCES = ("stop", "force_stop", "reboot")  # the steps of a fence that end a peer
JOURNAL, FILE = WAYS = ("journal", "file")
INTERVAL, SHORTEST, LONGEST = 60, 10, 3600  # seconds

Metrics = dict[str, t.Union[float, list[float]]]
Status = t.Mapping[str, t.Any]


class Since:
    """Finds what is new in each status, in comparison with the one before it."""

    def __init__(self) -> None:
        self._before: Status | None = None

    def metrics(self, snapshot: Snapshot, connections: int | None) -> Metrics:
        """The metrics of a reading. A value that is not known is absent.

        ``connections``: entries of the connection tracking table.
        """
        status = snapshot.status
        if status is None:
            return {"ServiceUp": 0}
        found: Metrics = {"ServiceUp": 1}
        claims = status.get("claims", ())
        for name, value in (
            ("Forwarding", status.get("self", {}).get("forwarding")),
            ("CanAct", judgement.can_act(status)),
            ("RoutesDark", len(judgement.dark(status))),
            ("RoutesAwayFromHome", sum(claim.get("at_home") is False for claim in claims)),
            ("ActiveConnectionCount", connections),
        ):
            if value is not None:
                found[name] = int(value)
        if self._before is not None:
            found.update(_news(self._before, status))
        self._before = status
        return found


def _news(before: Status, status: Status) -> Metrics:
    """The metrics of the time between two readings."""
    again = before.get("boot_id") == status.get("boot_id")
    last = _last(before) if again else 0
    events = [event for event in status.get("events", ()) if event.get("seq", 0) > last]
    found: Metrics = {
        "PacketsDropCount": sum(_moved(before, status, again)),
        "Fences": len(_fences(events)),
    }
    took = [float(event["ms"]) for event in events if event["kind"] == "adopt" and "ms" in event]
    if took:
        found["TakeoverMilliseconds"] = took[-MOST_VALUES:]
    return found


def _fences(events: t.Iterable[t.Mapping[str, t.Any]]) -> set[tuple[str, str]]:
    """Peer and step of each fence. A step that EC2 refuses is reported twice."""
    steps = (event for event in events if event["kind"] == "fence" and event.get("step") in FENCES)
    return {(str(event.get("peer")), event["step"]) for event in steps}


def _last(status: Status) -> int:
    return max((int(event.get("seq", 0)) for event in status.get("events", ())), default=0)


def _moved(before: Status, status: Status, again: bool) -> t.Iterator[int]:
    """How far each counter of lost packets went. A counter that went back began anew."""
    old, new = (_counters(each) for each in (before, status))
    for name, value in new.items():
        then = old.get(name, value if again else 0)
        yield value - then if value >= then else value


def _counters(status: Status) -> dict[str, int]:
    """Packets for which the CPU or the instance type had no room, by counter.

    Not the pauses of the kernel (``softnet_squeezed``), in which nothing is lost.
    """
    facts = status.get("self", {}).get("facts", {})
    return {
        name: value
        for name, value in facts.items()
        if isinstance(value, int) and not isinstance(value, bool) and not name.endswith("squeezed")
    }


def line(metrics: Metrics, cluster: str, node: str, at: float) -> str:
    """One JSON object without a line break. ``at``: seconds since 1970."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(each) for each in DIMENSIONS],
        "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in metrics],
    }
    about = {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": about, "Cluster": cluster, "Node": node, **metrics}, allow_nan=False)


def parse(emf: t.Any = JOURNAL, interval_s: t.Any = INTERVAL, prefix: str = "") -> tuple[str, int]:
    """The way of the lines and the seconds between them.

    Raises ``ConfigError``, whose key begins with ``prefix``.
    """
    if emf not in WAYS:
        raise ConfigError(f"{prefix}emf", emf, "is no way to the agent", f"write one of: {', '.join(WAYS)}")
    whole = isinstance(interval_s, int) and not isinstance(interval_s, bool)
    if not whole or not SHORTEST <= interval_s <= LONGEST:
        raise ConfigError(
            f"{prefix}interval_s",
            interval_s,
            "is no interval of metrics",
            f"write whole seconds, {SHORTEST} to {LONGEST}, e.g. {INTERVAL}",
        )
    return str(emf), interval_s
