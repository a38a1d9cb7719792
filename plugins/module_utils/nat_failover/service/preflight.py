# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in a configuration that only EC2 and IMDS show.

``check_online`` runs the list ``CHECKS``. A further check is one function and one line there.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ..aws import imds, permissions
from ..aws.ec2 import Ec2
from ..aws.witness_table import Table
from ..errors import ConfigError, Ec2Error, NatFailoverError
from ..model.cluster import TAG_CLUSTER, TAG_NODE, Claim, InstanceView, Node
from ..model.nat import MASQUERADE
from ..model.settings import Config
from ..observe.instances import read_instances
from ..policy import membership
from . import preflight_identities, preflight_vpc


@dataclass(frozen=True)
class Cluster:
    """A configuration, and the instances and tables that EC2 shows for it."""

    config: Config
    ec2: Ec2
    table: Table | None  # The witness table. None: none is configured
    instances: t.Mapping[str, InstanceView]  # By the node's name. A node without one has no instance id
    homes: t.Mapping[str, str]  # route table -> node, by its tag
    claims: tuple[Claim, ...]

    @property
    def fences(self) -> bool:
        """Whether the mode lets this node fence a peer."""
        return self.config.mode == "full" and self.config.fence.policy != "none"


def check_online(config: Config, ec2: Ec2, table: Table | None = None) -> list[str]:
    """Check a configuration by reads of AWS, and by dry runs of every write.

    Returns a line for each thing that is proven. Raises one ``NatFailoverError`` with all mistakes.
    An API that does not answer (no credentials, unreachable, throttled) proves nothing: its error
    is raised as it is.
    """
    instances = read_instances(ec2, config.nodes, config.cluster)
    homes = ec2.describe_homes(config.cluster)
    cluster = Cluster(config, ec2, table, instances, homes, membership.claims(config, homes))
    wrong = [line for check in CHECKS for line in check(cluster)]
    if not wrong:
        # A dry run on a resource that does not exist says nothing about permissions.
        wrong += check_permissions(cluster)
    wrong += check_witness_table(cluster)
    if wrong:
        raise NatFailoverError("; ".join(wrong))
    return _proven(cluster)


def check_instances(cluster: Cluster) -> list[str]:
    """Nodes without an instance. A peer that is known by its tags may come later."""
    return [
        _unknown(index, node, cluster.config.cluster)
        for index, node in enumerate(cluster.config.nodes)
        if not cluster.instances[node.name].instance_id and (node.instance_id or node.name == cluster.config.self_name)
    ]


def check_addresses(cluster: Cluster) -> list[str]:
    """Nodes whose address in the configuration is not that of their instance."""
    return [
        str(
            ConfigError(
                f"nodes[{index}].address",
                node.address,
                f"EC2 shows {view.address} for {view.instance_id}",
                "correct it, or leave it out",
            )
        )
        for index, node in enumerate(cluster.config.nodes)
        for view in [cluster.instances[node.name]]
        if node.address and view.address and node.address != view.address
    ]


def check_ipv6_address(cluster: Cluster) -> list[str]:
    """This node, if it masquerades IPv6 and has no IPv6 address to masquerade with."""
    config, me = cluster.config, cluster.instances[cluster.config.self_name]
    needed = config.nat.has_ipv6 and config.nat.ipv6 == MASQUERADE and not config.me.witness
    if not needed or not me.instance_id or me.ipv6_addresses:
        return []
    error = ConfigError(
        "sources",
        ", ".join(config.nat.of_family(ipv6=True)),
        f"EC2 shows no IPv6 address of {config.self_name} ({me.interface_id}) to masquerade them with",
        "assign it one (AssignIpv6Addresses), or set ipv6 to forward",
    )
    return [str(error)]


def check_identities(cluster: Cluster) -> list[str]:
    """Elastic IPs that would stay where they are, and private addresses that this node lacks."""
    return preflight_identities.problems(cluster.config, cluster.ec2, cluster.instances)


def check_vpc(cluster: Cluster) -> list[str]:
    """Nodes in another VPC."""
    return preflight_vpc.several_vpcs(cluster.config, cluster.instances)


def check_tags(cluster: Cluster) -> list[str]:
    """Instances without room for the tags of the service."""
    return preflight_vpc.no_room_for_tags(cluster.config, cluster.instances)


def check_tables(cluster: Cluster) -> list[str]:
    """Route tables that EC2 does not know, or else networks of the VPC that no source covers."""
    try:
        cluster.ec2.describe_routes(cluster.claims, strict=True)
    except Ec2Error as error:
        if not error.code.endswith((".NotFound", ".Malformed")):
            raise
        return [str(error)]
    networks = cluster.ec2.local_networks(claim.route_table for claim in cluster.claims)
    return preflight_vpc.not_served(cluster.config, networks)


def check_homes(cluster: Cluster) -> list[str]:
    """Tags that contradict the configuration, and a cluster without any route table."""
    wrong = list(membership.misplaced(cluster.config, cluster.homes).values())
    return wrong if cluster.claims else [*wrong, membership.no_home(cluster.config)]


def check_permissions(cluster: Cluster) -> list[str]:
    """Permissions of the mode that this node's role lacks. A witness needs none."""
    config = cluster.config
    if config.me.witness:
        return []
    nodes = [
        replace(node, instance_id=cluster.instances[node.name].instance_id) for node in config.nodes if not node.witness
    ]
    return permissions.missing(cluster.ec2, nodes, cluster.claims, config.self_name, config.mode, config.fence.policy)


def check_witness_table(cluster: Cluster) -> list[str]:
    """Problems of the witness table, if the configuration names one."""
    return [] if cluster.table is None else cluster.table.check(cluster.fences)


CHECKS: tuple[t.Callable[[Cluster], list[str]], ...] = (
    check_instances,
    check_addresses,
    check_ipv6_address,
    check_identities,
    check_vpc,
    check_tags,
    check_tables,
    check_homes,
)


def _proven(cluster: Cluster) -> list[str]:
    """A line for each thing that holds once no check has found a mistake."""
    config, instances = cluster.config, cluster.instances
    missing = [node.name for node in config.nodes if not instances[node.name].instance_id]
    replaced = [
        f"{instances[node.name].instance_id} by its tags in place of {node.instance_id}"
        for node in config.nodes
        if node.instance_id and instances[node.name].instance_id != node.instance_id
    ]
    found = [
        f"{len(instances) - len(missing)} instances found",
        *(f"without {name}, which will be found by its tags" for name in missing),
        *replaced,
    ]
    permitted = f"all permissions of mode {config.mode} are there"
    lines = [
        ", ".join(found),
        f"{len(cluster.claims)} routes read",
        "a witness needs no further permission" if config.me.witness else permitted,
    ]
    return lines if cluster.table is None else [*lines, f"the witness table {cluster.table.table} can be used"]


def check_identity(config: Config, read: t.Callable[[], t.Mapping[str, str]] = imds.instance_identity) -> list[str]:
    """Compare the configured instance id with that of this host in IMDS.

    Returns one line: this host's id, or the reason why it is not proven. Raises ``ConfigError`` for
    the id of another host. IMDS may be switched off on hosts whose credentials come from elsewhere.
    """
    own = config.me.instance_id
    try:
        found = read()["instance_id"]
    except Ec2Error as error:
        return [f"the identity of this host is not proven ({error})"]
    if own and own != found:
        names = [node.name for node in config.nodes if node.instance_id == found]
        raise ConfigError(
            f"nodes[{config.nodes.index(config.me)}].instance_id",
            own,
            f"this host is the instance {found}" + (f", which is the node {names[0]}" if names else ""),
            "correct the instance ids, which may be swapped, or run this on the right host",
        )
    return [f"this host is {found}"]


def _unknown(index: int, node: Node, cluster: str) -> str:
    """The line for a node that EC2 shows no instance for."""
    by_tags = f"tag the instance with {TAG_CLUSTER}={cluster} and {TAG_NODE}={node.name}"
    if node.instance_id:
        remedy = f"correct the instance id or the region, or {by_tags}"
        return str(ConfigError(f"nodes[{index}].instance_id", node.instance_id, "EC2 shows no such instance", remedy))
    return str(ConfigError(f"nodes[{index}].name", node.name, "no instance carries its tags", by_tags))
