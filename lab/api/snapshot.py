# SPDX-License-Identifier: GPL-3.0-or-later
"""The VPC as the fabric needs it, as plain frozen values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import address_views, backend, balancers, target_groups
from .balancer_attributes import DRAIN_UNHEALTHY, END_FLOWS, PRESERVE, RESET_UNHEALTHY
from .corrections import primary_interface, target_interface
from .health_checks import States
from .target_health import UNHEALTHY, Target, receiving

LOCAL, GATEWAY, INTERFACE, NAT_GATEWAY, OTHER = "local", "gateway", "interface", "nat-gateway", "other"


@dataclass(frozen=True)
class Instance:
    """``name`` is the Name tag ("" without one); ``interface_id`` the primary interface.

    ``private_ips``: all private addresses of that, the primary one first; ``public_ips``: private to public address, where there is one.
    """

    id: str
    name: str
    state: str
    private_ip: str
    interface_id: str
    source_dest_check: bool
    public_ip: str | None
    subnet_id: str
    private_ips: tuple[str, ...] = ()
    public_ips: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """``target_kind``: local, gateway, interface (an instance target too), nat-gateway or other. ``state``: active or blackhole."""

    destination: str
    target_kind: str
    target_id: str
    state: str


@dataclass(frozen=True)
class RouteTable:
    """``subnet_ids`` are the subnets this table serves, also those that only fall to it because it is the VPC's main table."""

    id: str
    name: str
    routes: tuple[Route, ...]
    subnet_ids: tuple[str, ...]


@dataclass(frozen=True)
class Subnet:
    """One subnet."""

    id: str
    cidr: str
    availability_zone: str


@dataclass(frozen=True)
class NatGateway:
    """A managed NAT gateway that is available."""

    id: str
    public_ip: str


@dataclass(frozen=True)
class Listener:
    """One address and port of a network load balancer. Each of ``targets`` gets a share of the new flows.

    ``reset`` are the targets whose flows are ended. Targets are (address, port). ``keeps_client``: the target sees the client's address.
    """

    address: str
    port: int
    protocol: str
    targets: tuple[tuple[str, int], ...]
    reset: tuple[tuple[str, int], ...]
    keeps_client: bool
    unhealthy: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Balancer:
    """A network load balancer. ``answers`` are the addresses of its DNS name: those of zones with a healthy target, or all if none has one."""

    name: str
    dns_name: str
    addresses: Mapping[str, str]  # by availability zone
    answers: tuple[str, ...]
    listeners: tuple[Listener, ...]


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment. The account's default VPC is left out."""

    instances: tuple[Instance, ...]
    route_tables: tuple[RouteTable, ...]
    subnets: tuple[Subnet, ...]
    prefix_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the networks in each, by its id
    nat_gateways: tuple[NatGateway, ...] = ()
    balancers: tuple[Balancer, ...] = ()
    # Private to public address as the internet gateway translates, which may come later than the association (``associations``).
    translated: Mapping[str, str] = field(default_factory=dict)

    def instance(self, reference: str) -> Instance:
        """By id or name; ``KeyError`` if there is none."""
        for instance in self.instances:
            if reference in (instance.id, instance.name):
                return instance
        raise KeyError(reference)


def snapshot(account: str = backend.ACCOUNT, region: str = backend.REGION, health: States | None = None) -> Snapshot:
    """Read moto's models. The caller holds the API's lock if the API is being served."""
    model = backend.ec2(account, region)
    default_vpcs = {vpc.id for vpc in model.vpcs.values() if str(vpc.is_default).lower() == "true"}
    subnets = [
        subnet for by_zone in model.subnets.values() for subnet in by_zone.values() if subnet.vpc_id not in default_vpcs
    ]
    tables = [table for table in model.route_tables.values() if table.vpc_id not in default_vpcs]
    explicit = {subnet_id for table in tables for subnet_id in table._associations.values()}
    instances = tuple(
        _instance(model, instance) for instance in backend.instances(model) if instance.vpc_id not in default_vpcs
    )
    return Snapshot(
        instances,
        tuple(_table(model, table, subnets, explicit) for table in tables),
        tuple(Subnet(subnet.id, subnet.cidr_block, subnet.availability_zone) for subnet in subnets),
        {
            key: tuple(entry["Cidr"] for entry in each.entries.get(each.version, ()))
            for key, each in model.managed_prefix_lists.items()
        },
        tuple(_nat_gateways(model)),
        tuple(_balancers(backend.elbv2(account, region), health or {})),
        {
            private: public
            for each in instances
            if each.state != "terminated"
            for private, public in each.public_ips.items()
        },
    )


def _balancers(model: Any, health: States) -> Iterator[Balancer]:
    for each in model.load_balancers.values():
        if each.type == balancers.NETWORK:
            addresses = {eni.subnet.availability_zone: eni.private_ip_address for eni in each.lab_interfaces}
            listeners = tuple(_listeners(model, each, addresses, health))
            serving = {one.address for one in listeners if set(one.targets) - set(one.unhealthy)}
            answers = tuple(address for address in addresses.values() if address in serving)
            yield Balancer(each.name, each.dns_name, addresses, answers or tuple(addresses.values()), listeners)


def _listeners(model: Any, balancer: Any, addresses: Mapping[str, str], health: States) -> Iterator[Listener]:
    for listener in balancer.listeners.values():
        for group in (model.target_groups[arn] for arn in target_groups.forwards_to(model, listener)):
            known = [
                (target, health[(group.arn, *key)])
                for key, target in target_groups.targets(group).items()
                if (group.arn, *key) in health
            ]
            for zone, address in addresses.items():
                near = [each for each in known if balancers.serves(model, balancer, group, each[0], zone)]
                chosen = receiving(near)
                unhealthy = tuple(_place(target) for target, state in near if state.state == UNHEALTHY)
                targets = tuple(_place(target) for target in chosen)
                ended = _ended(group, unhealthy)
                yield Listener(
                    address,
                    int(listener.port),
                    listener.protocol,
                    targets,
                    tuple(each for each in ended if each not in targets),
                    group.attributes[PRESERVE] == "true",
                    unhealthy,
                )


def _ended(group: Any, unhealthy: tuple[tuple[str, int], ...]) -> Iterator[tuple[str, int]]:
    """The targets whose flows are ended: unhealthy ones, at once or after their draining interval, and deregistered ones after the delay.

    AWS: Network Load Balancer User Guide, "Edit target group attributes".
    """
    if group.attributes[RESET_UNHEALTHY] == "true" or int(group.attributes[DRAIN_UNHEALTHY]) > 0:
        yield from unhealthy
    if group.attributes[END_FLOWS] == "true":
        yield from (_place(target) for target in target_groups.gone(group).values())


def _place(target: Target) -> tuple[str, int]:
    return target.address, target.port


def _nat_gateways(model: Any) -> Iterator[NatGateway]:
    for gateway in model.nat_gateways.values():
        public = [each["publicIp"] for each in gateway.address_set if each.get("publicIp")]
        if gateway.state == "available" and public:
            yield NatGateway(gateway.id, public[0])


def _instance(model: Any, instance: Any) -> Instance:
    interface = primary_interface(instance)
    if interface is None:
        return Instance(
            instance.id, _name(model, instance.id), instance.state, "", "", True, None, instance.subnet_id or ""
        )
    # moto leaves a moved elastic address on its old instance: only the address itself knows where it is.
    public = address_views.public_addresses(model, interface)
    return Instance(
        instance.id,
        _name(model, instance.id),
        instance.state,
        interface.private_ip_address,
        interface.id,
        bool(interface.source_dest_check),
        public.get(interface.private_ip_address),
        interface.subnet.id,
        tuple(address_views.addresses_of(interface)),
        public,
    )


def _table(model: Any, table: Any, subnets: list[Any], explicit: set[str]) -> RouteTable:
    served = [target for target in table._associations.values() if target.startswith("subnet-")]
    if table.main_association_id is not None:
        served += [subnet.id for subnet in subnets if subnet.vpc_id == table.vpc_id and subnet.id not in explicit]
    return RouteTable(table.id, _name(model, table.id), tuple(_route(route) for route in table.routes), tuple(served))


def destination(route: Any) -> str:
    """A route's destination: IPv4, IPv6 or a prefix list's id."""
    return route.destination_cidr_block or route.destination_ipv6_cidr_block or route.destination_prefix_list_id or ""


def _route(route: Any) -> Route:
    interface = target_interface(route)
    if interface is not None:
        kind, target = INTERFACE, interface.id
    elif route.local:
        kind, target = LOCAL, "local"
    elif route.gateway_id:
        kind, target = GATEWAY, route.gateway_id
    elif route.nat_gateway_id:
        kind, target = NAT_GATEWAY, route.nat_gateway_id
    else:
        kind, target = OTHER, ""
    return Route(destination(route), kind, target, route.state)


def _name(model: Any, resource_id: str) -> str:
    return backend.tags(model, resource_id).get("Name", "")
