# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of peers: a verdict other than healthy, a drain, a peer that does not hear this node."""

from __future__ import annotations

import typing as t

from ..model.cluster import (
    DRAINED,
    DRAINING,
    ENDED,
    GONE,
    STOPPING,
    TAG_DRAINED,
    InstanceView,
)
from ..model.evidence import (
    FAILED,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    UNKNOWN,
    UNMANAGED,
    Evidence,
)
from ..model.problem import Problem
from ..policy import verdict
from ..policy.case import Case
from ..policy.signs import ONE_KEY
from . import rows
from .parts import Parts

PEERS = {
    FAILED: "peer_failed",
    SICK: "peer_sick",
    UNMANAGED: "peer_unmanaged",
    PARTITIONED: "peer_partitioned",
    SILENT: "peer_silent",
}


def problems(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    config = parts.config
    case = Case.of(config, parts.memory, evidence)
    own = evidence.instances.get(config.self_name)
    address = (own.address if own else None) or config.me.address or "this node"
    for name, peer in parts.memory.peers.items():
        details = {"peer": name, "port": str(config.heartbeat.port), "address": address}
        since = evidence.now - peer.since
        code = PEERS.get(peer.verdict)
        report = evidence.heard.get(name, NOTHING_HEARD).report
        unseen = peer.verdict == UNKNOWN and since > config.unseen_after
        if code is not None or unseen:
            text = f"{name} is {peer.verdict}: {verdict.evidence_now(case.about(name, peer))}"
            if report is not None and report.state == STOPPING:
                text += "; its last heartbeat announced the end of its service"
            instance, bad_macs = evidence.instances.get(name), parts.transport.counters.get("bad_mac")
            remedy = _restart(instance) if code == "peer_failed" and instance is not None else ""
            if bad_macs and peer.verdict in (UNMANAGED, UNKNOWN):
                text += f"; {bad_macs} packets had a bad signature: another heartbeat key"
                remedy = f"{ONE_KEY}; on {name}: systemctl status nat-failover"
            if peer.verdict == SICK and instance is not None and instance.public_address == "":
                text += "; EC2 shows no public IPv4 address of it"
            yield Problem(code or "peer_unknown", name, text, since, details, remedy)
        if report is None or code is not None:
            continue
        if report.state in (DRAINING, DRAINED):
            view = evidence.instances.get(name)
            why = view.tags.get(TAG_DRAINED, "") if view is not None else ""
            reason = why or report.fact or "no reason is known here"
            yield Problem("peer_draining", name, f"{name} is {report.state}: {reason}", details=details)
        if rows.hears_me(report.views.get(config.self_name)) is False:
            text = f"{name} does not hear this node: its verdict is {report.views[config.self_name]}"
            yield Problem("peer_deaf", name, text, details=details)
        if report.hindrance and not parts.collector.reader.problem:
            text = f"{name} could take nothing over now: it has the problem {report.hindrance}"
            yield Problem("peer_hindered", name, text, details=details)


def hindered(evidence: Evidence) -> list[str]:
    """The peers that say of themselves that EC2 gives them no reading."""
    return [name for name, heard in evidence.heard.items() if heard.report is not None and heard.report.hindrance]


def _restart(instance: InstanceView) -> str:
    """The remedy for an instance that EC2 shows as ended. Empty: it runs."""
    if instance.state in ENDED or not instance.instance_id:
        return f"EC2 shows it as {instance.state}, and it does not come back: replace it (docs/operations.md)"
    if instance.state in GONE:
        return (
            f"EC2 shows it as {instance.state}: if no fence has done it, "
            f"aws ec2 start-instances --instance-ids {instance.instance_id}"
        )
    return ""
