# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in a configuration that the cluster's instances and VPC show.

Each function returns a line for each mistake. Pure.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import ConfigError
from ..model.cluster import TAG_DRAINED, TAG_FENCE, TAG_FLARE, TAG_PAUSE, InstanceView
from ..model.settings import Config
from ..policy.warnings import MOST_TAGS, used_tags

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def several_vpcs(config: Config, instances: t.Mapping[str, InstanceView]) -> list[str]:
    """Nodes in another VPC than this node.

    No route of this VPC can target them, and the instance may belong to somebody else.
    """
    here = instances[config.self_name].vpc_id
    return [
        str(
            ConfigError(
                f"nodes[{index}]",
                node.name,
                f"{view.instance_id} is in {view.vpc_id}, and this node ({config.self_name}) is in {here}",
                "correct the instance id, or remove the node: all nodes of a cluster are in one VPC",
            )
        )
        for index, node in enumerate(config.nodes)
        for view in [instances[node.name]]
        if here and view.vpc_id and view.vpc_id != here
    ]


def not_served(config: Config, networks: t.Iterable[str]) -> list[str]:
    """Networks of the VPC that no source covers.

    Packets of their hosts would leave this node untranslated, and no answer would come back.
    """
    if config.me.witness:
        return []
    ipv6 = any(":" in destination for destination in config.destinations)
    known = [ipaddress.ip_network(each) for each in (*config.sources, *config.ec2.unserved)]
    left = [each for each in map(ipaddress.ip_network, networks) if each.version == 4 or ipv6]
    missing = [str(each) for each in left if not _covered(each, known)]
    if not missing:
        return []
    error = ConfigError(
        "sources",
        ", ".join(config.sources),
        f"the VPC also has {', '.join(missing)}, whose packets would leave this node untranslated",
        "add it to sources, or name it in ec2.unserved_networks if this cluster does not serve it",
    )
    return [str(error)]


def _covered(network: Network, known: t.Iterable[Network]) -> bool:
    """Whether one of the known networks, or several together, contain all of a network."""
    same = [each for each in known if each.version == network.version]
    if any(_holds(each, network) for each in same):
        return True
    inside = [each for each in same if _holds(network, each)]
    merged = ipaddress.collapse_addresses(t.cast("list[ipaddress.IPv4Network]", inside))
    return any(each == network for each in merged)


def _holds(one: Network, other: Network) -> bool:
    """Whether one network contains another. Both are of one family."""
    return one.supernet_of(t.cast(t.Any, other))


def no_room_for_tags(config: Config, instances: t.Mapping[str, InstanceView]) -> list[str]:
    """Instances with so many tags that EC2 would refuse the tags that the service writes."""
    fences = config.mode == "full" and config.fence.policy != "none"
    written = [TAG_FLARE, TAG_DRAINED, TAG_PAUSE] + [TAG_FENCE] * fences
    wrong = []
    for node in config.nodes:
        view = instances[node.name]
        used = used_tags(view.tags)
        new = [key for key in written if key not in view.tags]
        if not node.witness and view.instance_id and used + len(new) > MOST_TAGS:
            wrong.append(
                f"{view.instance_id} ({node.name}) has {used} tags, and EC2 takes {MOST_TAGS}: the service needs room "
                f"for {', '.join(new)}; remove {used + len(new) - MOST_TAGS} others"
            )
    return wrong
