# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance of each node by one reading of EC2, for callers that keep nothing between readings."""

from __future__ import annotations

import typing as t

from ..aws.ec2 import Ec2
from ..model.cluster import InstanceView, Node
from ..policy import membership


def read_instances(ec2: Ec2, nodes: t.Sequence[Node], cluster: str) -> dict[str, InstanceView]:
    """Each node's instance, by the node's name.

    One without is ``terminated`` and has no instance id. Raises ``Ec2Error``.
    """
    found = ec2.find_instances(nodes, cluster)
    read_at = min((view.read_at for view in found.values()), default=0.0)
    chosen, _roster = membership.choose(nodes, cluster, found, membership.Roster(), read_at)
    return chosen
