# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running service says of itself: to its peers (report), to systemd (summary), to operators and modules (status). Reads only."""

from __future__ import annotations

import time
import typing as t
from dataclasses import asdict

from ..model.cluster import HEALTHY, SUSPECTED, WITNESS, Claim, PeerMemory, Report, SetRoute, owners_of
from ..observe.forwarding_facts import Ipv6Facts
from ..policy import pause

if t.TYPE_CHECKING:
    from .service import Service


def facts(service: "Service") -> t.Dict[str, t.Any]:
    """What this node's forwarding rests on, as last seen; empty before the first look."""
    proof = service.gatherer.proof
    seen = proof.facts
    if seen is None:
        return {}
    checked = {None: "unknown", True: "on", False: "off"}[seen.source_dest_check]
    return {
        "ip_forward": seen.ip_forward,
        "interface": "%s %s" % (seen.interface, seen.interface_problem or "up"),
        "default_routes": ", ".join(seen.default_routes) or "none",
        "rules": seen.rules_problem or "all there",
        "source_dest_check": checked,
        "conntrack": "%.1f %% full" % (seen.conntrack_fill * 100),
        **(_ipv6_facts(seen.ipv6) if seen.ipv6 is not None else {}),
        "canary": proof.canary + (" (by its own interface: %s)" % proof.canary_aside if proof.canary_aside else ""),
        "internet": "reachable" if service.gatherer.me.internet else "not reachable",
        **proof.limits.counters,
    }


def _ipv6_facts(seen: Ipv6Facts) -> t.Dict[str, t.Any]:
    return {
        "ipv6_forwarding": seen.forwarding,
        "ipv6_accept_ra": seen.accept_ra,
        "ipv6_default_routes": ", ".join(seen.default_routes) or "none",
    }


def report(service: "Service") -> Report:
    """What goes into every heartbeat."""
    me = service.gatherer.me
    fact = me.fact or ("" if me.internet else "the internet is not reachable")
    return Report(
        state=service.state,
        forwarding=not fact and service.state != WITNESS,
        fact=fact or service.draining.notice,
        views={name: _view(peer) for name, peer in service.memory.peers.items()},
        signs=service.signs.last,
    )


def _view(peer: PeerMemory) -> str:
    """A late peer is not vouched for: others may be about to judge it."""
    return SUSPECTED if peer.suspected_at is not None and peer.verdict == HEALTHY else peer.verdict


def owned(service: "Service") -> t.List[Claim]:
    """The claims whose routes point to this node."""
    mine = service.gatherer.instances.get(service.config.self_name)
    views = service.gatherer.routes.items()
    return [claim for claim, view in views if mine is not None and view.target == mine.interface_id]


def summary(service: "Service") -> str:
    """One line that a human reads at 3 am."""
    me = report(service)
    peers = ", ".join("%s %s" % (name, peer.verdict) for name, peer in service.memory.peers.items())
    paused = "PAUSED, " if pause.paused(service.gatherer.instances, time.time()) else ""
    if service.state == WITNESS:
        return "%s%s; %s" % (paused, "witness, NOT well (%s)" % me.fact if me.fact else "witness", peers or "no peers")
    return "%s%s%s, %s, owns %d of %d claims; %s" % (
        paused,
        service.state,
        " (%s)" % service.draining.why if service.draining.why else "",
        "forwarding" if me.forwarding else "NOT forwarding (%s)" % me.fact,
        len(owned(service)),
        len(service.gatherer.claims),
        peers or "no peers",
    )


def status(service: "Service") -> t.Dict[str, t.Any]:
    """Everything, as JSON can hold it."""
    me = service.gatherer.me
    return {
        "cluster": service.config.cluster,
        "node": service.config.self_name,
        "mode": service.config.mode,
        "forbidden": service.plan.forbidden,
        "paused": pause.paused(service.gatherer.instances, time.time()),
        "state": service.state,
        "why": service.draining.why,
        "tagged": bool(service.draining.operator),
        "notices": [notice.text for notice in service.gatherer.notices],
        "boot_id": service.boot_id,
        "summary": summary(service),
        "self": {
            **asdict(report(service)),
            "internet": me.internet,
            "ec2": me.ec2,
            "canary": service.gatherer.proof.canary,
            "facts": facts(service),
            "warnings": list(service.gatherer.proof.warnings),
        },
        "instances": _instances(service),
        "claims": _claims(service),
        "verdicts": _verdicts(service),
        "proposed": [_place(action) for action in service.plan.withheld if isinstance(action, SetRoute)],
        "drift": list(service.chronicle.drift.values()),
        "withheld": list(service.chronicle.withheld.values()),
        "witness": _witness(service),
        "counters": dict(service.radio.counters),
        "events": list(service.chronicle.events),
    }


def _instances(service: "Service") -> t.List[t.Dict[str, t.Any]]:
    """Which instance is which node, as EC2 showed it last."""
    views = service.gatherer.instances.items()
    return [
        {"node": name, "instance_id": view.instance_id, "state": view.state, "address": view.address}
        for name, view in views
    ]


def _witness(service: "Service") -> str:
    """The witness table in words; empty: there is none."""
    testimony = service.testimony
    if testimony.table is None:
        return ""
    if testimony.problem:
        return "%s does not answer, so no fence is begun: %s" % (testimony.table.table, testimony.problem)
    if testimony.view is None:
        return "%s not read yet" % testimony.table.table
    lock = testimony.view.lock
    held = "; %s holds the fence lock for %s" % (lock.holder, lock.peer) if lock is not None else ""
    return "%s answers%s" % (testimony.table.table, held)


def _claims(service: "Service") -> t.List[t.Dict[str, t.Any]]:
    now = service.clock()
    owners = owners_of(service.gatherer.instances)
    return [
        {
            "route_table": claim.route_table,
            "destination": claim.destination,
            "home": claim.home,
            "owner": owners.get(view.target or ""),
            "target": view.target,
            "state": view.state,
            "read_s_ago": round(now - view.read_at, 3),
        }
        for claim, view in service.gatherer.routes.items()
    ]


def _verdicts(service: "Service") -> t.List[t.Dict[str, t.Any]]:
    now, heard = service.clock(), service.radio.heard()
    rows = []
    for name, peer in service.memory.peers.items():
        at, said = (heard[name].heartbeat_at, heard[name].report) if name in heard else (None, None)
        rows.append(
            {
                "peer": name,
                "verdict": peer.verdict,
                "state": said.state if said is not None else None,
                "evidence": peer.evidence,
                "since_s": round(now - peer.since, 1),
                "heartbeat_ms_ago": None if at is None else round((now - at) * 1000),
                "fence": peer.fence_stage,
            }
        )
    return rows


def _place(action: SetRoute) -> t.Dict[str, str]:
    """Where a withheld write would have put a claim."""
    claim = action.claim
    return {
        "route_table": claim.route_table,
        "destination": claim.destination,
        "owner": action.owner,
        "target": action.interface_id,
    }
