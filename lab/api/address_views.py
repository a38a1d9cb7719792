# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of an interface as EC2 shows them, where moto shows others: each private address may have an Elastic IP of its own."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.utils import generate_dns_from_ip


def addresses_of(interface: Any) -> list[str]:
    """The private addresses of an interface, the primary one first."""
    given = [str(each["PrivateIpAddress"]) for each in interface.private_ip_addresses]
    return sorted(given, key=lambda each: each != interface.private_ip_address)


def public_addresses(model: Any, interface: Any) -> dict[str, str]:
    """Private to public address of an interface, where there is one: Elastic IPs, and the automatic address of the primary one."""
    found = {each.private_ip_address: each.public_ip for each in model.addresses if each.eni is interface}
    if interface.public_ip and interface.public_ip_auto_assign:
        found.setdefault(interface.private_ip_address, interface.public_ip)
    return found


def _private_ip(elastic: Any) -> str | None:
    """The private address that an Elastic IP is associated with; moto names the primary one of the interface always."""
    if elastic.eni is None:
        return None
    return str(getattr(elastic, "lab_private_ip", None) or elastic.eni.private_ip_address)


def _listed(interface: Any) -> list[dict[str, Any]]:
    """The private addresses as DescribeNetworkInterfaces and DescribeInstances show them, each with its association."""
    listed = []
    for address in addresses_of(interface):
        item = {"PrivateIpAddress": address, "Primary": address == interface.private_ip_address}
        elastic = next(
            (
                each
                for each in interface.ec2_backend.addresses
                if each.eni is interface and each.private_ip_address == address
            ),
            None,
        )
        if elastic is not None:
            item["Association"] = {
                "allocationId": elastic.allocation_id,
                "associationId": elastic.association_id,
                "publicIp": elastic.public_ip,
                "publicDnsName": generate_dns_from_ip(elastic.public_ip),
                "ipOwnerId": interface.owner_id,
            }
        elif item["Primary"] and interface.public_ip:
            item["Association"] = interface.association
        listed.append(item)
    return listed


_filter_value = ElasticAddress.get_filter_value


def _get_filter_value(self: Any, filter_name: str, method_name: str | None = None) -> Any:
    if filter_name == "private-ip-address":
        return self.private_ip_address
    return _filter_value(self, filter_name, method_name)


CORRECTED: tuple[tuple[Any, str, Any], ...] = (
    (ElasticAddress, "private_ip_address", property(_private_ip)),
    # moto shows empty ones, AWS none.
    (ElasticAddress, "network_interface_id", property(lambda elastic: elastic.eni.id if elastic.eni else None)),
    (ElasticAddress, "instance_id", property(lambda elastic: elastic.instance.id if elastic.instance else None)),
    (ElasticAddress, "get_filter_value", _get_filter_value),
    (NetworkInterface, "instance_private_ip_address_list", property(_listed)),
    (NetworkInterface, "network_interface_private_ip_address_list", property(_listed)),
)
