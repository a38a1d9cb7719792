# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs and secondary private addresses where plain moto differs from AWS.

Sources: EC2 API Reference, of the named action; IAM: Service Authorization Reference, "Actions, resources, and condition keys for
Amazon EC2". Plain moto knows one private address of an association, that of the interface, and gives an address to two interfaces.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab import egress as egress_addresses
from lab.api import address_views
from lab.api.associations import Associations
from lab.running_api import RunningApi, running_api


@pytest.fixture
def api() -> Iterator[RunningApi]:
    """Instances whose interfaces have four private addresses at most (EC2 User Guide, "Maximum IP addresses per network interface")."""
    with running_api(instance_type="t3.small") as running:
        yield running


@pytest.fixture
def a(api: RunningApi) -> Any:
    return api.ids.zones["a"]


@pytest.fixture
def b(api: RunningApi) -> Any:
    return api.ids.zones["b"]


def assigned(ec2: Any, zone: Any) -> list[str]:
    """The private addresses of a node's interface."""
    [found] = ec2.describe_network_interfaces(NetworkInterfaceIds=[zone.interface_id])["NetworkInterfaces"]
    return [each["PrivateIpAddress"] for each in found["PrivateIpAddresses"]]


def placed(ec2: Any, zone: Any) -> tuple[str | None, str | None]:
    """Where DescribeAddresses says that a zone's Elastic IP is."""
    [found] = ec2.describe_addresses(AllocationIds=[zone.allocation_id])["Addresses"]
    return found.get("NetworkInterfaceId"), found.get("PrivateIpAddress")


def shown(ec2: Any, zone: Any) -> dict[str, str]:
    """Private to public address of a node, as DescribeNetworkInterfaces and DescribeInstances agree."""
    [interface] = ec2.describe_network_interfaces(NetworkInterfaceIds=[zone.interface_id])["NetworkInterfaces"]
    [reservation] = ec2.describe_instances(InstanceIds=[zone.instance_id])["Reservations"]
    views = [
        {
            each["PrivateIpAddress"]: each["Association"]["PublicIp"]
            for each in view["PrivateIpAddresses"]
            if "Association" in each
        }
        for view in (interface, reservation["Instances"][0]["NetworkInterfaces"][0])
    ]
    assert views[0] == views[1]
    return views[0]


# --- AssociateAddress --------------------------------------------------------------------------------------------------------------


def test_an_elastic_ip_belongs_to_one_private_address(api: RunningApi, ec2: Any, a: Any, b: Any) -> None:
    # AssociateAddress, PrivateIpAddress: "If no private IP address is specified, the Elastic IP address is associated with the primary".
    ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, PrivateIpAddresses=["10.0.1.20"])
    assert placed(ec2, b) == (b.interface_id, "10.0.1.10")
    ec2.associate_address(AllocationId=a.allocation_id, NetworkInterfaceId=b.interface_id, PrivateIpAddress="10.0.1.20")
    assert placed(ec2, a) == (b.interface_id, "10.0.1.20")
    assert shown(ec2, b) == {"10.0.1.10": b.public_ip, "10.0.1.20": a.public_ip}
    assert shown(ec2, a) == {}
    found = ec2.describe_addresses(Filters=[{"Name": "private-ip-address", "Values": ["10.0.1.20"]}])["Addresses"]
    assert [each["PublicIp"] for each in found] == [a.public_ip]
    assert (api.instance("nat-a").public_ip, api.instance("nat-b").public_ip) == (None, b.public_ip)


def test_reassociation_is_automatic_unless_it_is_refused(ec2: Any, a: Any, b: Any, refusal: Callable[..., str]) -> None:
    # AssociateAddress, AllowReassociation: "Reassociation is automatic, but you can specify false to ensure the operation fails if the
    # Elastic IP address is already associated with another resource." The words of the error: cloudfoundry/docs-bosh, "AWS CPI Errors".
    [held] = ec2.describe_addresses(AllocationIds=[a.allocation_id])["Addresses"]
    wanted = {"AllocationId": a.allocation_id, "NetworkInterfaceId": b.interface_id}
    assert refusal(ec2.associate_address, **wanted, AllowReassociation=False) == (
        f"Resource.AlreadyAssociated: resource {a.allocation_id} is already associated with associate-id {held['AssociationId']}"
    )
    assert placed(ec2, a) == (a.interface_id, a.private_ip)
    moved = ec2.associate_address(**wanted)["AssociationId"]
    assert placed(ec2, a) == (b.interface_id, b.private_ip) and moved != held["AssociationId"]
    assert placed(ec2, b) == (None, None), "the existing address is disassociated, but remains allocated"
    assert ec2.associate_address(**wanted, AllowReassociation=False)["AssociationId"] == moved, "it is idempotent"


def test_what_is_no_address_of_the_interface(ec2: Any, a: Any, b: Any, refusal: Callable[..., str]) -> None:
    # AWS refuses it; the words are not confirmed.
    got = refusal(
        ec2.associate_address,
        AllocationId=a.allocation_id,
        NetworkInterfaceId=b.interface_id,
        PrivateIpAddress="10.0.1.99",
    )
    assert got.startswith("InvalidParameterValue: ") and "10.0.1.99" in got
    assert placed(ec2, a) == (a.interface_id, a.private_ip)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"AllocationId": "eipalloc-0fffffffffffffff0", "NetworkInterfaceId": "{eni}"}, "InvalidAllocationID.NotFound"),
        ({"PublicIp": "203.0.113.99", "NetworkInterfaceId": "{eni}"}, "InvalidAddress.NotFound"),
        (
            {"AllocationId": "{eip}", "NetworkInterfaceId": "eni-0fffffffffffffff0"},
            "InvalidNetworkInterfaceID.NotFound",
        ),
        ({"AllocationId": "{eip}", "InstanceId": "i-0fffffffffffffff0"}, "InvalidInstanceID.NotFound"),
        ({"AllocationId": "{eip}"}, "MissingParameter"),
        ({"NetworkInterfaceId": "{eni}"}, "MissingParameter"),
    ],
)
def test_what_is_not_there(ec2: Any, a: Any, b: Any, refusal: Callable[..., str], parameters: Any, code: str) -> None:
    filled = {name: value.format(eni=b.interface_id, eip=a.allocation_id) for name, value in parameters.items()}
    assert refusal(ec2.associate_address, **filled).partition(":")[0] == code


# --- DisassociateAddress, ReleaseAddress, AllocateAddress -----------------------------------------------------------------------------


def test_an_address_is_disassociated_before_it_is_released(ec2: Any, a: Any, refusal: Callable[..., str]) -> None:
    # ReleaseAddress: "You must use DisassociateAddress ... Otherwise, Amazon EC2 returns an error (InvalidIPAddress.InUse)."
    assert refusal(ec2.release_address, AllocationId=a.allocation_id).startswith("InvalidIPAddress.InUse")
    [held] = ec2.describe_addresses(AllocationIds=[a.allocation_id])["Addresses"]
    ec2.disassociate_address(AssociationId=held["AssociationId"])
    assert shown(ec2, a) == {}
    got = refusal(ec2.disassociate_address, AssociationId=held["AssociationId"])
    assert got.startswith("InvalidAssociationID.NotFound")
    ec2.release_address(AllocationId=a.allocation_id)
    assert refusal(ec2.describe_addresses, AllocationIds=[a.allocation_id]).startswith("InvalidAllocationID.NotFound")
    made = ec2.allocate_address(Domain="vpc")
    assert placed(ec2, type("Zone", (), {"allocation_id": made["AllocationId"]})) == (None, None)


def test_a_terminated_instance_leaves_its_addresses_allocated(api: RunningApi, ec2: Any, a: Any, b: Any) -> None:
    # EC2 User Guide, "Elastic IP addresses": terminating an instance disassociates them. Not while it shuts down.
    ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, PrivateIpAddresses=["10.0.1.20"])
    ec2.associate_address(AllocationId=a.allocation_id, NetworkInterfaceId=b.interface_id, PrivateIpAddress="10.0.1.20")
    ec2.terminate_instances(InstanceIds=[b.instance_id])
    assert placed(ec2, a) == (b.interface_id, "10.0.1.20")
    end = time.monotonic() + 30
    while placed(ec2, a) != (None, None) and time.monotonic() < end:
        time.sleep(0.05)
    assert placed(ec2, a) == placed(ec2, b) == (None, None)


def test_a_deleted_nat_gateway_leaves_its_address(ec2: Any, a: Any, refusal: Callable[..., str]) -> None:
    # VPC User Guide, "Delete a NAT gateway": deleting one disassociates its Elastic IP address, but does not release it.
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=a.public_subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert refusal(ec2.release_address, AllocationId=address).startswith("InvalidIPAddress.InUse")
    ec2.delete_nat_gateway(NatGatewayId=made)
    ec2.release_address(AllocationId=address)


# --- AssignPrivateIpAddresses, UnassignPrivateIpAddresses -------------------------------------------------------------------------------


def test_a_secondary_address_is_assigned_once(ec2: Any, a: Any, b: Any, refusal: Callable[..., str]) -> None:
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, PrivateIpAddresses=["10.0.1.20"])
    assert [each["PrivateIpAddress"] for each in given["AssignedPrivateIpAddresses"]] == ["10.0.1.20"]
    again = ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, PrivateIpAddresses=["10.0.1.20"])
    assert again["NetworkInterfaceId"] == b.interface_id
    assert assigned(ec2, b) == ["10.0.1.10", "10.0.1.20"]
    other = ec2.create_network_interface(SubnetId=b.public_subnet)["NetworkInterface"]["NetworkInterfaceId"]
    wanted = {"NetworkInterfaceId": other, "PrivateIpAddresses": ["10.0.1.20"]}
    # The code of RunInstances for an address that is taken.
    assert refusal(ec2.assign_private_ip_addresses, **wanted).startswith("InvalidIPAddress.InUse")
    # AssignPrivateIpAddresses: an Elastic IP that is associated with a moved secondary address is moved too.
    ec2.associate_address(AllocationId=a.allocation_id, NetworkInterfaceId=b.interface_id, PrivateIpAddress="10.0.1.20")
    ec2.assign_private_ip_addresses(**wanted, AllowReassignment=True)
    assert assigned(ec2, b) == ["10.0.1.10"]
    assert placed(ec2, a) == (other, "10.0.1.20")


def test_addresses_by_number(ec2: Any, b: Any, refusal: Callable[..., str]) -> None:
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, SecondaryPrivateIpAddressCount=2)
    new = [each["PrivateIpAddress"] for each in given["AssignedPrivateIpAddresses"]]
    assert len(new) == 2 and assigned(ec2, b) == ["10.0.1.10", *new]
    # t3.small: four per interface. EC2 API Reference, "Error codes": PrivateIpAddressLimitExceeded.
    got = refusal(ec2.assign_private_ip_addresses, NetworkInterfaceId=b.interface_id, SecondaryPrivateIpAddressCount=2)
    assert got.startswith("PrivateIpAddressLimitExceeded")
    assert assigned(ec2, b) == ["10.0.1.10", *new]


@pytest.mark.parametrize("address", ["10.0.0.20", "10.0.1.3", "10.0.1.255"])
def test_an_address_that_the_subnet_cannot_give(ec2: Any, b: Any, refusal: Callable[..., str], address: str) -> None:
    # VPC User Guide, "Subnet CIDR blocks": the first four addresses and the last one are reserved.
    got = refusal(ec2.assign_private_ip_addresses, NetworkInterfaceId=b.interface_id, PrivateIpAddresses=[address])
    assert got.startswith("InvalidParameterValue") and address in got


def test_an_address_is_taken_back(ec2: Any, a: Any, b: Any, refusal: Callable[..., str]) -> None:
    ec2.assign_private_ip_addresses(NetworkInterfaceId=b.interface_id, PrivateIpAddresses=["10.0.1.20"])
    ec2.associate_address(AllocationId=a.allocation_id, NetworkInterfaceId=b.interface_id, PrivateIpAddress="10.0.1.20")
    take = {"NetworkInterfaceId": b.interface_id}
    # The words: as several clients of AWS compare them.
    assert refusal(ec2.unassign_private_ip_addresses, **take, PrivateIpAddresses=["10.0.1.21"]) == (
        f"InvalidParameterValue: Some of the specified addresses are not assigned to interface {b.interface_id}"
    )
    assert refusal(ec2.unassign_private_ip_addresses, **take, PrivateIpAddresses=["10.0.1.10"]).startswith(
        "InvalidParameterValue"
    )
    ec2.unassign_private_ip_addresses(**take, PrivateIpAddresses=["10.0.1.20"])
    assert assigned(ec2, b) == ["10.0.1.10"]
    assert placed(ec2, a) == (None, None)


def test_a_small_instance_has_two_addresses_on_its_interface(refusal: Callable[..., str]) -> None:
    with running_api() as small:
        ec2, eni = small.client(), small.ids.zones["a"].interface_id
        ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.20"])
        got = refusal(ec2.assign_private_ip_addresses, NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.21"])
        assert got.startswith("PrivateIpAddressLimitExceeded")


# --- dry runs and permissions -----------------------------------------------------------------------------------------------------------


# AssignPrivateIpAddresses and UnassignPrivateIpAddresses have no DryRun.
def test_a_dry_run_changes_nothing(api: RunningApi, ec2: Any, a: Any, b: Any, refusal: Callable[..., str]) -> None:
    with api.api.lock:
        egress = egress_addresses.add(api.ids)
    [held] = ec2.describe_addresses(AllocationIds=[a.allocation_id])["Addresses"]
    free = ec2.allocate_address(Domain="vpc")["AllocationId"]
    calls: dict[str, dict[str, Any]] = {
        "associate_address": {
            "AllocationId": egress["a"].allocation_id,
            "NetworkInterfaceId": b.interface_id,
            "PrivateIpAddress": egress["a"].waiting["b"],
        },
        "disassociate_address": {"AssociationId": held["AssociationId"]},
        "allocate_address": {"Domain": "vpc"},
        "release_address": {"AllocationId": free},
    }
    before = (ec2.describe_addresses()["Addresses"], api.api.snapshot())
    for call, parameters in calls.items():
        with pytest.raises(ClientError) as caught:
            getattr(ec2, call)(**parameters, DryRun=True)
        assert caught.value.response["Error"]["Code"] == "DryRunOperation", call
    assert (ec2.describe_addresses()["Addresses"], api.api.snapshot()) == before


# --- the metadata service, and the time that an association takes --------------------------------------------------------------------------


def test_egress_addresses_of_the_reference_vpc(api: RunningApi, ec2: Any, a: Any, b: Any) -> None:
    with api.api.lock:
        egress = egress_addresses.add(api.ids)
    assert assigned(ec2, a) == ["10.0.0.10", "10.0.0.20", "10.0.0.21"]
    assert shown(ec2, a) == {"10.0.0.10": a.public_ip, "10.0.0.20": egress["a"].public_ip}
    assert shown(ec2, b) == {"10.0.1.10": b.public_ip, "10.0.1.21": egress["b"].public_ip}
    assert egress["a"].waiting == {"b": "10.0.1.20"}
    with api.api.lock:
        model = api.api.model
        found = address_views.public_addresses(model, model.enis[a.interface_id])
    assert found == shown(ec2, a)


def test_changes_take_effect_in_their_order_and_after_the_delay() -> None:
    now, called = [0.0], []
    delayed = Associations(lambda: called.append(now[0]), lambda: now[0])
    one, two, three = {"10.0.0.10": "203.0.113.1"}, {"10.0.0.10": "203.0.113.2"}, {"10.0.1.10": "203.0.113.2"}
    assert delayed.follow(one) == one
    assert delayed.follow(two) == two, "no delay unless it is wanted"
    delayed.delay(5, two)
    assert delayed.follow(three) == two
    now[0] = 2.0
    assert delayed.follow(one) == two
    now[0] = 5.0
    assert delayed.follow(one) == three
    delayed.delay(0, one)
    assert delayed.follow(two) == three, "what is under way is not overtaken"
    now[0] = 7.0
    assert delayed.follow(two) == two
    delayed.close()


def test_the_control_delays_what_the_gateway_does_and_not_what_ec2_says(a: Any) -> None:
    seen: list[dict[str, str]] = []
    with running_api(on_change=lambda snapshot: seen.append(dict(snapshot.translated))) as api:
        ec2, ids = api.client(), api.ids.zones
        assert api.control("addresses", {"delay_s": 0.3}) == {"delay_s": 0.3}
        begin = time.monotonic()
        ec2.associate_address(AllocationId=ids["a"].allocation_id, NetworkInterfaceId=ids["b"].interface_id)
        assert placed(ec2, ids["a"]) == (ids["b"].interface_id, "10.0.1.10")
        assert seen[-1] == {"10.0.0.10": "203.0.113.10", "10.0.1.10": "203.0.113.11"}
        while seen[-1] != {"10.0.1.10": "203.0.113.10"}:
            assert time.monotonic() < begin + 5
            time.sleep(0.01)
        assert time.monotonic() >= begin + 0.3
        with pytest.raises(ValueError, match="delay_s must be from 0 to 3600"):
            api.control("addresses", {"delay_s": -1})
        assert api.control("reset")["addresses"] == {"delay_s": 0.0}
