# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference VPC: one NAT node and one private route table per availability zone, with the roles of ``node_role``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import node_role
from .api import backend
from .fabric.names import address6
from .tags import CLUSTER, CLUSTER_TAG, NODE_TAG

CIDR = "10.0.0.0/16"
DEFAULT_ROUTE, DEFAULT_ROUTE6 = "0.0.0.0/0", "::/0"
IMAGE = "ami-12c6146b"
INSTANCE_TYPE = "t3.nano"  # its interface has two private addresses at most


@dataclass(frozen=True)
class ZoneIds:
    """The ids of one availability zone."""

    zone: str
    availability_zone: str
    node: str
    instance_id: str
    interface_id: str
    private_ip: str
    public_ip: str
    allocation_id: str
    public_subnet: str
    private_subnet: str
    route_table: str
    role: str


@dataclass(frozen=True)
class VpcIds:
    """The ids of the reference VPC, per zone where there is one of each."""

    vpc: str
    internet_gateway: str
    public_route_table: str
    security_group: str
    zones: dict[str, ZoneIds]

    def node(self, name: str) -> ZoneIds:
        """The zone of a node, by the node's name."""
        return next(zone for zone in self.zones.values() if zone.node == name)


def build(
    zones: Sequence[str] = ("a", "b"),
    *,
    source_dest_check: bool = True,
    ipv6: bool = False,
    instance_type: str = INSTANCE_TYPE,
    seed: int = 42,
    cluster: str = CLUSTER,
    account: str = backend.ACCOUNT,
    region: str = backend.REGION,
) -> VpcIds:
    """Reset moto and create the VPC of ``docs/architecture.md``, the same ids for the same arguments.

    Before the API is served, or with its lock held. ``source_dest_check=False`` is for hosts that nobody will configure.
    """
    backend.reset(seed)
    model = backend.ec2(account, region)
    vpc = model.create_vpc(CIDR, tags=_tags(Name="lab"))
    gateway = model.create_internet_gateway(tags=_tags(Name="lab"))
    model.attach_internet_gateway(gateway.id, vpc.id)
    group = model.create_security_group("nat", "NAT nodes of the lab", vpc_id=vpc.id)
    public = model.create_route_table(vpc.id, tags=_tags(Name="public"))
    model.create_route(public.id, DEFAULT_ROUTE, gateway_id=gateway.id)
    built = {}
    for zone in zones:
        built[zone] = _zone(
            model, account, region, zone, vpc.id, public.id, group.id, source_dest_check, cluster, instance_type
        )
    tables = [zone_ids.route_table for zone_ids in built.values()]
    if ipv6:
        model.create_route(public.id, None, DEFAULT_ROUTE6, gateway_id=gateway.id)
        for zone_ids in built.values():
            _add_ipv6(model, zone_ids)
    for zone_ids in built.values():
        node_role.grant(zone_ids.role, tables, cluster, account, region)
    return VpcIds(vpc.id, gateway.id, public.id, group.id, built)


def add_route_tables(
    count: int, zone: ZoneIds, *, prefix: str = "scale", account: str = backend.ACCOUNT, region: str = backend.REGION
) -> list[str]:
    """More private route tables, with no subnets, whose default route goes to the zone's node. With the API's lock held."""
    model = backend.ec2(account, region)
    vpc_id = model.route_tables[zone.route_table].vpc_id
    tables = []
    for index in range(count):
        table = model.create_route_table(
            vpc_id, tags=_tags(Name=f"{prefix}-{zone.zone}-{index}", **{CLUSTER_TAG: CLUSTER})
        )
        model.create_route(table.id, DEFAULT_ROUTE, interface_id=zone.interface_id)
        tables.append(table.id)
    return tables


@dataclass(frozen=True)
class NodeIds:
    """The ids of a node beside the reference VPC's own."""

    name: str
    cluster: str
    instance_id: str
    address: str
    route_table: str


def add_pairs(
    ids: VpcIds, count: int, *, account: str = backend.ACCOUNT, region: str = backend.REGION
) -> list[NodeIds]:
    """More clusters of two nodes each (``lab/fleet``), all in one subnet, which holds 75 of them. With the API's lock held."""
    model = backend.ec2(account, region)
    subnet = next(iter(ids.zones.values())).public_subnet
    built = []
    for number in range(1, count + 1):
        cluster, pair = f"pair{number:02d}", []
        for side, letter in enumerate("ab"):
            name, address = f"{cluster}-{letter}", f"10.0.0.{100 + 2 * number + side - 2}"
            instance = _launch(model, region, name, subnet, address, ids.security_group, True, cluster)
            table = model.create_route_table(ids.vpc, tags=_tags(Name=name, **{CLUSTER_TAG: cluster}))
            model.create_route(table.id, DEFAULT_ROUTE, interface_id=instance.nics[0].id)
            node_role.create(model, account, instance.id, f"lab-{name}")
            pair.append(NodeIds(name, cluster, instance.id, address, table.id))
        for each in pair:
            node_role.grant(f"lab-{each.name}", [one.route_table for one in pair], cluster, account, region)
        built += pair
    return built


def subnets(zone: str) -> tuple[int, int]:
    """The third octets of a zone's public and private subnet. From the eleventh zone on, which only measurements have, above all others."""
    number = ord(zone) - ord("a")
    return (number, 10 + number) if number < 10 else (20 + number, 50 + number)


def _zone(
    model: Any,
    account: str,
    region: str,
    zone: str,
    vpc_id: str,
    public_table: str,
    group: str,
    check: bool,
    cluster: str,
    instance_type: str,
) -> ZoneIds:
    number = ord(zone) - ord("a")
    public_net, private_net = subnets(zone)
    availability_zone, node = region + "abc"[number % 3], f"nat-{zone}"
    private_ip, public_ip = f"10.0.{public_net}.10", f"203.0.113.{10 + number}"
    public = model.create_subnet(
        vpc_id, f"10.0.{public_net}.0/24", availability_zone=availability_zone, tags=_named(f"public-{zone}")
    )
    private = model.create_subnet(
        vpc_id, f"10.0.{private_net}.0/24", availability_zone=availability_zone, tags=_named(f"private-{zone}")
    )
    instance = _launch(model, region, node, public.id, private_ip, group, check, cluster, instance_type)
    interface = instance.nics[0]
    address = model.allocate_address("vpc", address=public_ip, tags={"Name": node})
    model.associate_address(instance, eni=interface, allocation_id=address.allocation_id)
    table = model.create_route_table(vpc_id, tags=_tags(Name=f"private-{zone}", **{CLUSTER_TAG: cluster}))
    model.create_route(table.id, DEFAULT_ROUTE, interface_id=interface.id)
    model.associate_route_table(public_table, subnet_id=public.id)
    model.associate_route_table(table.id, subnet_id=private.id)
    role = node_role.create(model, account, instance.id, f"lab-{node}")
    return ZoneIds(
        zone,
        availability_zone,
        node,
        instance.id,
        interface.id,
        private_ip,
        public_ip,
        address.allocation_id,
        public.id,
        private.id,
        table.id,
        role,
    )


def _launch(
    model: Any,
    region: str,
    node: str,
    subnet: str,
    private_ip: str,
    group: str,
    check: bool,
    cluster: str,
    instance_type: str = INSTANCE_TYPE,
) -> Any:
    """An instance that is a node by its tags."""
    reservation = model.run_instances(
        IMAGE,
        1,
        None,
        [],
        instance_type=instance_type,
        is_instance_type_default=False,
        region_name=region,
        subnet_id=subnet,
        private_ip=private_ip,
        security_group_ids=[group],
        associate_public_ip=False,
        tags={"instance": {"Name": node, CLUSTER_TAG: cluster, NODE_TAG: node}},
        metadata_options={"HttpTokens": "required"},
    )
    instance = reservation.instances[0]
    interface = instance.nics[0]
    interface.source_dest_check = check
    interface.add_tags({"Name": node, CLUSTER_TAG: cluster})
    return instance


def relaunch(
    zone: ZoneIds, group: str, private_ip: str, *, account: str = backend.ACCOUNT, region: str = backend.REGION
) -> ZoneIds:
    """Another instance in a node's place, as an autoscaling group launches it: same name, role and public address, the rest is new.

    With the API's lock held. The route tables still target the old one.
    """
    model = backend.ec2(account, region)
    kind = backend.find_instance(model, zone.instance_id).instance_type
    instance = _launch(model, region, zone.node, zone.public_subnet, private_ip, group, False, CLUSTER, kind)
    model.associate_address(instance, eni=instance.nics[0], allocation_id=zone.allocation_id, reassociate=True)
    model.associate_iam_instance_profile(instance.id, iam_instance_profile_name=zone.role)
    return replace(zone, instance_id=instance.id, interface_id=instance.nics[0].id, private_ip=private_ip)


def _add_ipv6(model: Any, zone: ZoneIds) -> None:
    """An address of the node's own, and the private table's default route to it."""
    model.assign_ipv6_addresses(zone.interface_id, [address6(zone.private_ip)])
    model.create_route(zone.route_table, None, DEFAULT_ROUTE6, interface_id=zone.interface_id)


def _tags(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _named(name: str) -> dict[str, dict[str, str]]:
    return {"subnet": {"Name": name}}
