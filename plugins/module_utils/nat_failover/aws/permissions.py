# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes that a mode needs, as dry runs, and what EC2's answer to one proves. Pure."""

from __future__ import annotations

import typing as t

from ..model.cluster import TAG_DRAINED, TAG_FENCE, TAG_FLARE, Claim, Node
from . import ec2_mapping as ec2_terms

# What EC2 says of a dry run that was allowed. IncorrectInstanceState: a peer that is stopped just now; ReplaceRoute says
# InvalidParameterValue where there is no route yet, CreateRoute RouteAlreadyExists where there is one.
PROVEN: t.Mapping[str, t.Tuple[str, ...]] = {
    "ReplaceRoute": ("DryRunOperation", "InvalidParameterValue", "InvalidRoute.NotFound"),
    "CreateRoute": ("DryRunOperation", "RouteAlreadyExists"),
}
PROVEN_OTHERS = ("DryRunOperation", "IncorrectInstanceState")


def proven(action: str, code: str) -> bool:
    """Does this error of a dry run say that the action is allowed?"""
    return code in PROVEN.get(action, PROVEN_OTHERS)


def needed(
    nodes: t.Sequence[Node], claims: t.Sequence[Claim], me: Node, mode: str, fence: str, interface: str
) -> t.Iterator[t.Tuple[str, str, t.Dict[str, t.Any]]]:
    """(action, resource, parameters) of every write that a mode may need."""
    mine, own = "instance %s" % me.instance_id, [me.instance_id]
    yield "CreateTags", mine, {"Resources": own, "Tags": [{"Key": TAG_FLARE, "Value": "dry run"}]}
    yield "DeleteTags", mine, {"Resources": own, "Tags": [{"Key": TAG_DRAINED}]}  # resume
    if mode == "observe":
        return
    for claim in claims:
        for action in ("ReplaceRoute", "CreateRoute"):
            yield action, "route-table %s" % claim.route_table, ec2_terms.route(claim, interface)
    if mode != "full" or fence == "none":
        return
    for node in nodes:
        if node is me or not node.instance_id:
            continue
        for action in ("StopInstances", "StartInstances") if fence == "stop_start" else ("RebootInstances",):
            yield action, "instance %s" % node.instance_id, {"InstanceIds": [node.instance_id]}
        for action in ("CreateTags", "DeleteTags"):
            yield (
                action,
                "instance %s" % node.instance_id,
                {"Resources": [node.instance_id], "Tags": [{"Key": TAG_FENCE, "Value": ""}]},
            )
