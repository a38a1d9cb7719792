# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's load balancers differ from AWS's Network Load Balancer. The state of a target group is kept on moto's own object.

Only network load balancers and their TCP, TLS and UDP target groups are corrected; the others stay moto's.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError
from moto.elbv2 import models
from moto.elbv2.exceptions import (
    DuplicateLoadBalancerName,
    InvalidTargetError,
    LoadBalancerNotFoundError,
    TargetGroupNotFoundError,
    TargetNotRunning,
    ValidationError,
)

from . import balancer_attributes as attributes
from .target_health import (
    DEREGISTERING,
    NOT_IN_USE,
    NOT_REGISTERED,
    STOPPED,
    ZONE_NOT_ENABLED,
    Check,
    Health,
    Target,
)

NETWORK = "network"
PROTOCOLS = ("TCP", "TLS", "UDP", "TCP_UDP")
FIRST_HOST = 200  # the lab's hosts have lower numbers in their subnets


@dataclass
class Delays:
    """Seconds that AWS takes before a registration, and before a verdict, has its effect. Minutes there; nothing here unless wanted."""

    registration_s: float = 0.0
    propagation_s: float = 0.0


def targets(group: Any) -> dict[tuple[str, int], Target]:
    """The targets of a group by (id, port), also those that drain. One whose deregistration delay is over is gone."""
    found: dict[tuple[str, int], Target] = group.__dict__.setdefault("lab_targets", {})
    end = time.monotonic() - float(group.attributes[attributes.DELAY])
    for key in [key for key, each in found.items() if each.removed_at is not None and each.removed_at <= end]:
        gone(group)[key] = found.pop(key)
    return found


def gone(group: Any) -> dict[tuple[str, int], Target]:
    """The targets whose deregistration delay is over and that were not registered again."""
    found: dict[tuple[str, int], Target] = group.__dict__.setdefault("lab_gone", {})
    return found


def check_of(group: Any) -> Check:
    """How a group checks."""
    port = str(group.health_check_port or "traffic-port")
    return Check(
        str(group.health_check_protocol),
        int(port) if port.isdigit() else None,
        group.health_check_path or "/",
        float(group.health_check_interval_seconds),
        float(group.health_check_timeout_seconds),
        int(group.healthy_threshold_count),
        int(group.unhealthy_threshold_count),
        (getattr(group, "matcher", None) or {}).get("HttpCode", "200-399"),
    )


def balancers_of(backend: Any, group: Any) -> list[Any]:
    """The load balancers that have a listener which forwards to a group."""
    return [
        balancer
        for balancer in backend.load_balancers.values()
        if any(group.arn in forwards_to(backend, listener) for listener in balancer.listeners.values())
    ]


def forwards_to(backend: Any, listener: Any) -> list[str]:
    """The ARNs of the groups that a listener forwards to."""
    return [arn for action in listener.default_actions for arn in backend._get_target_group_arns_from(action.data)]


def health(backend: Any, group: Any, target: Target, delays: Delays) -> Health:
    """The state of a registered target now."""
    if target.removed_at is not None:
        return DEREGISTERING
    users = balancers_of(backend, group)
    if not users:
        return NOT_IN_USE
    instance = instance_of(backend, target.id)
    if instance is not None:
        if instance.state in ("stopping", "stopped"):
            return STOPPED
        zones = {subnet.availability_zone for balancer in users for subnet in balancer.subnets}
        if instance.nics[0].subnet.availability_zone not in zones:
            return ZONE_NOT_ENABLED
    return target.health(
        time.monotonic(),
        registration_s=delays.registration_s,
        unhealthy_draining_s=float(group.attributes[attributes.DRAIN_UNHEALTHY]),
    )


def instance_of(backend: Any, target_id: str) -> Any:
    """The instance behind a target's id, None for an address."""
    if not target_id.startswith("i-"):
        return None
    try:
        return backend.ec2_backend.get_instance(target_id)
    except InvalidInstanceIdError:
        raise InvalidTargetError() from None


def serves(backend: Any, balancer: Any, group: Any, target: Target, zone: str) -> bool:
    """Whether the balancer's node in a zone sends to a target: in the same zone, or in any with cross-zone balancing."""
    wanted = group.attributes[attributes.CROSS_ZONE]
    cross = balancer.attrs[attributes.CROSS_ZONE] if wanted == "use_load_balancer_configuration" else wanted
    instance = instance_of(backend, target.id)
    return cross == "true" or instance is None or instance.nics[0].subnet.availability_zone == zone


def address_of(backend: Any, target_id: str) -> str:
    """Where a target is reached."""
    instance = instance_of(backend, target_id)
    return str(instance.nics[0].private_ip_address) if instance is not None else target_id


def _register(group: Any, wanted: list[dict[str, Any]]) -> None:
    """All or none. A target that drains is registered again, and is checked again."""
    backend = models.elbv2_backends[group.account_id][group.region_name]
    keys = [_key(group, each) for each in wanted]
    for target_id, _port in keys:
        _admit(backend, group, target_id)
    known = targets(group)
    for key in keys:
        if key not in known or known[key].removed_at is not None:
            known[key] = Target(*key, time.monotonic(), address_of(backend, key[0]))
            gone(group).pop(key, None)


def _admit(backend: Any, group: Any, target_id: str) -> None:
    if group.target_type == "instance":
        instance = instance_of(backend, target_id)
        if instance is None or instance.vpc_id != group.vpc_id:
            raise InvalidTargetError()
        if instance.state != "running":
            raise TargetNotRunning(target_id)
    elif group.target_type == "ip":
        try:
            ipaddress.ip_address(target_id)
        except ValueError:
            raise ValidationError(f"The IP address '{target_id}' is not a valid IPv4 address") from None


def _deregister(group: Any, wanted: list[dict[str, Any]]) -> None:
    """AWS (DeregisterTargets): a target that is not registered is no error. Without a port, each port of the id goes."""
    for each in wanted:
        for key, target in targets(group).items():
            if key[0] == each["Id"] and each.get("Port") in (None, key[1], str(key[1])) and target.removed_at is None:
                target.removed_at = time.monotonic()


def _deregister_terminated(group: Any, instance_ids: list[str]) -> None:
    _deregister(group, [{"Id": each} for each in instance_ids])


def _key(group: Any, target: dict[str, Any]) -> tuple[str, int]:
    return str(target["Id"]), int(target.get("Port") or group.port)


def _describe_health(backend: Any, target_group_arn: str, wanted: list[dict[str, Any]]) -> list[Any]:
    group = backend.target_groups.get(target_group_arn)
    if group is None:
        raise TargetGroupNotFoundError()
    known = targets(group)
    found = []
    for key in [_key(group, each) for each in wanted] or list(known):
        state = health(backend, group, known[key], delays(backend)) if key in known else NOT_REGISTERED
        port = check_of(group).port or key[1]
        found.append(
            models.FakeHealthStatus(key[0], str(key[1]), str(port), state.state, state.reason, state.description)
        )
    return found


def delays(backend: Any) -> Delays:
    """The delays of one account and region; the control ``balancer`` sets them."""
    found: Delays = backend.__dict__.setdefault("lab_delays", Delays())
    return found


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


_new_group = models.FakeTargetGroup.__init__
_modify_group = models.ELBv2Backend.modify_target_group_attributes
_modify_balancer = models.ELBv2Backend.modify_load_balancer_attributes
_modify_listener = models.ELBv2Backend.modify_listener_attributes


def _init_group(group: Any, *arguments: Any, **options: Any) -> None:
    _new_group(group, *arguments, **options)
    if group.protocol in PROTOCOLS:
        group.attributes = attributes.of_group(group.protocol, group.target_type)
        group.matcher = options.get("matcher") or {"HttpCode": "200-399"}


def _set_group(backend: Any, target_group_arn: str, wanted: dict[str, str]) -> None:
    group = backend.target_groups.get(target_group_arn)
    if group is not None and group.protocol in PROTOCOLS:
        known = {**attributes.of_group(group.protocol, group.target_type)}
        _refuse(attributes.wrong("Target group", known, wanted))
    _modify_group(backend, target_group_arn, wanted)


def _set_balancer(backend: Any, arn: str, wanted: dict[str, str]) -> Any:
    balancer = backend.load_balancers.get(arn)
    if balancer is None:
        raise LoadBalancerNotFoundError()
    if balancer.type == NETWORK:
        _refuse(attributes.wrong("Load balancer", attributes.BALANCER, wanted))
        balancer.attrs.update(wanted)
        return balancer.attrs
    return _modify_balancer(backend, arn, wanted)


def _set_listener(backend: Any, listener_arn: str, attrs: list[dict[str, str]]) -> Any:
    if ":listener/net/" in listener_arn:
        pairs = {each["Key"]: each["Value"] for each in attrs}
        _refuse(attributes.wrong("Listener", attributes.LISTENER, pairs))
    return _modify_listener(backend, listener_arn, attrs)


def _refuse(message: str | None) -> None:
    if message:
        raise ValidationError(message)


def groups(backend: Any) -> Iterator[Any]:
    """The target groups that are checked: those of network load balancers with targets of instances or addresses."""
    for group in list(backend.target_groups.values()):
        if group.protocol in PROTOCOLS and group.target_type in ("instance", "ip"):
            yield group


CORRECTED: tuple[tuple[Any, str, Any], ...] = (
    (models.FakeTargetGroup, "__init__", _init_group),
    (models.FakeTargetGroup, "register", _register),
    (models.FakeTargetGroup, "deregister", _deregister),
    (models.FakeTargetGroup, "deregister_terminated_instances", _deregister_terminated),
    (models.FakeLoadBalancer, "availability_zones", property(_zones)),
    (models.ELBv2Backend, "describe_target_health", _describe_health),
    (models.ELBv2Backend, "create_load_balancer", _create_balancer),
    (models.ELBv2Backend, "delete_load_balancer", _delete_balancer),
    (models.ELBv2Backend, "modify_target_group_attributes", _set_group),
    (models.ELBv2Backend, "modify_load_balancer_attributes", _set_balancer),
    (models.ELBv2Backend, "modify_listener_attributes", _set_listener),
)
