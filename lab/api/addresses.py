# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IP addresses and secondary private addresses, where moto differs from AWS: an association is with one private address.

AWS: EC2 API Reference, AssociateAddress, DisassociateAddress, ReleaseAddress, AssignPrivateIpAddresses, UnassignPrivateIpAddresses.
The private address of an association is kept on moto's own Elastic IP.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.utils import random_eip_association_id

from .address_views import addresses_of
from .errors import Answer, ApiError
from .request import NAMESPACE, ApiRequest

# The first four and the last address of a subnet are AWS's (VPC User Guide, "Subnet CIDR blocks").
RESERVED = 4
Change = Callable[[], str]


def associate(elastic: Any, interface: Any, private_ip: str) -> None:
    """Associate an Elastic IP with a private address that no other one is associated with."""
    elastic.instance, elastic.eni, elastic.lab_private_ip = interface.instance, interface, private_ip
    elastic.association_id = random_eip_association_id()


def deleted_nat_gateway(model: Any, gateway_id: str) -> None:
    """VPC User Guide, "Delete a NAT gateway": its Elastic IP is disassociated, and not released."""
    gateway = model.nat_gateways.get(gateway_id)
    held = {each.get("allocationId") for each in gateway.address_set} if gateway is not None else set()
    for elastic in model.addresses:
        if elastic.allocation_id in held:
            _free(elastic)


def of_terminated(instance: Any) -> None:
    """EC2 User Guide, "Elastic IP addresses": those of an instance that is terminated are disassociated, and stay allocated."""
    for elastic in instance.ec2_backend.addresses:
        if elastic.instance is instance:
            _free(elastic)


def check(model: Any, request: ApiRequest) -> None:
    """Raise ``ApiError`` where AWS would refuse this call."""
    _PLANS[request.action](model, request)


def handle(model: Any, request: ApiRequest) -> Answer:
    """Answer one of ``ACTIONS``."""
    content = _PLANS[request.action](model, request)()
    for interface in model.enis.values():
        _show(model, interface)
    name = f"{request.action}Response"
    body = f'<{name} xmlns="{NAMESPACE}"><requestId>{uuid.uuid4()}</requestId><return>true</return>{content}</{name}>'
    return Answer(200, body.encode(), [("Content-Type", "text/xml;charset=UTF-8")])


def named(model: Any, request: ApiRequest) -> list[str]:
    """The resources that a call names in a roundabout way: by association or public address."""
    if request.action not in ("AssociateAddress", "DisassociateAddress", "ReleaseAddress"):
        return []
    found = _named(model, request)
    # Service Authorization Reference: DisassociateAddress is authorized on the Elastic IP and on the network interface.
    interfaces = [each.eni.id for each in found if request.action == "DisassociateAddress" and each.eni is not None]
    return [str(each.allocation_id) for each in found] + interfaces


def _named(model: Any, request: ApiRequest) -> list[Any]:
    association, public = request.get("AssociationId"), request.get("PublicIp")
    return [
        each
        for each in model.addresses
        if (association and each.association_id == association) or (public and each.public_ip == public)
    ]


def _associate(model: Any, request: ApiRequest) -> Change:
    elastic, interface = _elastic(model, request), _interface(model, request)
    private = request.get("PrivateIpAddress") or interface.private_ip_address
    if private not in addresses_of(interface):
        raise ApiError(
            "InvalidParameterValue",
            f"Value ({private}) for parameter privateIpAddress is invalid. Address is not assigned to {interface.id}",
        )
    same = elastic.eni is interface and elastic.private_ip_address == private
    # API Reference: reassociation is automatic, "but you can specify false to ensure the operation fails".
    if elastic.association_id and not same and str(request.get("AllowReassociation")).lower() == "false":
        raise ApiError(
            "Resource.AlreadyAssociated",
            f"resource {elastic.allocation_id} is already associated with associate-id {elastic.association_id}",
        )

    def apply() -> str:
        if not same:
            for other in model.addresses:
                if other.eni is interface and other.private_ip_address == private:
                    _free(other)
            associate(elastic, interface, private)
        return f"<associationId>{elastic.association_id}</associationId>"

    return apply


def _disassociate(model: Any, request: ApiRequest) -> Change:
    association, public = request.get("AssociationId"), request.get("PublicIp")
    if not (association or public):
        raise ApiError("MissingParameter", "The request must contain the parameter AssociationId")
    found = next(iter(_named(model, request)), None)
    if found is None and public:
        raise ApiError("InvalidAddress.NotFound", f"Address '{public}' not found.")
    if found is None:
        raise ApiError("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")

    def apply() -> str:
        _free(found)
        return ""

    return apply


def _assign(model: Any, request: ApiRequest) -> Change:
    interface = _interface(model, request)
    wanted = request.members("PrivateIpAddress")
    count = request.get("SecondaryPrivateIpAddressCount")
    if bool(wanted) == bool(count):
        raise ApiError(
            "InvalidParameterCombination" if wanted else "MissingParameter",
            "The request must contain either privateIpAddresses or secondaryPrivateIpAddressCount",
        )
    holders = {each: other for other in model.enis.values() for each in addresses_of(other)}
    if count:
        free = (each for each in _usable(interface) if each not in holders)
        wanted = [each for each, _number in zip(free, range(int(count)), strict=False)]
    moving = str(request.get("AllowReassignment")).lower() == "true"
    for address in wanted:
        if address not in _usable(interface):
            raise ApiError(
                "InvalidParameterValue", f"Address {address} does not fall within the subnet's address range"
            )
        holder = holders.get(address, interface)
        if holder is not interface and (not moving or holder.private_ip_address == address):
            raise ApiError("InvalidIPAddress.InUse", f"Address {address} is in use.")
    new = [each for each in dict.fromkeys(wanted) if holders.get(each) is not interface]
    most = _limit(interface)
    if len(addresses_of(interface)) + len(new) > most:
        raise ApiError(
            "PrivateIpAddressLimitExceeded",
            f"Number of private addresses will exceed limit {most} of interface {interface.id}",
        )

    def apply() -> str:
        for address in new:
            if address in holders:
                _move(model, address, holders[address], interface)
            interface.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": address})
        items = "".join(f"<item><privateIpAddress>{each}</privateIpAddress></item>" for each in wanted)
        assigned = f"<assignedPrivateIpAddressesSet>{items}</assignedPrivateIpAddressesSet>"
        return f"<networkInterfaceId>{interface.id}</networkInterfaceId>{assigned}"

    return apply


def _unassign(model: Any, request: ApiRequest) -> Change:
    interface, wanted = _interface(model, request), request.members("PrivateIpAddress")
    if not wanted:
        raise ApiError("MissingParameter", "The request must contain the parameter privateIpAddress")
    if interface.private_ip_address in wanted:
        # AWS refuses it; the words are not confirmed.
        raise ApiError("InvalidParameterValue", f"The primary address of {interface.id} cannot be unassigned")
    if not set(wanted) <= set(addresses_of(interface)):
        raise ApiError(
            "InvalidParameterValue", f"Some of the specified addresses are not assigned to interface {interface.id}"
        )

    def apply() -> str:
        for elastic in model.addresses:
            if elastic.eni is interface and elastic.private_ip_address in wanted:
                _free(elastic)
        kept = [each for each in interface.private_ip_addresses if each["PrivateIpAddress"] not in wanted]
        interface.private_ip_addresses[:] = kept
        return ""

    return apply


def _release(model: Any, request: ApiRequest) -> Change:
    elastic = _elastic(model, request)
    if elastic.association_id:
        raise ApiError("InvalidIPAddress.InUse", f"Address {elastic.public_ip} is in use.")

    def apply() -> str:
        model.addresses.remove(elastic)
        return ""

    return apply


_PLANS: Mapping[str, Callable[[Any, ApiRequest], Change]] = {
    "AssociateAddress": _associate,
    "DisassociateAddress": _disassociate,
    "ReleaseAddress": _release,
    "AssignPrivateIpAddresses": _assign,
    "UnassignPrivateIpAddresses": _unassign,
}
ACTIONS = tuple(_PLANS)


def _elastic(model: Any, request: ApiRequest) -> Any:
    allocation, public = request.get("AllocationId"), request.get("PublicIp")
    if not (allocation or public):
        raise ApiError("MissingParameter", "The request must contain the parameter allocationId")
    for each in model.addresses:
        if each.allocation_id == allocation or (not allocation and each.public_ip == public):
            return each
    if allocation:
        raise ApiError("InvalidAllocationID.NotFound", f"The allocation ID '{allocation}' does not exist")
    raise ApiError("InvalidAddress.NotFound", f"Address '{public}' not found.")


def _interface(model: Any, request: ApiRequest) -> Any:
    wanted, instance_id = request.get("NetworkInterfaceId"), request.get("InstanceId")
    if wanted and instance_id:
        raise ApiError(
            "InvalidParameterCombination", "You may specify an instance ID or a network interface ID, not both"
        )
    if wanted:
        if wanted not in model.enis:
            raise ApiError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{wanted}' does not exist")
        return model.enis[wanted]
    if not instance_id:
        raise ApiError("MissingParameter", "The request must contain the parameter networkInterfaceId")
    own = [each for each in model.enis.values() if each.instance is not None and each.instance.id == instance_id]
    if not own:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
    if len(own) > 1:
        raise ApiError(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{instance_id}'. "
            "Please specify an interface ID for the operation instead.",
        )
    return own[0]


def _usable(interface: Any) -> list[str]:
    network = ipaddress.ip_network(interface.subnet.cidr_block)
    return [str(each) for each in list(network)[RESERVED:-1]]


def _limit(interface: Any) -> int:
    """The most private addresses of one interface of the instance's type (EC2 User Guide, "Maximum IP addresses per network interface")."""
    kind = INSTANCE_TYPES.get(interface.instance.instance_type, {}) if interface.instance is not None else {}
    return int(kind.get("NetworkInfo", {}).get("Ipv4AddressesPerInterface", 50))


def _move(model: Any, address: str, before: Any, after: Any) -> None:
    """API Reference: an Elastic IP of a secondary address that moves to another interface is moved too."""
    for elastic in model.addresses:
        if elastic.eni is before and elastic.private_ip_address == address:
            elastic.eni, elastic.instance, elastic.lab_private_ip = after, after.instance, address
    kept = [each for each in before.private_ip_addresses if each["PrivateIpAddress"] != address]
    before.private_ip_addresses[:] = kept


def _free(elastic: Any) -> None:
    elastic.eni = elastic.instance = elastic.association_id = elastic.lab_private_ip = None


def _show(model: Any, interface: Any) -> None:
    """moto keeps the public address of an interface's primary address beside the Elastic IPs."""
    own = {each.private_ip_address: each.public_ip for each in model.addresses if each.eni is interface}
    primary = own.get(interface.private_ip_address)
    elsewhere = {each.public_ip for each in model.addresses}
    if primary:
        interface.public_ip = primary
    elif interface.public_ip in elsewhere:
        interface.public_ip = None
        if interface.instance is not None and interface.instance.state == "running":
            interface.check_auto_public_ip()
