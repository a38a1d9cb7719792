# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances where plain moto differs from AWS. Sources: EC2 API Reference and EC2 User Guide ("Instance lifecycle") unless named."""

from __future__ import annotations

import threading
import time

import pytest

from lab.running_api import running_api

NOBODY = "i-0fffffffffffffff0"


@pytest.fixture
def a(api):
    return api.ids.zones["a"]


@pytest.fixture
def b(api):
    return api.ids.zones["b"]


def described(ec2, instance_id):
    [reservation] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]


def state(ec2, instance_id):
    return described(ec2, instance_id)["State"]["Name"]


def until(condition, within=5.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- states take time ------------------------------------------------------------------------------------------------------------


def test_stop_and_start_take_time(ec2, b):
    [change] = ec2.stop_instances(InstanceIds=[b.instance_id])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    assert state(ec2, b.instance_id) == "stopping"
    until(lambda: state(ec2, b.instance_id) == "stopped")
    [change] = ec2.start_instances(InstanceIds=[b.instance_id])["StartingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopped", "pending")
    assert state(ec2, b.instance_id) == "pending"
    until(lambda: state(ec2, b.instance_id) == "running")
    assert described(ec2, b.instance_id)["PrivateIpAddress"] == b.private_ip


def test_termination_takes_time(ec2, b):
    ec2.terminate_instances(InstanceIds=[b.instance_id])
    assert state(ec2, b.instance_id) == "shutting-down"
    until(lambda: state(ec2, b.instance_id) == "terminated")


def test_a_stop_that_hangs_needs_force(api, ec2, b):
    # EC2 User Guide, "Troubleshoot Amazon EC2 instance stop issues".
    api.control("stuck", {"instance": "nat-b"})
    ec2.stop_instances(InstanceIds=[b.instance_id])
    time.sleep(0.4)  # twice the time that a stop takes here
    ec2.stop_instances(InstanceIds=[b.instance_id])
    assert state(ec2, b.instance_id) == "stopping"
    ec2.stop_instances(InstanceIds=[b.instance_id], Force=True)
    until(lambda: state(ec2, b.instance_id) == "stopped")


def test_an_operator_may_free_what_hangs(api, ec2, b):
    api.control("stuck", {"instance": "nat-b"})
    ec2.stop_instances(InstanceIds=[b.instance_id])
    assert api.control("stuck", {"instance": "nat-b", "stuck": False}) == {"stuck": []}
    until(lambda: state(ec2, b.instance_id) == "stopped")


def test_the_hosts_follow_and_the_state_waits_for_them():
    seen, gate = [], threading.Event()

    def power(instance_id, word):
        seen.append((instance_id, word))
        assert gate.wait(10)

    with running_api(power=power, transition_s=0.0) as api:
        ec2, b = api.client(), api.ids.zones["b"]
        ec2.stop_instances(InstanceIds=[b.instance_id])
        until(lambda: seen == [(b.instance_id, "off")])
        assert state(ec2, b.instance_id) == "stopping"
        gate.set()
        until(lambda: state(ec2, b.instance_id) == "stopped")
        ec2.start_instances(InstanceIds=[b.instance_id])
        until(lambda: state(ec2, b.instance_id) == "running")
        ec2.reboot_instances(InstanceIds=[b.instance_id])
        until(lambda: [word for _instance, word in seen] == ["off", "on", "reboot"])


# --- refusals ----------------------------------------------------------------------------------------------------------------------


def test_a_stopped_instance_is_not_rebooted(ec2, b, refusal):
    # AWS refuses it; the code is not confirmed.
    ec2.stop_instances(InstanceIds=[b.instance_id])
    until(lambda: state(ec2, b.instance_id) == "stopped")
    assert refusal(ec2.reboot_instances, InstanceIds=[b.instance_id]).startswith("IncorrectInstanceState")
    assert state(ec2, b.instance_id) == "stopped"


@pytest.mark.parametrize("call", ["start_instances", "stop_instances", "reboot_instances"])
def test_a_terminated_instance_stays_so(ec2, b, refusal, call):
    ec2.terminate_instances(InstanceIds=[b.instance_id])
    until(lambda: state(ec2, b.instance_id) == "terminated")
    assert refusal(getattr(ec2, call), InstanceIds=[b.instance_id]).startswith("IncorrectInstanceState")
    assert state(ec2, b.instance_id) == "terminated"


@pytest.mark.parametrize("call", ["start_instances", "stop_instances", "reboot_instances", "terminate_instances"])
def test_one_unknown_instance_spoils_the_call(ec2, a, refusal, call):
    got = refusal(getattr(ec2, call), InstanceIds=[a.instance_id, NOBODY])
    assert got == f"InvalidInstanceID.NotFound: The instance ID '{NOBODY}' does not exist"
    assert state(ec2, a.instance_id) == "running"


def test_stop_protection(ec2, b, refusal):
    ec2.modify_instance_attribute(InstanceId=b.instance_id, DisableApiStop={"Value": True})
    assert refusal(ec2.stop_instances, InstanceIds=[b.instance_id]).startswith("OperationNotPermitted")
    assert state(ec2, b.instance_id) == "running"


@pytest.mark.parametrize("call", ["describe_instances", "stop_instances"])
def test_a_malformed_id(ec2, refusal, call):
    assert refusal(getattr(ec2, call), InstanceIds=["i-1"]) == 'InvalidInstanceID.Malformed: Invalid id: "i-1"'


# --- status checks -----------------------------------------------------------------------------------------------------------------


def status(ec2, instance_id):
    [found] = ec2.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)["InstanceStatuses"]
    return found["InstanceStatus"]["Status"], found["SystemStatus"]["Status"]


def test_status_checks_can_fail(api, ec2, b):
    assert status(ec2, b.instance_id) == ("ok", "ok")
    api.control("impaired", {"instance": "nat-b"})
    assert status(ec2, b.instance_id) == ("impaired", "ok")
    api.control("impaired", {"instance": "nat-b", "instance_status": "ok", "system_status": "impaired"})
    assert status(ec2, b.instance_id) == ("ok", "impaired")
    ec2.stop_instances(InstanceIds=[b.instance_id])
    assert status(ec2, b.instance_id) == ("not-applicable", "not-applicable")


# --- the source/destination check: one flag, that of the primary interface -----------------------------------------------------------


def checks(api, ec2, zone):
    shown = described(ec2, zone.instance_id)
    [interface] = ec2.describe_network_interfaces(NetworkInterfaceIds=[zone.interface_id])["NetworkInterfaces"]
    return {
        shown["SourceDestCheck"],
        shown["NetworkInterfaces"][0]["SourceDestCheck"],
        interface["SourceDestCheck"],
        api.instance(zone.instance_id).source_dest_check,
    }


def test_the_instance_and_its_interface_share_one_flag(api, ec2, a):
    assert checks(api, ec2, a) == {True}
    ec2.modify_instance_attribute(InstanceId=a.instance_id, SourceDestCheck={"Value": False})
    assert checks(api, ec2, a) == {False}
    ec2.modify_network_interface_attribute(NetworkInterfaceId=a.interface_id, SourceDestCheck={"Value": True})
    assert checks(api, ec2, a) == {True}


def test_with_several_interfaces_only_the_interface_call_works(api, ec2, a, refusal):
    # github.com/hashicorp/terraform-provider-aws/issues/7107
    second = ec2.create_network_interface(SubnetId=a.public_subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=a.instance_id, DeviceIndex=1)
    got = refusal(ec2.modify_instance_attribute, InstanceId=a.instance_id, SourceDestCheck={"Value": False})
    assert got.startswith("InvalidInstanceID: There are multiple interfaces attached to instance")
    ec2.modify_network_interface_attribute(NetworkInterfaceId=a.interface_id, SourceDestCheck={"Value": False})
    assert described(ec2, a.instance_id)["SourceDestCheck"] is False


# --- tags and addresses --------------------------------------------------------------------------------------------------------------


def test_tags_of_what_is_not_there(ec2, refusal):
    got = refusal(ec2.create_tags, Resources=[NOBODY], Tags=[{"Key": "k", "Value": "v"}])
    assert got.startswith("InvalidInstanceID.NotFound")


def test_reserved_tags(ec2, a, refusal):
    # EC2 User Guide, "Tag restrictions": the aws: prefix is reserved.
    got = refusal(ec2.create_tags, Resources=[a.instance_id], Tags=[{"Key": "aws:x", "Value": "v"}])
    assert got.startswith("InvalidParameterValue") and "reserved for internal use" in got


def test_a_moved_address_leaves_its_old_instance(api, ec2, a, b):
    [held] = ec2.describe_addresses(AllocationIds=[b.allocation_id])["Addresses"]
    ec2.disassociate_address(AssociationId=held["AssociationId"])
    ec2.associate_address(AllocationId=a.allocation_id, InstanceId=b.instance_id, AllowReassociation=True)
    assert described(ec2, a.instance_id).get("PublicIpAddress") is None
    assert described(ec2, b.instance_id)["PublicIpAddress"] == a.public_ip
    assert (api.instance("nat-a").public_ip, api.instance("nat-b").public_ip) == (None, a.public_ip)
