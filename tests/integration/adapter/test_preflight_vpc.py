# SPDX-License-Identifier: GPL-3.0-or-later
"""The check against EC2 of what it finds: tables and nodes by their tags, networks, identities."""

from __future__ import annotations

import pytest

from lab import vpc
from lab.api import backend
from lab.egress import EgressIds
from nat_failover.errors import NatFailoverError
from nat_failover.service.preflight import check_online
from tests.integration.adapter.preflighted import allow_only_without, config_of, generated, give, nameless, refusal


@pytest.fixture
def guarded(iam, connect):
    """nat-a with the policy that is made for it, enforced, and nothing else."""
    world = connect(iam)
    give(world, generated(world))
    return world


# --- what is found by its tags -----------------------------------------------------------------------------------------------------


BY_TAGS = [{"name": "nat-a"}, {"name": "nat-b"}]


def tag(world, resource, **tags):
    named = [{"Key": f"nat-failover:{key}", "Value": value} for key, value in tags.items()]
    world.api.client().create_tags(Resources=[resource], Tags=named)


def test_a_configuration_by_tags(world):
    nameless(world)
    error = str(refusal(world, nodes=BY_TAGS))
    assert "nodes[0].name: no instance carries its tags (got 'nat-a')" in error
    assert "tag the instance with nat-failover:cluster=lab and nat-failover:node=nat-a" in error
    assert "nodes[1]" not in error, "a peer may come later"
    assert "no node is the home of any route table" in error
    tag(world, world.instance("a"), node="nat-a")
    tag(world, world.claim("b").route_table, home="nat-b")
    assert check_online(config_of(world, nodes=BY_TAGS), world.ec2)[:2] == [
        "1 instances found, without nat-b, which will be found by its tags",
        "1 routes read",
    ]


def test_two_homes_of_one_table_are_refused(world):
    tag(world, world.claim("a").route_table, home="nat-b")
    assert "has two homes: nat-a by the configuration, which counts, and nat-b by its tag" in str(refusal(world))


def test_tagged_tables_need_the_permission_for_tagged_tables(guarded):
    with guarded.api.api.lock:
        [table] = vpc.add_route_tables(1, guarded.ids.zones["b"])
    tag(guarded, table, home="nat-b")
    assert f"missing permission ec2:ReplaceRoute on route-table {table}" in str(refusal(guarded))


def test_where_no_routes_are_made_the_permission_for_it_is_not_needed(guarded, connect):
    give(guarded, generated(guarded, create_route=False))
    config = config_of(guarded, ec2={"create_routes": False})
    world = connect(guarded.api, create_routes=False)
    assert check_online(config, world.ec2)
    with pytest.raises(NatFailoverError, match="missing permission ec2:CreateRoute on route-table"):
        check_online(config, guarded.ec2)


def test_a_network_of_the_vpc_that_the_sources_lack_is_named(guarded):
    guarded.api.client().associate_vpc_cidr_block(VpcId=guarded.ids.vpc, CidrBlock="100.64.0.0/16")
    table = guarded.ids.zones["a"].route_table
    with guarded.api.api.lock:
        backend.ec2().create_route(table, "100.64.0.0/16", local=True)
    with pytest.raises(NatFailoverError, match=r"the VPC also has 100\.64\.0\.0/16, .* add it to sources"):
        check_online(config_of(guarded), guarded.ec2)
    assert check_online(config_of(guarded, ec2={"unserved_networks": ["100.64.0.0/16"]}), guarded.ec2)
    assert check_online(config_of(guarded, sources=["10.0.0.0/8", "100.64.0.0/10"]), guarded.ec2)


def test_an_instance_without_room_for_tags_is_named(guarded):
    peer = guarded.ids.zones["b"].instance_id
    have = len(guarded.api.client().describe_tags(Filters=[{"Name": "resource-id", "Values": [peer]}])["Tags"])
    more = [{"Key": f"finops:{number:02d}", "Value": "x"} for number in range(50 - have)]
    guarded.api.client().create_tags(Resources=[peer], Tags=more)
    words = rf"{peer} \(nat-b\) has 50 tags, and EC2 takes 50: the service needs room for .*flare.*; remove 4 others"
    with pytest.raises(NatFailoverError, match=words):
        check_online(config_of(guarded), guarded.ec2)
    guarded.api.client().delete_tags(Resources=[peer], Tags=[{"Key": each["Key"]} for each in more[:4]])
    assert check_online(config_of(guarded), guarded.ec2)


def test_a_member_in_another_vpc_is_refused(guarded):
    stranger = guarded.api.client().run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)["Instances"][0]
    me = guarded.ids.zones["a"]
    nodes = [
        {"name": "nat-a", "instance_id": me.instance_id, "route_tables": [me.route_table]},
        {"name": "nat-evil", "instance_id": stranger["InstanceId"], "route_tables": []},
    ]
    words = f"{stranger['InstanceId']} is in {stranger['VpcId']}, and this node \\(nat-a\\) is in {guarded.ids.vpc}"
    with pytest.raises(NatFailoverError, match=words):
        check_online(config_of(guarded, nodes=nodes), guarded.ec2)


# --- identities ---------------------------------------------------------------------------------------------------------------------


def identity_of_a(world, allocation):
    """The nodes of a configuration in which nat-a has an identity."""
    a, b = (
        {"name": zone.node, "instance_id": zone.instance_id, "route_tables": [zone.route_table]}
        for zone in world.ids.zones.values()
    )
    a.update(egress_address=allocation, egress_private_address="10.0.0.20", egress_networks=["10.0.10.0/24"])
    b.update(egress_waiting={"nat-a": "10.0.1.20"})
    return {"nodes": [a, b]}


def test_each_mistake_in_an_identity_that_ec2_shows_is_named(guarded):
    operator, ids = guarded.api.client(), guarded.ids
    elastic = operator.allocate_address(Domain="vpc")["AllocationId"]
    give(guarded, generated(guarded, identities={"a": EgressIds(elastic, "", "10.0.0.20", {})}))
    asked = identity_of_a(guarded, elastic)
    one_only = str(refusal(guarded, **asked))
    assert (
        f"{guarded.interface('a')} has no private address 10.0.0.20" in one_only
        and "nat_instance_manage_egress_addresses" in one_only
    )
    operator.assign_private_ip_addresses(NetworkInterfaceId=guarded.interface("a"), PrivateIpAddresses=["10.0.0.20"])
    assert check_online(config_of(guarded, **asked), guarded.ec2)
    unknown = identity_of_a(guarded, "eipalloc-0fffffffffffffff0")
    assert "EC2 shows no Elastic IP eipalloc-0fffffffffffffff0 in this region and account" in str(
        refusal(guarded, **unknown)
    )
    stranger = operator.create_network_interface(SubnetId=ids.zones["b"].public_subnet)["NetworkInterface"][
        "NetworkInterfaceId"
    ]
    operator.associate_address(AllocationId=elastic, NetworkInterfaceId=stranger)
    assert f"is associated with {stranger}, which is no node of this cluster; it is left alone" in str(
        refusal(guarded, **asked)
    )
    operator.associate_address(AllocationId=elastic, NetworkInterfaceId=guarded.interface("b"))
    assert "is the public address of nat-b itself" in str(refusal(guarded, **asked))
    operator.associate_address(
        AllocationId=elastic, NetworkInterfaceId=guarded.interface("a"), PrivateIpAddress="10.0.0.20"
    )
    assert check_online(config_of(guarded, **asked), guarded.ec2)
    [own] = operator.describe_addresses(AllocationIds=[ids.zones["a"].allocation_id])["Addresses"]
    operator.disassociate_address(AssociationId=own["AssociationId"])
    assert "nat-a has no public address of its own at 10.0.0.10" in str(refusal(guarded, **asked))


def test_a_permission_for_an_identity_that_is_missing_is_named(guarded):
    operator = guarded.api.client()
    elastic = operator.allocate_address(Domain="vpc")["AllocationId"]
    operator.assign_private_ip_addresses(NetworkInterfaceId=guarded.interface("a"), PrivateIpAddresses=["10.0.0.20"])
    identities = {"a": EgressIds(elastic, "", "10.0.0.20", {})}
    allow_only_without(guarded, "AssociateAddress", identities=identities)
    asked = identity_of_a(guarded, elastic)
    assert f"missing permission ec2:AssociateAddress on elastic-ip {elastic}" in str(refusal(guarded, **asked))
