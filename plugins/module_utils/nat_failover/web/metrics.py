# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a node: a status as families of samples.

A value that is unknown has no sample. Shape of a status: ``service/status.py``.
"""

from __future__ import annotations

import platform
import re
from collections import Counter

from .. import __version__
from ..model import nat
from ..model.cluster import ACTIVE, DRAINED, DRAINING, STOPPING, WITNESS
from ..model.evidence import FAILED, HEALTHY, PARTITIONED, SICK, SILENT, SUSPECTED, UNKNOWN, UNMANAGED
from ..model.settings import MODES
from . import judgement
from .exposition import COUNTER, GAUGE, Family
from .judgement import Status
from .snapshot import Snapshot

STATES = (ACTIVE, DRAINING, DRAINED, STOPPING, WITNESS)
VERDICTS = (UNKNOWN, HEALTHY, SUSPECTED, SICK, UNMANAGED, SILENT, FAILED, PARTITIONED)
# Counters of the heartbeats' transport that are refusals of a packet (wire/codec.py).
REFUSALS = (
    *("bad_mac", "malformed", "wrong_cluster", "not_for_me", "unknown_sender", "replayed", "unbound", "late", "leapt"),
    *("icmp_malformed", "icmp_not_mine", "icmp_late"),  # answers to pings (wire/icmp.py)
)
_SOCKET_ERROR = re.compile(r"(send|receive)_error_(\d+)")
_CONNTRACK = re.compile(r"(\d+(?:\.\d+)?) % full")


def families(snapshot: Snapshot) -> list[Family]:
    """The metrics of one reading. Without a status: that the service does not answer."""
    up = Family("nat_failover_up", GAUGE, "Whether the service answers.")
    up.add(snapshot.status is not None)
    build = Family("nat_failover_build_info", GAUGE, "Versions of this exporter and of its Python.")
    build.add(1, version=__version__, python=platform.python_version())
    made = [up, build]
    if snapshot.status is not None:
        for part in (_node, _problems, _peers, _packets, _routes, _identities, _services, _events, _limits):
            made += part(snapshot.status, snapshot.at)
    return made


def _node(status: Status, at: float) -> list[Family]:
    me = status.get("self", {})
    mode = Family("nat_failover_mode", GAUGE, "The mode of the service: 1 for the one that holds.")
    state = Family("nat_failover_state", GAUGE, "The state that this node announces: 1 for the one that holds.")
    for family, label, all_of_them in ((mode, "mode", MODES), (state, "state", STATES)):
        for each in all_of_them:
            family.add(status.get(label) == each, **{label: each})
    return [
        mode,
        state,
        _one("forwarding", "Whether this node's forwarding is proven now.", me.get("forwarding")),
        _one("internet_up", "Whether the internet answers this node.", me.get("internet")),
        _one("ec2_up", "Whether the EC2 API answers this node.", me.get("ec2")),
        _one("paused", "Whether the cluster is paused.", _set(status, "paused")),
        _one(
            "can_act",
            "Whether this node could take over now, apart from a pause. Absent in mode observe and on a witness.",
            judgement.can_act(status),
        ),
        _one("warnings", "Warnings that status shows.", _length(me, "warnings")),
        _one("notices", "Announcements of EC2 for this instance that stand.", _length(status, "notices")),
        _one("withheld", "Actions that are held back now.", _length(status, "withheld")),
        _one(
            "drift",
            "Routes and tags that are not as the cluster wants them, and are left alone.",
            _length(status, "drift"),
        ),
        _one(
            "reload_refused",
            "Whether the last reload was refused, so that the service works by an older configuration.",
            _set(status.get("settings", {}), "refused"),
        ),
    ]


def _problems(status: Status, at: float) -> list[Family]:
    rows = status.get("problems")
    if rows is None:
        return []
    problem = Family("nat_failover_problem", GAUGE, "Problems that status names, by their code (docs/problems.md).")
    found = Counter((str(row.get("code")), str(row.get("level"))) for row in rows)
    for (code, level), count in sorted(found.items()):
        problem.add(count, code=code, level=level)
    fences = status.get("fences", {})
    return [
        problem,
        _one("refused_actions", "Actions that are wanted and fail.", _length(status, "failures")),
        _one("fence_budget", "Fences that this node may begin within an hour.", fences.get("budget")),
        _one("fences_spent", "Fences that this node has begun within the last hour.", fences.get("spent")),
        _one("lost_lines", "Lines of the journal and the history that were lost.", status.get("lost_lines")),
    ]


def _peers(status: Status, at: float) -> list[Family]:
    verdict = Family("nat_failover_peer_verdict", GAUGE, "The verdict on a peer: 1 for the one that holds.")
    heard = Family(
        "nat_failover_peer_last_heartbeat_timestamp_seconds", GAUGE, "When the last heartbeat of a peer came."
    )
    hears = Family(
        "nat_failover_peer_hears_me", GAUGE, "Whether a peer receives this node's heartbeats. Absent if not known."
    )
    fencing = Family("nat_failover_peer_fencing", GAUGE, "Whether this node is in the middle of a fence of a peer.")
    for row in status.get("verdicts", ()):
        peer = str(row.get("peer"))
        for each in VERDICTS:
            verdict.add(row.get("verdict") == each, peer=peer, verdict=each)
        ago = row.get("heartbeat_ms_ago")
        heard.add(None if ago is None else round(at - ago / 1000, 3), peer=peer)
        hears.add(row.get("hears_me"), peer=peer)
        fencing.add(_set(row, "fence"), peer=peer)
    return [verdict, heard, hears, fencing]


def _packets(status: Status, at: float) -> list[Family]:
    counters = status.get("counters")
    if counters is None:
        return []
    sent = Family("nat_failover_heartbeats_sent_total", COUNTER, "Heartbeats, probes and answers that were sent.")
    sent.add(counters.get("sent", 0))
    received = Family("nat_failover_heartbeats_received_total", COUNTER, "Authentic and fresh packets of peers.")
    received.add(counters.get("received", 0))
    refused = Family(
        "nat_failover_heartbeats_refused_total",
        COUNTER,
        "Heartbeats and answers to pings (icmp_...) that were refused, by the reason.",
    )
    for reason in REFUSALS:
        refused.add(counters.get(reason, 0), reason=reason)
    failed = Family("nat_failover_socket_errors_total", COUNTER, "Packets that the kernel refused, by its errno(3).")
    for name, value in sorted(counters.items()):
        found = _SOCKET_ERROR.fullmatch(name)
        if found:
            failed.add(value, operation=found.group(1), errno=found.group(2))
    return [sent, received, refused, failed]


def _routes(status: Status, at: float) -> list[Family]:
    owner = Family("nat_failover_route_owner", GAUGE, "The node that a route leads to. Absent if it leads to none.")
    home = Family("nat_failover_route_at_home", GAUGE, "Whether a route leads to its home.")
    served = Family(
        "nat_failover_route_served",
        GAUGE,
        "Whether the node that a route leads to forwards, as this node sees it. Absent without a proof of either.",
    )
    drift = Family("nat_failover_route_drift", GAUGE, "Whether a route or its table is not as the cluster wants it.")
    read = Family("nat_failover_route_read_timestamp_seconds", GAUGE, "When the route was last read from EC2.")
    for claim in status.get("claims", ()):
        labels = {
            "route_table": str(claim.get("route_table")),
            "destination": str(claim.get("destination")),
            "home": str(claim.get("home")),
        }
        if claim.get("owner"):
            owner.add(1, owner=str(claim["owner"]), **labels)
        home.add(claim.get("at_home"), **labels)
        served.add(claim.get("served"), **labels)
        drift.add(claim.get("drift"), **labels)
        ago = claim.get("read_s_ago")
        read.add(None if ago is None else round(at - ago, 3), **labels)
    return [owner, home, served, drift, read]


def _identities(status: Status, at: float) -> list[Family]:
    rows = status.get("identities")
    if not rows:
        return []
    state = Family(
        "nat_failover_identity_rules", GAUGE, "The state of this node's rules for an identity: 1 for the one."
    )
    holder = Family(
        "nat_failover_identity_holder", GAUGE, "The node, or the interface of others, that an Elastic IP is with."
    )
    follows = Family(
        "nat_failover_identity_follows",
        GAUGE,
        "Whether the Elastic IP is with the node that owns all routes of the identity. Absent if not known.",
    )
    read = Family("nat_failover_identity_read_timestamp_seconds", GAUGE, "When the Elastic IP was last read from EC2.")
    for row in rows:
        labels = {"identity": str(row.get("identity"))}
        for each in nat.STATES:
            state.add(row.get("state") == each if row.get("state") else None, state=each, **labels)
        if row.get("holder"):
            holder.add(1, holder=str(row["holder"]), public=str(row.get("public")), **labels)
        follows.add(row.get("follows"), **labels)
        ago = row.get("read_s_ago")
        read.add(None if ago is None else round(at - ago, 3), **labels)
    return [state, holder, follows, read]


def _services(status: Status, at: float) -> list[Family]:
    well = Family(
        "nat_failover_service_well",
        GAUGE,
        "Whether a service on this node works that routes depend on, such as a proxy.",
    )
    for row in status.get("services", ()):
        well.add(row.get("well"), service=str(row.get("service")))
    return [well]


def _events(status: Status, at: float) -> list[Family]:
    total = Family("nat_failover_events_total", COUNTER, "Events since the start of the service, by kind.")
    # Those that alerts count are there from the start, so that the first one is an increase.
    for kind, count in sorted({**dict.fromkeys(COUNTED, 0), **status.get("event_counts", {})}.items()):
        total.add(count, kind=kind)
    took = Family(
        "nat_failover_route_change_last_duration_seconds",
        GAUGE,
        "How long the last change of a route took, from the decision to the route that EC2 showed.",
    )
    last = {event["kind"]: event["ms"] / 1000 for event in status.get("events", ()) if "ms" in event}
    for kind in CHANGES:
        took.add(last.get(kind), kind=kind)
    return [total, took]


CHANGES = ("adopt", "return", "mend")
COUNTED = (*CHANGES, "failed", "fence", "mended", "verdict", "late")


def _limits(status: Status, at: float) -> list[Family]:
    facts = status.get("self", {}).get("facts", {})
    fill = Family("nat_failover_conntrack_fill_ratio", GAUGE, "Fill of the connection tracking table, 0 to 1.")
    found = _CONNTRACK.match(str(facts.get("conntrack", "")))
    fill.add(round(float(found.group(1)) / 100, 4) if found else None)
    exceeded = Family(
        "nat_failover_limit_exceeded_total", COUNTER, "Packets for which the CPU or the instance type had no room."
    )
    for name, value in sorted(facts.items()):
        if isinstance(value, int) and not isinstance(value, bool):
            exceeded.add(value, limit=name.replace("_allowance_exceeded", ""))
    return [fill, exceeded]


def _one(name: str, text: str, value: float | bool | None) -> Family:
    family = Family(f"nat_failover_{name}", GAUGE, text)
    family.add(value)
    return family


def _set(row: Status, key: str) -> bool | None:
    """Whether a text is there. None: the service has no such key."""
    return bool(row[key]) if key in row else None


def _length(row: Status, key: str) -> int | None:
    return len(row[key]) if key in row else None
