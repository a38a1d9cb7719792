# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A claim in EC2's terms, and EC2's answers in ours. Pure."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

from ..model.cluster import ROUTE_MISSING, Claim, InstanceView, RouteView

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


def route(claim: Claim, interface_id: str) -> t.Dict[str, str]:
    """The parameters of ReplaceRoute and CreateRoute."""
    return {
        "RouteTableId": claim.route_table,
        "NetworkInterfaceId": interface_id,
        _destination_key(claim.destination): claim.destination,
    }


def _destination_key(destination: str) -> str:
    if destination.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"


def _canonical(destination: str) -> str:
    """EC2 promises the canonical form for IPv4 only; an IPv6 network can be written in many ways."""
    return str(ipaddress.ip_network(destination)) if ":" in destination else destination


def route_view(routes: t.Iterable[t.Mapping[str, t.Any]], destination: str, read_at: float) -> RouteView:
    """What a table's routes say of a destination."""
    key = _destination_key(destination)
    for each in routes:
        if _canonical(each.get(key, "")) == destination:
            target = next((each[name] for name in TARGETS if each.get(name)), None)
            return RouteView(each.get("State", "active"), target, read_at)
    return RouteView(ROUTE_MISSING, None, read_at)


def primary(instance: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """The interface with device index 0; a terminated instance has none."""
    for interface in instance.get("NetworkInterfaces", ()):
        if interface.get("Attachment", {}).get("DeviceIndex", 0) == 0:
            return t.cast(t.Mapping[str, t.Any], interface)
    return {}


def instance_view(instance: t.Mapping[str, t.Any], read_at: float) -> InstanceView:
    """What DescribeInstances says of one."""
    interface = primary(instance)
    # LaunchTime is new with each start; the primary interface has been there since the first one.
    created = interface.get("Attachment", {}).get("AttachTime") or instance.get("LaunchTime") or ""
    return InstanceView(
        state=instance["State"]["Name"],
        interface_id=interface.get("NetworkInterfaceId"),
        address=interface.get("PrivateIpAddress") or instance.get("PrivateIpAddress"),
        tags={tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())},
        read_at=read_at,
        source_dest_check=interface.get("SourceDestCheck"),
        availability_zone=instance.get("Placement", {}).get("AvailabilityZone"),
        instance_id=instance["InstanceId"],
        created=created.isoformat() if isinstance(created, datetime.datetime) else str(created),
        ipv6_addresses=tuple(each["Ipv6Address"] for each in interface.get("Ipv6Addresses", ())),
    )
