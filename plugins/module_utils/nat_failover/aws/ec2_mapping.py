# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims as parameters of EC2 calls, and answers of EC2 as views. Pure.

An answer that lacks a required part, or has one of another type, raises one of ``client.GARBAGE``.
"""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

from ..model.cluster import ROUTE_MISSING, AddressView, Claim, InstanceView, RouteView
from ..model.text import plain

TARGETS = (
    "NetworkInterfaceId",
    "NatGatewayId",
    "GatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "InstanceId",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
)


def route(claim: Claim, interface_id: str) -> dict[str, str]:
    """The parameters of ReplaceRoute and CreateRoute."""
    return {
        "RouteTableId": claim.route_table,
        "NetworkInterfaceId": interface_id,
        _destination_key(claim.destination): claim.destination,
    }


def association(allocation: str, interface_id: str, private: str) -> dict[str, t.Any]:
    """The parameters of AssociateAddress."""
    return {
        "AllocationId": allocation,
        "NetworkInterfaceId": interface_id,
        "PrivateIpAddress": private,
        "AllowReassociation": True,
    }


def _destination_key(destination: str) -> str:
    if destination.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"


def _canonical(destination: str) -> str:
    """A destination in canonical form. EC2 promises that form for IPv4 only."""
    return str(ipaddress.ip_network(destination)) if ":" in destination else destination


def route_view(routes: t.Iterable[t.Mapping[str, t.Any]], destination: str, read_at: float) -> RouteView:
    """The route to a destination among the routes of a table (Route in the EC2 API Reference)."""
    key = _destination_key(destination)
    for each in routes:
        if _canonical(each.get(key, "")) == destination:
            target = next((each[name] for name in TARGETS if each.get(name)), None)
            return RouteView(plain(each.get("State", "active")), _optional(target), read_at)
    return RouteView(ROUTE_MISSING, None, read_at)


def local(routes: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """The networks of the VPC, which each table has as ``local``."""
    for each in routes:
        network = each.get("DestinationCidrBlock") or each.get("DestinationIpv6CidrBlock")
        if each.get("GatewayId") == "local" and network:
            yield _canonical(network)


def primary(instance: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """The interface with device index 0. Empty for a terminated instance, which has none."""
    for interface in instance.get("NetworkInterfaces", ()):
        if interface.get("Attachment", {}).get("DeviceIndex", 0) == 0:
            return t.cast(t.Mapping[str, t.Any], interface)
    return {}


def addresses(instance: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """All private IPv4 addresses of an instance, on all its interfaces."""
    found = [_of_interface(each) for each in instance.get("NetworkInterfaces", ())]
    own = instance.get("PrivateIpAddress")
    return tuple(dict.fromkeys([*([plain(own)] if own else []), *(address for each in found for address in each)]))


def _of_interface(interface: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """The private IPv4 addresses of one interface."""
    found = [
        interface.get("PrivateIpAddress"),
        *(each["PrivateIpAddress"] for each in interface.get("PrivateIpAddresses", ())),
    ]
    return tuple(dict.fromkeys(plain(each) for each in found if each))


def tags(resource: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The tags of an instance or a route table, by key."""
    return {plain(str(tag["Key"])): plain(str(tag["Value"])) for tag in resource.get("Tags", ())}


def instance_view(instance: t.Mapping[str, t.Any], read_at: float) -> InstanceView:
    """One instance of DescribeInstances (Instance in the EC2 API Reference)."""
    interface = primary(instance)
    # LaunchTime is new with each start. The primary interface was attached before the first one.
    created = interface.get("Attachment", {}).get("AttachTime") or instance.get("LaunchTime") or ""
    further = [each for each in instance.get("NetworkInterfaces", ()) if each is not interface]
    return InstanceView(
        state=plain(instance["State"]["Name"]),
        interface_id=_optional(interface.get("NetworkInterfaceId")),
        address=_optional(interface.get("PrivateIpAddress") or instance.get("PrivateIpAddress")),
        tags=tags(instance),
        read_at=read_at,
        source_dest_check=interface.get("SourceDestCheck"),
        availability_zone=_optional(instance.get("Placement", {}).get("AvailabilityZone")),
        instance_id=plain(instance["InstanceId"]),
        created=created.isoformat() if isinstance(created, datetime.datetime) else plain(str(created)),
        vpc_id=plain(str(instance.get("VpcId") or "")),
        ipv6_addresses=tuple(plain(each["Ipv6Address"]) for each in interface.get("Ipv6Addresses", ())),
        further_interfaces=tuple(plain(each["NetworkInterfaceId"]) for each in further),
        addresses=addresses(instance),
        further_addresses=tuple(address for each in further for address in _of_interface(each)),
        public_address=plain(str(interface.get("Association", {}).get("PublicIp") or "")),
    )


def address_view(address: t.Mapping[str, t.Any] | None, read_at: float) -> AddressView:
    """One Elastic IP of DescribeAddresses (Address in the EC2 API Reference). None: EC2 has none."""
    if address is None:
        return AddressView("", None, None, read_at)
    public, interface = plain(address["PublicIp"]), address.get("NetworkInterfaceId")
    group = plain(str(address.get("NetworkBorderGroup") or ""))
    return AddressView(public, _optional(interface), _optional(address.get("PrivateIpAddress")), read_at, group)


def _optional(text: str | None) -> str | None:
    return None if text is None else plain(text)
