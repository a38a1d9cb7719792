# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions and the figures of the playbook drill. Pure.

``problem`` tells whether it may begin, ``report`` what it has shown.
"""

from __future__ import annotations

import json
import typing as t

Row = t.Mapping[str, t.Any]
KILL = "kill"
HEALTHY, ACTIVE = "healthy", "active"
SCHEMA = 1
# Events so shortly before a step belong to it: the clocks of two hosts differ a little
SETTLE_S = 1.0
KEPT = ("at", "kind", "text", "peer", "route_table", "action", "ms", "silent_ms", "incident")  # of an event


def problem(
    entries: t.Sequence[Row], node: str, steps: t.Sequence[str] = (), kill: str = "", clients: t.Sequence[str] = ()
) -> str:
    """Why a drill on ``node`` must not begin, in one line; empty: it may.

    ``entries``: for each node the answer of ``nat_failover_info``, with the host as ``item``.
    ``kill``: the node that the operator has named for the step ``kill``.
    """
    names = [str(entry.get("item")) for entry in entries]
    if node not in names:
        return f"nat_drill_node (got {node!r}) is no node of this run; name one of: {', '.join(names) or 'none'}"
    if len(names) < 2:
        return f"{node} has no peer in this run: a drill needs a cluster that is redundant"
    if not clients:
        return "no client to measure from: put hosts of private subnets into the group nat_drill_clients"
    if not steps:
        return "nat_drill_steps is empty; name some of: drain, switchover, stop, kill"
    if KILL in steps and kill != node:
        return f"the step kill takes {node} off the network; if that is meant, name it again: -e nat_drill_kill={node}"
    return busy(entries)


def busy(entries: t.Sequence[Row]) -> str:
    """Why the cluster is not at rest, in one line; empty: each node is well and each claim at home."""
    # The cause before its effects: a node that is drained is why a route is away from home
    for check in (_silent, _own, _seen):
        for entry in entries:
            found = check(str(entry.get("item", "the node")), entry)
            if found:
                return found
    return ""


def _silent(name: str, info: Row) -> str:
    """Why a node tells nothing."""
    if info.get("unreachable") or info.get("failed") or "claims" not in info:
        told = " ".join(str(info.get("msg") or "no answer").split())
        return f"{name} does not answer: {told}"
    return ""


def _own(name: str, info: Row) -> str:
    """Why a node by itself is not at rest."""
    if info["paused"]:
        return f"{info['paused']}; end it first: `nat-failover unpause`"
    if info["state"] != ACTIVE:
        return f"{name} is {info['state']}; end that first: `nat-failover resume`"
    return "" if info["forwarding"] else f"{name} does not forward: {info['fact']}"


def _seen(name: str, info: Row) -> str:
    """Why the cluster is not at rest, as a node sees it."""
    unwell = [row for row in info["verdicts"] if row["verdict"] != HEALTHY]
    if unwell or not info["verdicts"]:
        told = ", ".join(f"{row['peer']} {row['verdict']}" for row in unwell) or "it has no peer"
        return f"the cluster is not redundant, as {name} sees it: {told}"
    away = [row for row in info["claims"] if row["owner"] != row["home"]]
    if away:
        where = away[0]["owner"] or away[0]["target"] or "nothing"
        return f"{away[0]['route_table']} {away[0]['destination']} is with {where}, and its home is {away[0]['home']}"
    standing = [*info["withheld"], *info["drift"]]
    return f"{name} is busy: {standing[0]}" if standing else ""


def report(
    cluster: str, node: str, steps: t.Sequence[Row], clients: t.Sequence[Row], events: t.Sequence[Row]
) -> dict[str, t.Any]:
    """The report of a drill, in types that JSON has. Times are seconds since 1970.

    ``steps``: name, begin, moment at which the step was done, end. ``clients`` and ``events`` are
    results of Ansible's command: those of ``drill_client.py report`` on each client, and of
    ``nat-failover history`` on each node. A host that has failed has no entry in the report.
    """
    measured = {str(row["item"]["item"]): found for row in clients for found in (_json(row),) if "targets" in found}
    told = {str(row["item"]): _events(found) for row in events for found in (_json(row),) if "incidents" in found}
    rows = []
    for step in steps:
        begin, end = float(step["began"]), float(step["ended"])
        figures = {
            client: [_figures(target, begin, end) for target in found["targets"]]
            for client, found in sorted(measured.items())
        }
        during = {
            name: [event for event in each if begin - SETTLE_S <= event["at"] <= end]
            for name, each in sorted(told.items())
        }
        rows.append({**step, "clients": figures, "events": during})
    silent = [str(row["item"]["item"]) for row in clients if str(row["item"]["item"]) not in measured]
    return {
        "schema": SCHEMA,
        "cluster": cluster,
        "node": node,
        "steps": rows,
        "summary": [*map(_summary, rows), *(f"{name}: no measurement" for name in silent)],
        "clients": dict(sorted(measured.items())),
    }


def _json(result: Row) -> dict[str, t.Any]:
    """The JSON object that a command printed; empty if it failed."""
    try:
        found = json.loads(result.get("stdout") or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and not result.get("rc") else {}


def _events(history: Row) -> list[dict[str, t.Any]]:
    """The events of a history, the oldest first, without what only programs need."""
    found = [event for incident in history["incidents"] for event in incident["events"]]
    rows = [{key: event[key] for key in KEPT if key in event} for event in found]
    return sorted(rows, key=lambda row: row["at"])


def _figures(target: Row, begin: float, end: float) -> dict[str, t.Any]:
    """The longest time without an answer and the lost requests of one target in one step.

    An outage of None: nothing was measured in the step.
    """
    lengths = [length for at, length in target["gaps"] if at + length > begin and at < end]
    measured = target["began"] < end and target["ended"] > begin
    # Without a gap the answers were at most three intervals apart (drill_client.py)
    shortest = target["interval_s"]
    sent = sum(row[1] for row in target["seconds"] if begin - 1 < target["began"] + row[0] < end)
    addresses = [address for at, address in target["addresses"] if at < end]
    return {
        "target": target["target"],
        "kind": target["kind"],
        "outage_ms": round(max(lengths, default=shortest) * 1000) if measured else None,
        "lost": sum(1 for at in target["lost"] if begin <= at < end),
        "sent": sent,
        "address": addresses[-1] if addresses else "",
    }


def _summary(step: Row) -> str:
    """One line: the longest outage by kind, over all clients, and the requests that were lost."""
    kinds: dict[str, list[Row]] = {}
    for rows in step["clients"].values():
        for row in rows:
            kinds.setdefault(row["kind"], []).append(row)
    parts = []
    for kind, rows in kinds.items():
        known = [row["outage_ms"] for row in rows if row["outage_ms"] is not None]
        longest = f"{max(known)} ms" if known else "not measured"
        parts.append(f"{kind} {longest}, lost {sum(row['lost'] for row in rows)}")
    return f"{step['step']}: " + ("; ".join(parts) or "no client has reported")
