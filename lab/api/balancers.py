# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's load balancers differ from AWS's Network Load Balancer: their names, interfaces, zones and attributes.

Other balancers stay moto's.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.elbv2 import models
from moto.elbv2.exceptions import DuplicateLoadBalancerName, LoadBalancerNotFoundError

from . import balancer_attributes as attributes
from .target_groups import instance_of
from .target_health import Target

NETWORK = "network"
FIRST_HOST = 200  # the lab's hosts have lower numbers in their subnets


def serves(backend: Any, balancer: Any, group: Any, target: Target, zone: str) -> bool:
    """Whether the balancer's node in a zone sends to a target: in the same zone, or in any with cross-zone balancing."""
    wanted = group.attributes[attributes.CROSS_ZONE]
    cross = balancer.attrs[attributes.CROSS_ZONE] if wanted == "use_load_balancer_configuration" else wanted
    instance = instance_of(backend, target.id)
    return cross == "true" or instance is None or instance.nics[0].subnet.availability_zone == zone


_create = models.ELBv2Backend.create_load_balancer
_delete = models.ELBv2Backend.delete_load_balancer


def _create_balancer(
    backend: Any, name: str, security_groups: Any, subnet_ids: Any, subnet_mappings: Any = None, **options: Any
) -> Any:
    """A network load balancer has ``net/`` in its ARN, one interface per subnet, and its own form of DNS name."""
    network = options.get("loadbalancer_type") == NETWORK
    if network and any(each.name == name for each in backend.load_balancers.values()):
        raise DuplicateLoadBalancerName()
    options["scheme"] = options.get("scheme") or "internet-facing"
    made: Any = _create(backend, name, security_groups, subnet_ids, subnet_mappings, **options)
    if not network:
        return made
    del backend.load_balancers[made.arn]
    tags = backend.tagging_service.get_tag_dict_for_resource(made.arn)
    backend.tagging_service.delete_all_tags_for_resource(made.arn)
    made.arn = made.arn.replace(":loadbalancer/app/", ":loadbalancer/net/")
    backend.load_balancers[made.arn] = made
    backend.tagging_service.tag_resource(made.arn, [{"Key": key, "Value": value} for key, value in tags.items()])
    made.dns_name = f"{name}-{made.arn.rpartition('/')[2]}.elb.{backend.region_name}.amazonaws.com"
    made.attrs = dict(attributes.BALANCER)
    wanted = {each["SubnetId"]: each.get("PrivateIPv4Address") for each in subnet_mappings or ()}
    made.lab_interfaces = [
        _interface(backend.ec2_backend, made, subnet, wanted.get(subnet.id)) for subnet in made.subnets
    ]
    made.lab_chosen = wanted
    return made


def _interface(ec2: Any, balancer: Any, subnet: Any, wanted: str | None) -> Any:
    """AWS: described as "ELB net/NAME/ID", owned by the service."""
    description = "ELB " + balancer.arn.partition(":loadbalancer/")[2]
    address = wanted or _free_address(ec2, subnet)
    made = ec2.create_network_interface(subnet, address, description=description)
    made.interface_type, made.requester_managed, made.status = "network_load_balancer", True, "in-use"
    made.source_dest_check = False
    return made


def _free_address(ec2: Any, subnet: Any) -> str:
    used = {interface.private_ip_address for interface in ec2.enis.values()}
    network = ipaddress.ip_network(subnet.cidr_block)
    return next(str(network[n]) for n in range(FIRST_HOST, network.num_addresses - 1) if str(network[n]) not in used)


def _delete_balancer(backend: Any, arn: str) -> None:
    balancer = backend.load_balancers.get(arn)
    _delete(backend, arn)
    for interface in getattr(balancer, "lab_interfaces", ()):
        backend.ec2_backend.enis.pop(interface.id, None)


def _zones(balancer: Any) -> list[Any]:
    """AWS shows the addresses that the caller chose, and no others (API Reference, LoadBalancerAddress)."""
    found = [models.AvailabilityZone(subnet) for subnet in balancer.subnets]
    for zone in found:
        chosen = getattr(balancer, "lab_chosen", {}).get(zone.subnet_id)
        vars(zone)["load_balancer_addresses"] = [{"PrivateIPv4Address": chosen}] if chosen else []
    return found


_modify_balancer = models.ELBv2Backend.modify_load_balancer_attributes
_modify_listener = models.ELBv2Backend.modify_listener_attributes


def _set_balancer(backend: Any, arn: str, wanted: dict[str, str]) -> Any:
    balancer = backend.load_balancers.get(arn)
    if balancer is None:
        raise LoadBalancerNotFoundError()
    if balancer.type == NETWORK:
        attributes.require("Load balancer", attributes.BALANCER, wanted)
        balancer.attrs.update(wanted)
        return balancer.attrs
    return _modify_balancer(backend, arn, wanted)


def _set_listener(backend: Any, listener_arn: str, attrs: list[dict[str, str]]) -> Any:
    if ":listener/net/" in listener_arn:
        pairs = {each["Key"]: each["Value"] for each in attrs}
        attributes.require("Listener", attributes.LISTENER, pairs)
    return _modify_listener(backend, listener_arn, attrs)


CORRECTED: tuple[tuple[Any, str, Any], ...] = (
    (models.FakeLoadBalancer, "availability_zones", property(_zones)),
    (models.ELBv2Backend, "create_load_balancer", _create_balancer),
    (models.ELBv2Backend, "delete_load_balancer", _delete_balancer),
    (models.ELBv2Backend, "modify_load_balancer_attributes", _set_balancer),
    (models.ELBv2Backend, "modify_listener_attributes", _set_listener),
)
