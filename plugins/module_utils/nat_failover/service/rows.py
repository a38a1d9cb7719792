# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of ``status``: routes, peers, instances, failed actions, with the ages of this moment."""

from __future__ import annotations

import typing as t

from ..model.cluster import GONE, ROUTE_ACTIVE, ROUTE_MISSING, Claim, RouteView, owners_of
from ..model.evidence import (
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    SUSPECTED,
    UNMANAGED,
    Evidence,
)
from ..model.plan import SetRoute
from ..policy import fitness, verdict
from ..policy import identities as identities_policy
from ..policy import services as policy
from ..policy.case import Case
from .parts import Parts

# By verdict: whether the routes of such a peer lead somewhere. None: not known.
SERVES: t.Mapping[str, bool | None] = {HEALTHY: True, UNMANAGED: True, SICK: False, FAILED: False}
HEARD = (HEALTHY, SICK, SUSPECTED)  # views of a peer that receives this node's heartbeats
MISSED = (FAILED, SILENT, PARTITIONED, UNMANAGED)  # and of one that does not
Row = dict[str, t.Any]


def ago(now: float, at: float | None) -> float | None:
    """Seconds since a moment. None: never."""
    return None if at is None else round(now - at, 3)


def is_old(parts: Parts, read_at: float, now: float) -> bool:
    """Whether a reading of EC2 must not be taken for the present."""
    return fitness.is_old(parts.config, read_at, now)


def leads_past_nat(claim: Claim, view: RouteView) -> bool:
    """Whether a route leads to an internet gateway, which drops what has no public IPv4 address.

    AWS: VPC User Guide, "Enable internet access for a VPC using an internet gateway".
    """
    return (view.target or "").startswith("igw-") and ":" not in claim.destination


def served(parts: Parts, evidence: Evidence, claim: Claim, view: RouteView) -> bool | None:
    """Whether a route leads to a node that forwards, as far as this node knows.

    None: not known, since the reading is old, or the target is no node of the cluster, or this node
    owns it, does not forward, and EC2 does not answer, or a policy rule drops packets of clients
    here.
    """
    owner = owners_of(evidence.instances, parts.config.witnesses).get(view.target or "")
    if owner is None and (view.state != ROUTE_ACTIVE or leads_past_nat(claim, view)):
        return False
    if owner is None or is_old(parts, view.read_at, evidence.now):
        return None
    if owner == parts.config.self_name:
        fit = evidence.me.forwarding and evidence.me.internet
        some = parts.collector.forwarding_check.findings.get("policy_rules")
        if fit and some is not None and some.defect:
            return None
        # A node that is cut off does not see its routes move away.
        return True if fit else False if evidence.me.ec2 else None
    instance = evidence.instances[owner]
    peer = parts.memory.peers.get(owner)
    if instance.state in GONE:
        return False
    return None if peer is None else SERVES.get(peer.verdict)


def claims(parts: Parts, evidence: Evidence) -> list[Row]:
    """Each claim with its target and its owner.

    The owner is None if no node has the target's interface. ``served``: see there. ``old``: the
    reading is not of the present, or EC2 does not answer this node, which may miss a takeover.
    """
    owners, refused = owners_of(evidence.instances), {each.key for each, _at in parts.executor.refused()}
    rows = []
    for claim, view in evidence.routes.items():
        owner = owners.get(view.target or "")
        rows.append(
            {
                "route_table": claim.route_table,
                "destination": claim.destination,
                "home": claim.home,
                "owner": owner,
                "target": view.target,
                "state": view.state,
                "read_s_ago": ago(evidence.now, view.read_at),
                "old": not evidence.me.ec2 or is_old(parts, view.read_at, evidence.now),
                "served": served(parts, evidence, claim, view),
                "at_home": owner == claim.home,
                "drift": str(claim) in parts.plan.drift,
                "service": parts.config.service_of.get(claim.destination, ""),
                "refused": ("route", claim.route_table, claim.destination) in refused,
            }
        )
    return rows


def verdicts(parts: Parts, evidence: Evidence) -> list[Row]:
    """The verdict on each peer.

    ``evidence`` is of this moment, ``evidence_then`` of the moment of the verdict. ``state``,
    ``reports`` and ``view`` (its verdict on this node) are of its last heartbeat. ``hears_me``:
    whether it receives this node's heartbeats. None: not known.
    """
    case = Case.of(parts.config, parts.memory, evidence)
    rows = []
    for name, peer in parts.memory.peers.items():
        heard = evidence.heard.get(name, NOTHING_HEARD)
        report = heard.report
        view = None if report is None else report.views.get(parts.config.self_name)
        instance = evidence.instances.get(name)
        rows.append(
            {
                "peer": name,
                "verdict": peer.verdict,
                "state": None if report is None else report.state,
                "evidence": verdict.evidence_now(case.about(name, peer)),
                "evidence_then": peer.evidence,
                "since_s": round(evidence.now - peer.since, 1),
                "heartbeat_ms_ago": _ms_ago(evidence.now, heard.heartbeat_at),
                "icmp_ms_ago": _ms_ago(evidence.now, heard.icmp_at),
                "suspected_s_ago": ago(evidence.now, peer.suspected_at),
                "forwarding": None if report is None else report.forwarding,
                "reports": "" if report is None else report.fact,
                "view": view,
                "hears_me": hears_me(view) if _is_fresh(parts, evidence.now, heard.heartbeat_at) else None,
                "unwell": [] if report is None else sorted(report.unwell),
                "ec2_state": None if instance is None else instance.state,
                "fence": peer.fence_stage,
                "fence_ordered": evidence.fence_ordered.get(name, ""),
            }
        )
    return rows


def services(parts: Parts, evidence: Evidence) -> list[Row]:
    """The services of this node that claims depend on.

    ``well``: by the last readings. ``trusted``: whether claims may come to it, which takes some
    time after a failure.
    """
    unwell = policy.unwell(parts.config, parts.memory, evidence.now)
    rows = []
    for each in parts.config.services:
        known = parts.memory.services.get(each.name)
        rows.append(
            {
                "service": each.name,
                "destinations": list(each.destinations),
                "well": each.name not in evidence.me.unwell,
                "trusted": each.name not in unwell,
                "well_s": None if known is None else ago(evidence.now, known.well_since),
                "failures": 0 if known is None else known.failures,
                "problem": parts.collector.service_check.problems.get(each.name, ""),
            }
        )
    return rows


def identities(parts: Parts, evidence: Evidence) -> list[Row]:
    """All identities, with their Elastic IPs and the states of rules here.

    ``address``: the private address of this node for it. Empty: this node cannot carry it.
    ``holder``: a node, or the id of another interface. None: nobody, or not known. ``carrier``: the
    node that owns all claims of the identity. None: there is none. ``follows``: whether the Elastic
    IP is with it. None: not known.
    """
    config, owners = parts.config, owners_of(evidence.instances, parts.config.witnesses)
    seen, here = parts.collector.forwarding_check.translated, {each.name: each for each in config.nat.identities}
    rows = []
    for name, egress in config.identities.items():
        view = evidence.addresses.get(egress.allocation)
        interface = view.interface_id if view is not None else None
        holder, carrier = owners.get(interface or "", interface), _carrier(parts, evidence, name, owners)
        known = view is not None and carrier is not None
        rows.append(
            {
                "identity": name,
                "allocation": egress.allocation,
                "public": view.public if view is not None else "",
                "holder": holder,
                "carrier": carrier,
                "follows": holder == carrier if known else None,
                "address": here[name].address if name in here else "",
                "state": seen.get(name, ""),
                "wanted": parts.plan.translation.get(name, ""),
                "read_s_ago": ago(evidence.now, view.read_at if view is not None else None),
            }
        )
    return rows


def _carrier(parts: Parts, evidence: Evidence, name: str, owners: t.Mapping[str, str]) -> str | None:
    """The node that owns all claims of an identity, if there is one. ``owners``: by interface."""
    found = {
        owners.get(view.target or "") if view.state == ROUTE_ACTIVE else None
        for claim, view in evidence.routes.items()
        if claim.home == name and identities_policy.has(parts.config, claim)
    }
    return found.pop() if len(found) == 1 else None


def state_sync(parts: Parts) -> Row:
    """The synchronisation of connections. Empty without ``state_sync``."""
    sync = parts.collector.sync
    if not parts.config.state_sync:
        return {}
    return {
        "by": parts.config.state_sync,
        "problem": sync.problem,
        "received_bytes": sync.reading.received,
        "lost": sync.reading.lost,
        "refused": sync.reading.refused,
        "connections": dict(sync.flows),
        "places": dict(parts.plan.places),
        "arranged": dict(sync.arranged),
    }


def _ms_ago(now: float, at: float | None) -> int | None:
    return None if at is None else round((now - at) * 1000)


def _is_fresh(parts: Parts, now: float, heartbeat_at: float | None) -> bool:
    """Whether the last report of a peer is of the present."""
    return heartbeat_at is not None and now - heartbeat_at < parts.config.heartbeat.silent_after


def hears_me(view: str | None) -> bool | None:
    """Whether a peer with such a view of this node receives its heartbeats. None: not known yet."""
    return True if view in HEARD else False if view in MISSED else None


def instances(parts: Parts, now: float) -> list[Row]:
    """The instance of each node, as EC2 showed it last."""
    return [
        {
            "node": name,
            "instance_id": view.instance_id,
            "state": view.state,
            "address": view.address,
            "interface_id": view.interface_id,
            "read_s_ago": ago(now, view.read_at),
        }
        for name, view in parts.collector.instances.items()
    ]


def failures(parts: Parts, now: float) -> list[Row]:
    """The actions that are wanted and fail: how often, the last error, the next attempt."""
    return [
        {
            "action": " ".join(each.key),
            "wanted": each.wanted,
            "attempts": each.attempts,
            "error": each.problem,
            "code": each.code,
            "first_s_ago": ago(now, each.first_at),
            "last_s_ago": ago(now, each.last_at),
            "next_s": round(max(0.0, next_at - now), 3),
        }
        for each, next_at in parts.executor.refused()
    ]


def place(action: SetRoute) -> dict[str, str]:
    """The claim of a withheld write, with the owner and the target that it would have got."""
    claim = action.claim
    return {
        "route_table": claim.route_table,
        "destination": claim.destination,
        "owner": action.owner,
        "target": action.interface_id,
    }


def by_hand(claim: Claim, interface_id: str, state: str = ROUTE_ACTIVE) -> str:
    """The command of the AWS CLI that points a claim's route to an interface."""
    kind = "prefix-list-id" if claim.destination.startswith("pl-") else "cidr-block"
    kind = "ipv6-cidr-block" if ":" in claim.destination else kind
    verb = "create-route" if state == ROUTE_MISSING else "replace-route"
    return (
        f"aws ec2 {verb} --route-table-id {claim.route_table} --destination-{kind} {claim.destination} "
        f"--network-interface-id {interface_id}"
    )
