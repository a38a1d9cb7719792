# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only EC2 can tell about a configuration: do the instances and tables exist, may this node do what the mode asks for?"""

from __future__ import annotations

import typing as t

from .config import Config
from .ec2 import Ec2
from .errors import ConfigError, NatFailoverError


def check_online(config: Config, ec2: Ec2) -> t.List[str]:
    """Reads, and dry runs of every write. Returns what was proven, a line each; raises one ``NatFailoverError`` naming all that is wrong."""
    instances = ec2.describe_instances(config.nodes, strict=True)
    for index, node in enumerate(config.nodes):
        view = instances[node.name]
        if node.address and view.address and node.address != view.address:
            raise ConfigError(
                "nodes[%d].address" % index,
                node.address,
                "EC2 says that %s has %s" % (node.instance_id, view.address),
                "correct it, or leave it out",
            )
    routes = ec2.describe_routes(config.claims, strict=True)
    missing = ec2.permissions(config.nodes, config.claims, config.self_name, config.mode, config.fence.policy)
    if missing:
        raise NatFailoverError("; ".join(missing))
    return [
        "%d instances found" % len(instances),
        "%d routes read" % len(routes),
        "all permissions of mode %s are there" % config.mode,
    ]
