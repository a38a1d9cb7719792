# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only EC2 can tell about a configuration: do the instances and tables exist, may this node do what the mode asks for?"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..aws.ec2 import Ec2
from ..aws.witness_table import Table
from ..errors import ConfigError, Ec2Error, NatFailoverError
from ..model.cluster import TAG_CLUSTER, TAG_NODE, InstanceView, Node
from ..model.settings import MASQUERADE, Config
from ..policy import membership as discovery


def check_online(config: Config, ec2: Ec2, table: t.Optional[Table] = None) -> t.List[str]:
    """Reads, and dry runs of every write. Returns what was proven, a line each; raises one ``NatFailoverError`` naming all that is wrong.

    An API that cannot be asked (no credentials, not reachable, throttled) proves nothing and is raised as it is.
    """
    instances = ec2.describe_instances(config.nodes, cluster=config.cluster)
    wrong, missing = [], []
    for index, node in enumerate(config.nodes):
        view = instances[node.name]
        if not view.instance_id and (node.instance_id or node.name == config.self_name):
            wrong.append(_unknown(index, node, config.cluster))
        elif not view.instance_id:
            missing.append(node.name)
        if node.address and view.address and node.address != view.address:
            error = ConfigError(
                "nodes[%d].address" % index,
                node.address,
                "EC2 says that %s has %s" % (view.instance_id, view.address),
                "correct it, or leave it out",
            )
            wrong.append(str(error))
    wrong += _unaddressed(config, instances[config.self_name])
    homes = ec2.describe_homes(config.cluster)
    claims = discovery.claims(config, homes)
    wrong += _gone(lambda: ec2.describe_routes(claims, strict=True))
    wrong += discovery.misplaced(config, homes).values()
    if not claims:
        wrong.append(discovery.no_home(config))
    if not wrong and not config.me.witness:  # a dry run on what is not there says nothing about permissions
        nodes = [
            replace(node, instance_id=instances[node.name].instance_id) for node in config.nodes if not node.witness
        ]
        wrong = ec2.permissions(nodes, claims, config.self_name, config.mode, config.fence.policy)
    if table is not None:
        wrong += table.check(config.mode == "full" and config.fence.policy != "none")
    if wrong:
        raise NatFailoverError("; ".join(wrong))
    permitted = (
        "a witness needs no further permission"
        if config.me.witness
        else "all permissions of mode %s are there" % config.mode
    )
    found = ["%d instances found" % (len(instances) - len(missing))]
    found += ["without %s, which will be found by its tags" % name for name in missing]
    found += [
        "%s by its tags in place of %s" % (instances[node.name].instance_id, node.instance_id)
        for node in config.nodes
        if node.instance_id and instances[node.name].instance_id != node.instance_id
    ]
    proven = [", ".join(found), "%d routes read" % len(claims), permitted]
    return proven if table is None else [*proven, "the witness table %s can be used" % table.table]


def _unaddressed(config: Config, me: InstanceView) -> t.List[str]:
    """NAT66 needs an address of the node's own."""
    needed = config.nat.has_ipv6 and config.nat.ipv6 == MASQUERADE and not config.me.witness
    if not needed or not me.instance_id or me.ipv6_addresses:
        return []
    error = ConfigError(
        "sources",
        ", ".join(config.nat.of_family(ipv6=True)),
        "EC2 has given no IPv6 address to %s (%s) that they could be masqueraded with"
        % (config.self_name, me.interface_id),
        "assign it one (AssignIpv6Addresses), or set ipv6 to forward",
    )
    return [str(error)]


def _unknown(index: int, node: Node, cluster: str) -> str:
    """What to do about a node that EC2 shows no instance for."""
    by_tags = "tag the instance with %s=%s and %s=%s" % (TAG_CLUSTER, cluster, TAG_NODE, node.name)
    if node.instance_id:
        remedy = "correct the instance id or the region, or %s" % by_tags
        return str(ConfigError("nodes[%d].instance_id" % index, node.instance_id, "EC2 knows no such instance", remedy))
    return str(ConfigError("nodes[%d].name" % index, node.name, "no instance carries its tags", by_tags))


def _gone(read: t.Callable[[], t.Any]) -> t.List[str]:
    """What the configuration names and EC2 does not know, as a line."""
    try:
        read()
    except Ec2Error as error:
        if not error.code.endswith((".NotFound", ".Malformed")):
            raise
        return [str(error)]
    return []
