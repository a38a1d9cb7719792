# SPDX-License-Identifier: GPL-3.0-or-later
"""private_addresses: what is refused before the first change, with one line for each thing, and what EC2 answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

WHO = {"instance_id": "i-0aaaaaaaaaaaaaaaa", "region": "eu-west-1"}


class Client:
    """boto3's client of EC2, with one interface. ``deaf`` accepts a write and forgets it; ``errors`` are raised by operation."""

    def __init__(self, held=("10.0.0.10",), kind="t4g.nano", room=2):
        self.held, self.kind, self.most = list(held), kind, room
        self.calls, self.errors, self.deaf, self.gone = [], {}, False, False

    def _say(self, name, given):
        self.calls.append((name, given))
        if name in self.errors:
            raise self.errors[name]

    def describe_instances(self, **given):
        self._say("describe_instances", given)
        rows = [{"PrivateIpAddress": each, "Primary": each == "10.0.0.10"} for each in reversed(self.held)]
        interface = {"NetworkInterfaceId": "eni-a", "SubnetId": "subnet-a", "Attachment": {"DeviceIndex": 0}}
        other = {**interface, "NetworkInterfaceId": "eni-x", "Attachment": {"DeviceIndex": 1}, "PrivateIpAddresses": []}
        interfaces = [] if self.gone else [other, {**interface, "PrivateIpAddresses": rows}]
        state = {"Name": "terminated" if self.gone else "running"}
        instance = {"InstanceType": self.kind, "State": state, "NetworkInterfaces": interfaces}
        return {"Reservations": [{"Instances": [instance]}]}

    def describe_subnets(self, **given):
        self._say("describe_subnets", given)
        return {"Subnets": [{"CidrBlock": "10.0.0.0/24"}]}

    def describe_instance_types(self, **given):
        self._say("describe_instance_types", given)
        found = [{"NetworkInfo": {"Ipv4AddressesPerInterface": self.most}}] if self.most else []
        return {"InstanceTypes": found}

    def assign_private_ip_addresses(self, **given):
        self._say("assign_private_ip_addresses", given)
        self.held += [] if self.deaf else given["PrivateIpAddresses"]


@pytest.fixture
def ec2(monkeypatch):
    made = Client()
    session = SimpleNamespace(client=lambda service, endpoint_url=None: made)
    monkeypatch.setattr("boto3.session.Session", lambda **_where: session)
    return made


def names(ec2):
    return [name for name, _given in ec2.calls]


def denied(operation):
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "You are not\nauthorized"}}, operation)


def test_only_what_is_missing_is_assigned_and_never_taken_from_another_interface(run, ec2):
    ec2.most = 4
    ec2.held.append("10.0.0.20")
    result = run("private_addresses", addresses=["10.0.0.20", "10.0.0.21", "10.0.0.21"], **WHO)
    given = {"NetworkInterfaceId": "eni-a", "PrivateIpAddresses": ["10.0.0.21"], "AllowReassignment": False}
    assert ec2.calls[-2] == ("assign_private_ip_addresses", given)
    assert result["addresses"] == ["10.0.0.10", "10.0.0.20", "10.0.0.21"] and result["interface_id"] == "eni-a"


def test_with_all_addresses_there_one_call_reads_them(run, ec2):
    ec2.held.append("10.0.0.20")
    assert not run("private_addresses", addresses=["10.0.0.20"], **WHO)["changed"]
    assert names(ec2) == ["describe_instances"]


@pytest.mark.parametrize("check", [True, False])
def test_everything_that_cannot_be_is_named_before_the_first_change(run, ec2, check):
    result = run("private_addresses", check=check, addresses=["10.0.0.20", "10.0.1.21", "10.0.0.3"], **WHO)
    assert result["failed"] and result["msg"].split("; ")[::2] == [
        "10.0.1.21 is outside of 10.0.0.0/24, the subnet of eni-a",
        "10.0.0.3 is reserved by AWS in 10.0.0.0/24",
        "eni-a of a t4g.nano has room for 2 private addresses, and needs 4 (10.0.0.10, 10.0.0.20, 10.0.1.21, 10.0.0.3)",
    ]
    assert "take a larger instance type, or fewer waiting addresses" in result["msg"]
    assert "assign_private_ip_addresses" not in names(ec2)


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.3", "10.0.0.255"])
def test_addresses_that_aws_keeps_are_refused(run, ec2, address):
    assert "name one from 10.0.0.4 to 10.0.0.254" in run("private_addresses", addresses=[address], **WHO)["msg"]


def test_an_address_that_does_not_show_is_a_failure(run, ec2):
    ec2.deaf = True
    assert (
        "EC2 shows no 10.0.0.20 on eni-a after the write"
        in run("private_addresses", addresses=["10.0.0.20"], **WHO)["msg"]
    )


def test_an_instance_that_is_gone(run, ec2):
    ec2.gone = True
    assert "it is terminated" in run("private_addresses", addresses=["10.0.0.20"], **WHO)["msg"]


def test_a_permission_that_is_missing_is_named_in_one_line(run, ec2):
    ec2.errors = {"assign_private_ip_addresses": denied("AssignPrivateIpAddresses")}
    said = run("private_addresses", addresses=["10.0.0.20"], **WHO)["msg"]
    assert said == (
        "ec2:AssignPrivateIpAddresses of 10.0.0.20 to eni-a: UnauthorizedOperation: You are not authorized; "
        "allow ec2:AssignPrivateIpAddresses for the credentials of this run"
    )


def test_the_room_of_an_instance_type(run, ec2):
    given = {"instance_type": "t4g.small", "region": "eu-west-1"}
    assert run("instance_type_info", **given)["addresses_per_interface"] == 2
    ec2.most = 0
    assert "instance_type (got 't4g.small') is unknown in this region" in run("instance_type_info", **given)["msg"]
