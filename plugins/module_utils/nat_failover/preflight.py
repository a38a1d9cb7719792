# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only EC2 can tell about a configuration: do the instances and tables exist, may this node do what the mode asks for?"""

from __future__ import annotations

import typing as t

from .config import Config
from .ec2 import Ec2
from .errors import ConfigError, Ec2Error, NatFailoverError


def check_online(config: Config, ec2: Ec2) -> t.List[str]:
    """Reads, and dry runs of every write. Returns what was proven, a line each; raises one ``NatFailoverError`` naming all that is wrong.

    An API that cannot be asked (no credentials, not reachable, throttled) proves nothing and is raised as it is.
    """
    wrong = _gone(lambda: ec2.describe_instances(config.nodes, strict=True))
    instances = ec2.describe_instances(config.nodes)
    for index, node in enumerate(config.nodes):
        view = instances[node.name]
        if node.address and view.address and node.address != view.address:
            error = ConfigError(
                "nodes[%d].address" % index,
                node.address,
                "EC2 says that %s has %s" % (node.instance_id, view.address),
                "correct it, or leave it out",
            )
            wrong.append(str(error))
    wrong += _gone(lambda: ec2.describe_routes(config.claims, strict=True))
    if not wrong and not config.me.witness:  # a dry run on what is not there says nothing about permissions
        nodes = [node for node in config.nodes if not node.witness]
        wrong = ec2.permissions(nodes, config.claims, config.self_name, config.mode, config.fence.policy)
    if wrong:
        raise NatFailoverError("; ".join(wrong))
    permitted = (
        "a witness needs no further permission"
        if config.me.witness
        else "all permissions of mode %s are there" % config.mode
    )
    return ["%d instances found" % len(instances), "%d routes read" % len(config.claims), permitted]


def _gone(read: t.Callable[[], t.Any]) -> t.List[str]:
    """What the configuration names and EC2 does not know, as a line."""
    try:
        read()
    except Ec2Error as error:
        if not error.code.endswith((".NotFound", ".Malformed")):
            raise
        return [str(error)]
    return []
