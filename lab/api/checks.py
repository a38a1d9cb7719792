# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals that AWS makes and moto does not, before moto sees the call. May rewrite a parameter into the form that AWS would store."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from . import addresses
from .backend import instances
from .corrections import primary_interface
from .errors import ApiError
from .request import ApiRequest
from .snapshot import destination as destination_of

IDS = {
    "InstanceId": ("i", "InvalidInstanceID.Malformed"),
    "RouteTableId": ("rtb", "InvalidRouteTableId.Malformed"),
    "NetworkInterfaceId": ("eni", "InvalidNetworkInterfaceId.Malformed"),
}
TARGETS = (
    "GatewayId",
    "InstanceId",
    "NetworkInterfaceId",
    "NatGatewayId",
    "EgressOnlyInternetGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "VpcEndpointId",
    "CoreNetworkArn",
    "LocalTarget",
)
DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


def check(model: Any, request: ApiRequest) -> None:
    """Raise ``ApiError`` where AWS would refuse this EC2 call."""
    for parameter in request.params:
        name, _dot, index = parameter.partition(".")
        if name in IDS and (not index or index.isdigit()):
            _well_formed(name, str(request.params[parameter]))
    if request.action in ("CreateRoute", "ReplaceRoute"):
        _route(model, request)
    elif request.action == "DeleteRoute":
        _canonical(model, request)
    elif request.action == "CreateTags":
        _tags(model, request)
    elif request.action == "ModifyInstanceAttribute":
        _modify_instance(model, request)
    elif request.action in addresses.ACTIONS:
        addresses.check(model, request)
    elif request.action in ("StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"):
        _known_instances(model, request.members("InstanceId"))


def _well_formed(name: str, value: str) -> None:
    prefix, code = IDS[name]
    if not re.fullmatch(prefix + r"-([0-9a-f]{8}|[0-9a-f]{17})", value):
        raise ApiError(code, f'Invalid id: "{value}"')


def _known_instances(model: Any, ids: list[str]) -> None:
    if not ids:
        raise ApiError("MissingParameter", "The request must contain the parameter InstanceId")
    known = {instance.id for instance in instances(model)}
    missing = [instance_id for instance_id in ids if instance_id not in known]
    if len(missing) == 1:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
    if missing:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")


def _route(model: Any, request: ApiRequest) -> None:
    table = model.route_tables.get(request.get("RouteTableId"))
    if table is None:
        raise ApiError(
            "InvalidRouteTableID.NotFound", f"The routeTable ID '{request.get('RouteTableId')}' does not exist"
        )
    wanted = _canonical(model, request)
    targets = [name for name in TARGETS if request.get(name)]
    if not targets:
        raise ApiError(
            "MissingParameter",
            "The request must contain exactly one target, such as gatewayId, networkInterfaceId or instanceId",
        )
    if len(targets) > 1:
        raise ApiError(
            "InvalidParameterCombination", f"The request must contain exactly one target, not {' and '.join(targets)}"
        )
    _target(model, table, targets[0], str(request.get(targets[0])))
    if request.action == "CreateRoute" and any(destination_of(route) == wanted for route in table.routes):
        raise ApiError("RouteAlreadyExists", f"The route identified by {wanted} already exists.")


def _canonical(model: Any, request: ApiRequest) -> str:
    """The one destination, in canonical form, which is what AWS stores (100.68.0.18/18 is 100.68.0.0/18)."""
    given = [name for name in DESTINATIONS if request.get(name)]
    if len(given) != 1:
        raise ApiError(
            "MissingParameter" if not given else "InvalidParameterCombination",
            "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId",
        )
    name, value = given[0], str(request.get(given[0]))
    if name == "DestinationPrefixListId":
        if value not in model.managed_prefix_lists:
            raise ApiError("InvalidPrefixListID.NotFound", f"The prefix list ID '{value}' does not exist")
        return value
    try:
        network = ipaddress.ip_network(value, strict=False)
        if network.version != (4 if name == "DestinationCidrBlock" else 6):
            raise ValueError(f"not of the family of {name}")
    except ValueError:
        raise ApiError(
            "InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid. This is not a valid CIDR block."
        ) from None
    if str(network) != value:
        request.rewrite(**{name: str(network)})
    return str(network)


def _target(model: Any, table: Any, name: str, value: str) -> None:
    if name == "InstanceId":
        found = {instance.id: instance for instance in instances(model)}.get(value)
        if found is None:
            raise ApiError("InvalidInstanceID.NotFound", f"The instance ID '{value}' does not exist")
        if found.state in ("shutting-down", "terminated"):
            raise ApiError("IncorrectInstanceState", f"The instance '{value}' is terminated")
        _single_interface(found)
        _same_vpc(table, primary_interface(found).subnet.vpc_id, value)
    elif name == "NetworkInterfaceId":
        interface = model.enis.get(value)
        if interface is None:
            raise ApiError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{value}' does not exist")
        _same_vpc(table, interface.subnet.vpc_id, value)
    else:
        stores = {
            "NatGatewayId": ("nat_gateways", "NatGatewayNotFound"),
            "TransitGatewayId": ("transit_gateways", "InvalidTransitGatewayID.NotFound"),
            "EgressOnlyInternetGatewayId": ("egress_only_internet_gateways", "InvalidGatewayID.NotFound"),
            "VpcPeeringConnectionId": ("vpc_pcxs", "InvalidVpcPeeringConnectionID.NotFound"),
            "CarrierGatewayId": ("carrier_gateways", "InvalidCarrierGatewayID.NotFound"),
        }
        store, code = stores.get(name, ("", ""))
        if name == "GatewayId":
            store = {"igw": "internet_gateways", "vgw": "vpn_gateways", "vpce": "vpc_end_points"}.get(
                value.partition("-")[0], ""
            )
            code = "InvalidInternetGatewayID.NotFound" if store == "internet_gateways" else "InvalidGatewayID.NotFound"
            if not store and value != "local":
                raise ApiError(code, f"The gateway ID '{value}' does not exist")
        if store and value not in getattr(model, store, {}):
            raise ApiError(code, f"The ID '{value}' does not exist")


def _same_vpc(table: Any, vpc_id: str, target: str) -> None:
    if vpc_id != table.vpc_id:
        raise ApiError(
            "InvalidParameterValue", f"route table {table.id} and target {target} belong to different networks"
        )


def _single_interface(instance: Any) -> None:
    if len(instance.nics) > 1:
        raise ApiError(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{instance.id}'. "
            "Please specify an interface ID for the operation instead.",
        )


def _tags(model: Any, request: ApiRequest) -> None:
    for key in request.tags():
        if key.lower().startswith("aws:"):
            raise ApiError(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use",
            )
    ids = request.members("ResourceId")
    machines = [each for each in ids if each.startswith("i-")]
    for each in machines:
        _well_formed("InstanceId", each)
    if machines:
        _known_instances(model, machines)
    for each in ids:
        if each.startswith("eni-") and each not in model.enis:
            raise ApiError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{each}' does not exist")
        if each.startswith("eipalloc-") and all(address.allocation_id != each for address in model.addresses):
            raise ApiError("InvalidAllocationID.NotFound", f"The allocation ID '{each}' does not exist")


def _modify_instance(model: Any, request: ApiRequest) -> None:
    _known_instances(model, [str(request.get("InstanceId"))])
    if (
        request.get("SourceDestCheck.Value")
        or request.get("Attribute") == "sourceDestCheck"
        or request.members("GroupId")
    ):
        _single_interface(next(each for each in instances(model) if each.id == request.get("InstanceId")))
