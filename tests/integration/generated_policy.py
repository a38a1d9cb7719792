# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that ``aws_ha.egress.iam_policy`` makes, for the reference VPC of the lab."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab import node_role, vpc
from lab.api import backend
from lab.egress import EgressIds
from lab.tags import CLUSTER

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def iam() -> Any:
    """The module of the collection that makes policies."""
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    return importlib.import_module("plugin_utils.iam")


def document(
    ids: vpc.VpcIds,
    tables: Sequence[str] = (),
    identities: Mapping[str, EgressIds] = MappingProxyType({}),
    **options: Any,
) -> dict[str, Any]:
    """The policy of the lab's cluster, with further route tables and identities by zone; the options are those of ``plugin_utils.iam().node_policy``."""
    nodes: list[dict[str, Any]] = [
        {"instance_id": zone.instance_id, "interface_id": zone.interface_id, "route_tables": [zone.route_table]}
        for zone in ids.zones.values()
    ]
    for node, zone in zip(nodes, ids.zones, strict=True):
        node.update({"egress_address": identities[zone].allocation_id} if zone in identities else {})
    nodes[0]["route_tables"] += tables
    where = {"cluster": CLUSTER, "region": backend.REGION, "account": backend.ACCOUNT}
    made: dict[str, Any] = iam().node_policy(nodes, **where, **options)
    return made


def without(policy: dict[str, Any], actions: Sequence[str]) -> dict[str, Any]:
    """A policy without some actions, such as "ReplaceRoute"."""
    left = [
        {**statement, "Action": [action for action in statement["Action"] if action.partition(":")[2] not in actions]}
        for statement in policy["Statement"]
    ]
    return {**policy, "Statement": [statement for statement in left if statement["Action"]]}


def attach(ids: vpc.VpcIds, policy: dict[str, Any]) -> None:
    """Give a policy to the role of each node, in place of the lab's own. With the API's lock held."""
    for zone in ids.zones.values():
        node_role.attach(zone.role, policy)
