# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 adapter reads and writes instances: nodes by their tags, power, tags, the source/destination check."""

from __future__ import annotations

import time

import pytest

from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import Node
from tests.integration.adapter.changes import name_it, until

NOBODY = "i-0fffffffffffffff0"

# --- instances -------------------------------------------------------------------------------------------------------------------


def test_instances_as_they_are(world):
    view = world.instances(world.nodes)["nat-b"]
    assert (view.state, view.interface_id, view.address) == ("running", world.interface("b"), "10.0.1.10")
    assert (view.source_dest_check, view.availability_zone, view.ipv6_addresses) == (True, "eu-west-1b", ())
    assert view.tags == {"Name": "nat-b", "nat-failover:cluster": "lab", "nat-failover:node": "nat-b"}


def test_an_unknown_instance_is_terminated_and_spoils_no_other(world):
    views = world.instances([*world.nodes, Node("nat-c", NOBODY, ())])
    assert {name: view.state for name, view in views.items()} == {
        "nat-a": "running",
        "nat-b": "running",
        "nat-c": "terminated",
    }
    assert views["nat-c"].interface_id is None


def test_nodes_are_found_by_their_tags_in_one_call(world):
    nodes = [Node("left", "", ()), Node("right", "", ())]
    for zone, name in (("a", "left"), ("b", "right")):
        name_it(world, world.instance(zone), node=name)
    before = len(world.api.calls(caller="nat-a"))
    views = world.instances(nodes, cluster="lab")
    assert [views[name].instance_id for name in ("left", "right")] == [world.instance("a"), world.instance("b")]
    assert views["left"].interface_id == world.interface("a")
    assert len(world.api.calls(caller="nat-a")) == before + 1
    assert {view.instance_id for view in world.instances(nodes, cluster="other").values()} == {""}


def test_a_node_without_the_clusters_tag_is_found_by_its_id_with_one_more_call(world):
    world.api.client().delete_tags(Resources=[world.instance("b")], Tags=[{"Key": "nat-failover:cluster"}])
    before = len(world.api.calls(caller="nat-a"))
    assert world.instances(world.nodes, cluster="lab")["nat-b"].instance_id == world.instance("b")
    assert len(world.api.calls(caller="nat-a")) == before + 2


def test_the_replacement_of_an_instance_is_younger_and_takes_its_place(world):
    client, old = world.api.client(), world.instance("b")
    nodes = [world.nodes[0], Node("nat-b", old, ())]
    tags = [
        {"Key": "nat-failover:cluster", "Value": "lab"},
        {"Key": "nat-failover:node", "Value": "nat-b"},
    ]
    launched = client.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        SubnetId=world.ids.zones["b"].public_subnet,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"][0]["InstanceId"]
    view = world.instances(nodes, cluster="lab")["nat-b"]
    assert (view.instance_id, view.rivals) == (old, (launched,))
    client.terminate_instances(InstanceIds=[old])
    view = world.instances(nodes, cluster="lab")["nat-b"]
    assert (view.instance_id, view.rivals) == (launched, ())


def test_instances_of_every_page_are_read(world):
    whole = world.instances(world.nodes, cluster="lab")
    world.api.fault("DescribeInstances", page_items=1)
    paged = world.instances(world.nodes, cluster="lab")
    assert {name: view.instance_id for name, view in paged.items()} == {
        "nat-a": world.instance("a"),
        "nat-b": world.instance("b"),
    }
    assert {name: view.tags for name, view in paged.items()} == {name: view.tags for name, view in whole.items()}
    read = world.api.calls(action="DescribeInstances")[1:]
    assert [bool(call.parameters.get("NextToken")) for call in read] == [False] + [True] * (len(read) - 1)
    assert len(read) >= 2


def test_a_terminated_instance(world):
    world.api.client().terminate_instances(InstanceIds=[world.instance("b")])
    until(lambda: world.api.instance(world.instance("b")).state == "terminated")
    assert world.instances(world.nodes)["nat-b"].state == "terminated"


def state(world, zone="b"):
    return world.instances(world.nodes)[f"nat-{zone}"].state


def test_stop_and_start(world):
    world.ec2.stop(world.instance("b"))
    assert state(world) == "stopping"
    until(lambda: state(world) == "stopped")
    world.ec2.start(world.instance("b"))
    assert state(world) == "pending"
    until(lambda: state(world) == "running")


def test_a_stop_that_hangs_is_forced(world):
    world.api.control("stuck", {"instance": "nat-b"})
    world.ec2.stop(world.instance("b"))
    time.sleep(0.4)
    assert state(world) == "stopping"
    world.ec2.stop(world.instance("b"), force=True)
    until(lambda: state(world) == "stopped")
    assert [call.parameters["Force"] for call in world.api.calls(action="StopInstances")] == ["false", "true"]


def test_reboot(world):
    world.ec2.reboot(world.instance("b"))
    assert state(world) == "running"
    [call] = world.api.calls(action="RebootInstances")
    assert call.ok


def test_reboot_of_a_stopped_instance_may_be_tried_later(world):
    world.ec2.stop(world.instance("b"))
    with pytest.raises(Ec2Error) as caught:
        world.ec2.reboot(world.instance("b"))
    assert (caught.value.code, caught.value.retryable) == ("IncorrectInstanceState", True)


@pytest.mark.parametrize("call", ["stop", "start", "reboot"])
def test_power_of_an_unknown_instance(world, call):
    with pytest.raises(Ec2Error) as caught:
        getattr(world.ec2, call)(NOBODY)
    assert (caught.value.code, caught.value.retryable) == ("InvalidInstanceID.NotFound", False)


# --- tags and the source/destination check -----------------------------------------------------------------------------------------


def test_tags(world):
    def tags():
        return dict(world.instances(world.nodes)["nat-b"].tags)

    before = tags()
    world.ec2.set_tag(world.instance("b"), "nat-failover:fence", "nat-a:stop")
    world.ec2.set_tag(world.instance("b"), "nat-failover:fence", "nat-a:started")
    assert tags() == {**before, "nat-failover:fence": "nat-a:started"}
    for _turn in range(2):  # what is not there is fine
        world.ec2.delete_tag(world.instance("b"), "nat-failover:fence")
    assert tags() == before


def test_a_tag_is_cut_to_what_ec2_takes(world):
    world.ec2.set_tag(world.instance("a"), "nat-failover:drained", "x" * 300)
    assert world.instances(world.nodes)["nat-a"].tags["nat-failover:drained"] == "x" * 256


def test_source_dest_check(world):
    for wanted in (False, True):
        world.ec2.set_source_dest_check(world.instance("a"), wanted)
        assert world.ec2.source_dest_check(world.instance("a")) is wanted
        assert world.instances(world.nodes)["nat-a"].source_dest_check is wanted
        assert world.api.instance("nat-a").source_dest_check is wanted


def test_source_dest_check_of_an_instance_with_two_interfaces(world):
    # The instance-level call is refused here; the primary interface is the one that counts.
    client = world.api.client()
    second = client.create_network_interface(SubnetId=world.ids.zones["a"].public_subnet)["NetworkInterface"]
    client.attach_network_interface(
        NetworkInterfaceId=second["NetworkInterfaceId"], InstanceId=world.instance("a"), DeviceIndex=1
    )
    world.ec2.set_source_dest_check(world.instance("a"), False)
    assert world.ec2.source_dest_check(world.instance("a")) is False
    assert world.instances(world.nodes)["nat-a"].interface_id == world.interface("a")


def test_source_dest_check_of_an_unknown_instance(world):
    with pytest.raises(Ec2Error, match=NOBODY):
        world.ec2.source_dest_check(NOBODY)
