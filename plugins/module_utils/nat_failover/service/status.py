# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a running service.

``report`` is for peers, ``summary`` for systemd, ``status`` for operators and modules. The
functions read the parts and change nothing.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, replace

from .. import __version__
from ..model.cluster import WITNESS
from ..model.evidence import HEALTHY, SUSPECTED, Report
from ..model.memory import PeerMemory
from ..model.plan import SetRoute
from ..model.problem import LEVELS, worst
from ..policy import fence_objections, fitness, services
from . import problems, rows
from .evidence import gather
from .parts import Parts

SCHEMA = 1  # of ``status``. Later versions add keys and keep these


def start_line(parts: Parts) -> str:
    """One line for the journal: the settings that the service starts with."""
    config = parts.config
    return (
        f"{config.self_name} of cluster {config.cluster}, mode {config.mode}, boot {parts.boot_id}, "
        f"{len(config.nodes)} nodes, {len(config.claims)} claims"
    )


def report(parts: Parts) -> Report:
    """The report that every heartbeat carries.

    ``forwarding`` is false without internet access, whatever this node's own facts are.
    """
    me = parts.collector.me
    fact = me.fact or ("" if me.internet else "the internet is not reachable")
    return Report(
        state=parts.drain.state,
        forwarding=not fact and parts.drain.state != WITNESS,
        fact=fact or parts.drain.interruption,
        views={name: _view(peer) for name, peer in parts.memory.peers.items()},
        signs=parts.liveness.last,
        seals=True,
        unwell=services.unwell(parts.config, parts.memory, parts.runtime.now()),
        flows={name: count for name, count in parts.collector.sync.flows.items() if name != parts.config.self_name},
        hindrance=problems.hindrance(parts.collector.reader),
    )


def _view(peer: PeerMemory) -> str:
    """This node's view of a peer.

    A late peer is not healthy: other nodes may be about to judge it.
    """
    return SUSPECTED if peer.suspected_at is not None and peer.verdict == HEALTHY else peer.verdict


def summary(parts: Parts) -> str:
    """One line: pause, state with its reason, forwarding, number of owned claims, verdicts."""
    me = report(parts)
    peers = ", ".join(f"{name} {peer.verdict}" for name, peer in parts.memory.peers.items())
    paused = "PAUSED, " if parts.paused else ""
    if parts.drain.state == WITNESS:
        health = f"witness, NOT well ({me.fact})" if me.fact else "witness"
        return f"{paused}{health}; {peers or 'no peers'}"
    state = f"{parts.drain.state} ({parts.drain.why})" if parts.drain.why else parts.drain.state
    forwarding = "forwarding" if me.forwarding else f"NOT forwarding ({me.fact})"
    owned = f"owns {len(parts.owned)} of {len(parts.collector.claims)} claims"
    return f"{paused}{state}, {forwarding}, {owned}; {peers or 'no peers'}"


def status(parts: Parts) -> dict[str, t.Any]:
    """The whole status, in types that JSON has. Its ages are those of this moment.

    Keys that end in ``_s`` or ``_s_ago`` are seconds, ``_ms_ago`` milliseconds. ``problems`` come
    worst first (``model/problem.py``), and ``level`` is the worst of them. ``events`` are the last
    ones, as ``EventLog`` records them.
    """
    now = parts.runtime.now()
    evidence, incidents = gather(parts, now), parts.events.incidents
    found = problems.find(parts, evidence)
    me, reader = parts.collector.me, parts.collector.reader
    incapable = problems.cannot_act(found)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "at": round(parts.runtime.wall_time(), 3),
        "level": LEVELS[worst(found)],
        "problems": [replace(each, since_s=incidents.since(each, now)).row() for each in found],
        "can_act": not incapable and not parts.config.me.witness,
        "cannot_act": incapable,
        "cluster": parts.config.cluster,
        "node": parts.config.self_name,
        "mode": parts.config.mode,
        "forbidden": parts.plan.forbidden,
        "unfit": fitness.unfit_reasons(parts.config, evidence),
        "paused": parts.paused,
        "state": parts.drain.state,
        "why": parts.drain.why,
        "tagged": bool(parts.drain.operator),
        "notices": [notice.text for notice in parts.collector.interruptions],
        "boot_id": parts.boot_id,
        "settings": asdict(parts.settings),
        "summary": summary(parts),
        "self": {
            **asdict(report(parts)),
            "unwell": sorted(report(parts).unwell),
            "internet": me.internet,
            "internet_s_ago": rows.ago(now, me.internet_at),
            "ec2": me.ec2,
            "ec2_s_ago": rows.ago(now, me.ec2_at),
            "canary": parts.collector.forwarding_check.canary.state,
            "defects": parts.collector.forwarding_check.defects,
            "facts": parts.collector.facts(),
            "warnings": parts.warnings,
        },
        "ec2": {
            "problem": reader.problem,
            "code": reader.problem_code if reader.problem else "",
            "since_s": rows.ago(now, reader.problem_since),
        },
        "imds": {"problem": parts.collector.interruption_watch.problem},
        "instances": rows.instances(parts, now),
        "claims": rows.claims(parts, evidence),
        "services": rows.services(parts, evidence),
        "identities": rows.identities(parts, evidence),
        "state_sync": rows.state_sync(parts),
        "verdicts": rows.verdicts(parts, evidence),
        "failures": rows.failures(parts, now),
        "fences": {"budget": parts.config.fence.max_per_hour, "spent": fence_objections.spent(parts.memory, now)},
        "proposed": [rows.place(action) for action in parts.plan.withheld if isinstance(action, SetRoute)],
        "drift": list(parts.events.drift.values()),
        "withheld": list(parts.events.withheld.values()),
        "witness": _witness(parts),
        "incident": _incident(parts, now),
        "last_incident": incidents.last,
        "lost_lines": parts.events.lost(),
        "counters": dict(parts.transport.counters),
        "event_counts": dict(parts.events.counts),
        "events": list(parts.events.events),
    }


def _incident(parts: Parts, now: float) -> dict[str, t.Any] | None:
    """The incident that goes on."""
    incidents = parts.events.incidents
    since = rows.ago(now, incidents.began)
    return {"id": incidents.id, "since_s": since, "text": incidents.text} if incidents.id else None


def _witness(parts: Parts) -> str:
    """The witness table in words. Empty: there is none."""
    witness_reader = parts.witness
    if witness_reader.table is None:
        return ""
    if witness_reader.problem:
        return f"{witness_reader.table.table} does not answer, so no fence is begun: {witness_reader.problem}"
    if witness_reader.view is None:
        return f"{witness_reader.table.table} not read yet"
    lock = witness_reader.view.lock
    held = f"; {lock.holder} holds the fence lock for {lock.peer}" if lock is not None else ""
    return f"{witness_reader.table.table} answers{held}"
