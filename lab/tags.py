# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags that make an instance a node, and the name of the lab's cluster."""

from __future__ import annotations

CLUSTER = "lab"
CLUSTER_TAG = "nat-failover:cluster"
NODE_TAG = "nat-failover:node"
