# SPDX-License-Identifier: GPL-3.0-or-later
"""``check-config --online`` proves by dry runs, and names each thing that is missing."""

from __future__ import annotations

import json

import pytest

from lab import vpc
from lab.api import backend
from nat_failover.aws import ec2, permissions
from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error, NatFailoverError
from nat_failover.service.preflight import check_online
from tests.integration import generated_policy

FENCE_ACTIONS = {
    "stop_start": ("StopInstances", "StartInstances"),
    "reboot": ("RebootInstances",),
    "none": (),
}


def generated(world, **options):
    """The policy that the playbook iam_policy makes for the cluster."""
    return generated_policy.document(world.ids, **options)


def give(world, policy):
    with world.api.api.lock:
        backend.iam().put_role_policy("lab-nat-a", vpc.POLICY, json.dumps(policy))


@pytest.fixture
def guarded(iam, connect):
    """nat-a with the policy that is made for it, enforced, and nothing else."""
    world = connect(iam)
    give(world, generated(world))
    return world


def config_of(world, mode="full", fence="stop_start", **changes):
    raw = {
        "cluster": "lab",
        "self": world.name,
        "region": world.api.api.region,
        "mode": mode,
        "nodes": [
            {"name": zone.node, "instance_id": zone.instance_id, "route_tables": [zone.route_table]}
            for zone in world.ids.zones.values()
        ],
        "interface": "ens5",
        "fence": {"policy": fence},
        "key_file": "/etc/nat-failover/heartbeat.key",
        **changes,
    }
    return configuration.parse(raw)


def allow_only_without(world, *actions, **options):
    """The role's policy without some actions."""
    policy = generated(world, **options)
    for statement in policy["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each.removeprefix("ec2:") not in actions] or [
            "ec2:DescribeVpcs"
        ]
    give(world, policy)


def refusal(world, **options):
    with pytest.raises(NatFailoverError) as caught:
        check_online(config_of(world, **options), world.ec2)
    assert "\n" not in str(caught.value)
    return caught.value


def test_masquerading_ipv6_needs_an_address_that_ec2_knows(guarded):
    dual = {"sources": ["10.0.0.0/16", "2001:db8::/56"], "destinations": ["0.0.0.0/0", "::/0"]}
    error = refusal(guarded, **dual)
    assert "sources" in str(error) and "2001:db8::/56" in str(error) and "no IPv6 address of nat-a" in str(error)
    assert check_online(config_of(guarded, **dual, ipv6="forward"), guarded.ec2)[1] == "4 routes read"
    guarded.api.client().assign_ipv6_addresses(
        NetworkInterfaceId=guarded.interface("a"), Ipv6Addresses=["2001:db8::10"]
    )
    assert check_online(config_of(guarded, **dual), guarded.ec2)[1] == "4 routes read"


def test_a_prefix_list_that_is_not_there_is_named(guarded):
    assert "pl-0fffffffffffffff0" in str(refusal(guarded, destinations=["0.0.0.0/0", "pl-0fffffffffffffff0"]))


def dry_runs(world):
    return {(call.action, call.error) for call in world.api.calls(writes=True)}


@pytest.mark.parametrize("fence", list(FENCE_ACTIONS))
@pytest.mark.parametrize("mode", ["observe", "route", "full"])
def test_the_least_privilege_role_is_enough_and_nothing_is_changed(guarded, mode, fence):
    give(guarded, generated(guarded, mode=mode, fence=fence))
    before = guarded.api.api.snapshot()
    assert check_online(config_of(guarded, mode, fence), guarded.ec2) == [
        "2 instances found",
        "2 routes read",
        f"all permissions of mode {mode} are there",
    ]
    assert guarded.api.api.snapshot() == before
    actions = {"CreateTags", "DeleteTags"}
    if mode != "observe":
        actions |= {"ReplaceRoute", "CreateRoute"}
    if mode == "full":
        actions |= set(FENCE_ACTIONS[fence])
    asked = dry_runs(guarded)
    assert {action for action, _error in asked} == actions
    assert {error for _action, error in asked} <= {"DryRunOperation", "RouteAlreadyExists"}  # none took effect


WRITES = [
    ("CreateTags", "none", "instance {a}"),
    ("DeleteTags", "none", "instance {a}"),
    ("ReplaceRoute", "none", "route-table {table_a}"),
    ("CreateRoute", "none", "route-table {table_b}"),
    ("StopInstances", "stop_start", "instance {b}"),
    ("StartInstances", "stop_start", "instance {b}"),
    ("RebootInstances", "reboot", "instance {b}"),
]
READS = ["DescribeInstances", "DescribeRouteTables"]
# Named by others: the module source_dest_check (test_ec2_failures.py), and the witness table (test_witness.py).
ELSEWHERE = {"ec2:ModifyNetworkInterfaceAttribute", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"}


def test_no_permission_of_the_policy_is_left_out_here(guarded):
    policies = [
        generated(guarded, mode=mode, fence=fence, witness_table="witness")
        for mode in generated_policy.iam().MODES
        for fence in generated_policy.iam().FENCES
    ]
    asked = {action for policy in policies for statement in policy["Statement"] for action in statement["Action"]}
    assert asked - ELSEWHERE == {f"ec2:{action}" for action in [*READS, *(row[0] for row in WRITES)]}
    assert asked > ELSEWHERE


@pytest.mark.parametrize("action, fence, resource", WRITES)
def test_each_missing_permission_is_named_with_its_resource(guarded, action, fence, resource):
    allow_only_without(guarded, action, fence=fence)
    names = {"a": guarded.instance("a"), "b": guarded.instance("b")}
    names.update({f"table_{zone}": guarded.claim(zone).route_table for zone in "ab"})
    error = refusal(guarded, fence=fence)
    assert f"missing permission ec2:{action} on {resource.format(**names)}; allow it in the IAM policy" in str(error)
    assert str(error).count("missing permission") == str(error).count(f"ec2:{action} ")  # and no other


def test_all_missing_permissions_are_named_at_once(guarded):
    allow_only_without(guarded, "CreateRoute", "StopInstances")
    error = str(refusal(guarded))
    for line in ("CreateRoute on route-table", "StopInstances on instance"):
        assert line in error
    assert error.count("missing permission") == 3


def test_a_mode_that_needs_less_asks_for_less(guarded):
    allow_only_without(guarded, "StopInstances", "StartInstances", "RebootInstances")
    check_online(config_of(guarded, "route"), guarded.ec2)
    check_online(config_of(guarded, "full", "none"), guarded.ec2)


@pytest.mark.parametrize("action", READS)
def test_reading_that_is_not_allowed(guarded, action):
    allow_only_without(guarded, action)
    error = refusal(guarded)
    assert isinstance(error, Ec2Error)
    assert f"allow ec2:{action} on * in the IAM policy of this instance's role" in str(error)


def test_a_cluster_tag_that_is_missing_is_a_missing_permission(guarded):
    give(guarded, generated(guarded, scope="tag"))
    check_online(config_of(guarded), guarded.ec2)
    guarded.api.client().delete_tags(Resources=[guarded.instance("b")], Tags=[{"Key": vpc.CLUSTER_TAG}])
    assert f"missing permission ec2:StopInstances on instance {guarded.instance('b')}" in str(refusal(guarded))


def test_a_route_that_is_missing_is_no_missing_permission(guarded):
    guarded.api.client().delete_route(RouteTableId=guarded.claim().route_table, DestinationCidrBlock="0.0.0.0/0")
    guarded.api.fault("ReplaceRoute", error="InvalidParameterValue", message="There is no route defined for 0.0.0.0/0")
    assert check_online(config_of(guarded), guarded.ec2)


@pytest.mark.parametrize(
    ("action", "code", "message", "part"),
    [
        ("StopInstances", "OperationNotPermitted", "Modify its 'disableApiStop' instance attribute", "stop protection"),
        ("StopInstances", "UnsupportedOperation", "You can't stop the Spot Instance (one-time)", "persistent spot"),
        ("CreateTags", "TagPolicyViolation", "The tag policy does not allow the specified value", "tag policy of the"),
        ("CreateTags", "TagLimitExceeded", "You have reached the maximum number of tags", "EC2 takes 50"),
    ],
)
def test_a_write_that_ec2_refuses_for_good_is_named_with_its_remedy(guarded, action, code, message, part):
    guarded.api.fault(action, error=code, message=message)
    error = str(refusal(guarded))
    assert code in error and part in error


def test_each_tag_of_the_service_is_tried(guarded):
    check_online(config_of(guarded), guarded.ec2)
    asked = str([call.parameters for call in guarded.api.calls(action="CreateTags")])
    for key in ("flare", "drained", "pause", "fence"):
        assert f"nat-failover:{key}" in asked


def test_a_peer_that_is_stopped_is_no_missing_permission(guarded):
    guarded.api.fault("StopInstances", error="IncorrectInstanceState")
    assert check_online(config_of(guarded), guarded.ec2)


def nameless(world):
    """Instances as they are where nobody tags them with a node's name."""
    instances = [zone.instance_id for zone in world.ids.zones.values()]
    world.api.client().delete_tags(Resources=instances, Tags=[{"Key": vpc.NODE_TAG}])


def test_an_instance_that_was_replaced_is_told(guarded):
    nodes = [
        {"name": "nat-a", "instance_id": guarded.instance("a"), "route_tables": [guarded.claim("a").route_table]},
        {"name": "nat-b", "instance_id": "i-0fffffffffffffff1"},
    ]
    said = f"2 instances found, {guarded.instance('b')} by its tags in place of i-0fffffffffffffff1"
    assert check_online(config_of(guarded, nodes=nodes), guarded.ec2)[0] == said


def test_unknown_instances_and_tables_are_named_together(guarded):
    nameless(guarded)
    nodes = [
        {"name": "nat-a", "instance_id": guarded.instance("a"), "route_tables": ["rtb-0fffffffffffffff1"]},
        {"name": "nat-b", "instance_id": "i-0fffffffffffffff1", "route_tables": ["rtb-0fffffffffffffff2"]},
    ]
    error = str(refusal(guarded, nodes=nodes))
    assert "i-0fffffffffffffff1" in error and "correct the instance id or the region" in error
    assert "rtb-0fffffffffffffff1, rtb-0fffffffffffffff2" in error and "correct the route table id" in error
    assert guarded.api.calls(writes=True, caller="nat-a") == []


def test_an_address_that_ec2_contradicts(guarded):
    zones = guarded.ids.zones
    nodes = [
        {"name": f"nat-{zone}", "instance_id": zones[zone].instance_id, "route_tables": [zones[zone].route_table]}
        for zone in "ab"
    ]
    nodes[1]["address"] = "10.0.0.99"
    error = str(refusal(guarded, nodes=nodes))
    assert "nodes[1].address" in error and "10.0.0.99" in error and "10.0.1.10" in error


def test_throttling_is_waited_out(guarded, monkeypatch):
    monkeypatch.setattr(permissions, "PAUSE", 0.01)
    guarded.api.fault("ReplaceRoute", error="RequestLimitExceeded", count=3)
    assert check_online(config_of(guarded), guarded.ec2)


def test_what_could_not_be_asked_is_not_proven(guarded, monkeypatch):
    monkeypatch.setattr(permissions, "PAUSE", 0.001)
    for code in ("RequestLimitExceeded", "InternalError", "Unavailable"):
        rule = guarded.api.fault("StopInstances", error=code)
        error = refusal(guarded)
        assert isinstance(error, Ec2Error)
        assert error.code == code
        guarded.api.control(f"fault/{rule}", method="DELETE")


def test_no_credentials_is_one_clear_error(guarded, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    guarded.ec2 = ec2.Ec2(guarded.api.api.region, guarded.api.endpoint)
    error = str(refusal(guarded))
    assert "attach an instance profile with the role's policy to this instance" in error
    assert error.count("NoCredentials") == 1


def test_an_api_that_is_not_reachable_is_one_clear_error(guarded):
    guarded.api.stop()
    error = str(refusal(guarded))
    assert f"check that this host reaches {guarded.api.endpoint}" in error
    assert error.count("EndpointUnreachable") == 1


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
