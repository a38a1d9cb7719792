# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that ``aws_ha.egress.iam_policy`` makes, for the reference VPC of the lab."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import vpc
from lab.api import backend

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def iam() -> Any:
    """The module of the collection that makes policies."""
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    return importlib.import_module("plugin_utils.iam")


def document(ids: vpc.VpcIds, tables: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """The policy of the lab's cluster, with further route tables; the options are those of ``plugin_utils.iam().node_policy``."""
    nodes: list[dict[str, Any]] = [
        {"instance_id": zone.instance_id, "interface_id": zone.interface_id, "route_tables": [zone.route_table]}
        for zone in ids.zones.values()
    ]
    nodes[0]["route_tables"] += tables
    where = {"cluster": vpc.CLUSTER, "region": backend.REGION, "account": backend.ACCOUNT}
    made: dict[str, Any] = iam().node_policy(nodes, **where, **options)
    return made


def attach(ids: vpc.VpcIds, policy: dict[str, Any]) -> None:
    """Give a policy to the role of each node, in place of the lab's own. With the API's lock held."""
    for zone in ids.zones.values():
        backend.iam().put_role_policy(zone.role, vpc.POLICY, json.dumps(policy))
