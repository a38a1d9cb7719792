# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities in incidents: the ids and the addresses that the cloud and the configuration share."""

from __future__ import annotations

import typing as t


def allocation(node: int) -> str:
    """The id of a node's Elastic IP."""
    return f"eipalloc-{node + 1:017x}"


def private(node: int, identity: int) -> str:
    """The private address of a node for an identity, which may be its own."""
    return f"10.0.{100 + node}.{20 if node == identity else 30 + identity}"


def row(node: int, nodes: int, *, synced: bool = False) -> dict[str, t.Any]:
    """The keys of a node in the configuration. ``synced``: conntrackd has to know its address."""
    return {
        **({"address": f"10.0.0.{node}"} if synced else {}),
        "egress_address": allocation(node),
        "egress_private_address": private(node, node),
        "egress_networks": [f"10.0.{10 + node}.0/24"],
        "egress_waiting": {f"nat-{each}": private(node, each) for each in range(nodes) if each != node},
    }
