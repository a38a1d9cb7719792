# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: private addresses of interfaces, as an operator's credentials see them.

A node calls none of this. It could take addresses of other machines in its subnet (docs/iam.md).
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.aws_ha.egress.plugins.module_utils._client import client
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError

DENIED = ("UnauthorizedOperation", "AccessDenied")
RESERVED = 4  # the first addresses of a subnet, beside the last one (VPC User Guide, "Subnet CIDR blocks")


class Interface(t.NamedTuple):
    """The primary network interface of an instance."""

    id: str
    subnet: str
    instance_type: str
    addresses: tuple[str, ...]  # the primary one first


class Addresses:
    """The calls, over the EC2 API, version 2016-11-15. All raise ``NatFailoverError``."""

    def __init__(self, region: str, endpoint_url: str | None) -> None:
        self.client = client("ec2", "EC2", region, endpoint_url)

    def interface(self, instance_id: str) -> Interface:
        """DescribeInstances: the primary interface. An instance that is terminated has none."""
        found = self._call("DescribeInstances", instance_id, InstanceIds=[instance_id])
        instances = [each for reservation in found["Reservations"] for each in reservation["Instances"]]
        for instance in instances:
            for each in instance.get("NetworkInterfaces", ()):
                if each["Attachment"]["DeviceIndex"] == 0:
                    rows = sorted(each["PrivateIpAddresses"], key=lambda row: not row["Primary"])
                    held = tuple(row["PrivateIpAddress"] for row in rows)
                    return Interface(each["NetworkInterfaceId"], each["SubnetId"], instance["InstanceType"], held)
        state = instances[0]["State"]["Name"] if instances else "not there"
        raise NatFailoverError(f"instance_id (got {instance_id!r}) has no network interface, it is {state}; correct it")

    def network(self, subnet: str) -> str:
        """DescribeSubnets: the IPv4 network of a subnet."""
        return str(self._call("DescribeSubnets", subnet, SubnetIds=[subnet])["Subnets"][0]["CidrBlock"])

    def room(self, instance_type: str) -> int:
        """DescribeInstanceTypes: the most private IPv4 addresses of one interface."""
        found = self._call("DescribeInstanceTypes", instance_type, InstanceTypes=[instance_type])["InstanceTypes"]
        if not found:
            raise NatFailoverError(f"instance_type (got {instance_type!r}) is unknown in this region; correct it")
        return int(found[0]["NetworkInfo"]["Ipv4AddressesPerInterface"])

    def assign(self, interface: str, addresses: t.Sequence[str]) -> None:
        """AssignPrivateIpAddresses. An address of another interface stays there, and is refused."""
        self._call(
            "AssignPrivateIpAddresses",
            f"{', '.join(addresses)} to {interface}",
            NetworkInterfaceId=interface,
            PrivateIpAddresses=list(addresses),
            AllowReassignment=False,
        )

    def _call(self, operation: str, resource: str, **given: t.Any) -> dict[str, t.Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        try:
            found: dict[str, t.Any] = getattr(self.client, method)(**given)
        except ClientError as error:
            code, said = error.response["Error"]["Code"], " ".join(str(error.response["Error"].get("Message")).split())
            remedy = f"; allow ec2:{operation} for the credentials of this run" if code in DENIED else ""
            raise NatFailoverError(f"ec2:{operation} of {resource}: {code}: {said}{remedy}") from error
        except BotoCoreError as error:
            raise NatFailoverError(f"ec2:{operation} of {resource}: {' '.join(str(error).split())}") from error
        return found


def objections(wanted: t.Sequence[str], interface: Interface, network: str, room: int) -> list[str]:
    """A line for each reason why an interface cannot have the addresses ``wanted``. Pure.

    ``network`` is its subnet, ``room`` the most addresses that it can have.
    """
    subnet = ipaddress.IPv4Network(network)
    usable = subnet[RESERVED], subnet[-2]
    lines = []
    for each in wanted:
        address = ipaddress.IPv4Address(each)
        if address not in subnet:
            remedy = f"name one from {usable[0]} to {usable[1]}"
            lines.append(f"{each} is outside of {network}, the subnet of {interface.id}; {remedy}")
        elif not usable[0] <= address <= usable[1]:
            lines.append(f"{each} is reserved by AWS in {network}; name one from {usable[0]} to {usable[1]}")
    all_of_them = list(dict.fromkeys((*interface.addresses, *wanted)))
    if len(all_of_them) > room:
        lines.append(
            f"{interface.id} of a {interface.instance_type} has room for {room} private addresses, and needs "
            f"{len(all_of_them)} ({', '.join(all_of_them)}); take a larger instance type, or fewer waiting addresses"
        )
    return lines


def ensure(ec2: Addresses, instance_id: str, wanted: t.Sequence[str], check_mode: bool) -> dict[str, t.Any]:
    """Compare, refuse what cannot be, assign where needed, read again.

    Returns the result of the module. Raises ``NatFailoverError`` with all objections.
    """
    for each in wanted:
        try:
            ipaddress.IPv4Address(each)
        except ValueError:
            raise NatFailoverError(f"addresses (got {each!r}) must be IPv4 addresses, e.g. 10.0.0.20") from None
    found = ec2.interface(instance_id)
    missing = [each for each in dict.fromkeys(wanted) if each not in found.addresses]
    after = (*found.addresses, *missing)
    if missing:
        wrong = objections(missing, found, ec2.network(found.subnet), ec2.room(found.instance_type))
        if wrong:
            raise NatFailoverError("; ".join(wrong))
    if missing and not check_mode:
        ec2.assign(found.id, missing)
        after = ec2.interface(instance_id).addresses
        late = [each for each in missing if each not in after]
        if late:
            raise NatFailoverError(f"EC2 shows no {', '.join(late)} on {found.id} after the write; run this again")
    return {
        "changed": bool(missing),
        "interface_id": found.id,
        "addresses": _sorted(after),
        "diff": {"before": {"addresses": _sorted(found.addresses)}, "after": {"addresses": _sorted(after)}},
    }


def _sorted(addresses: t.Iterable[str]) -> list[str]:
    return sorted(addresses, key=ipaddress.IPv4Address)
