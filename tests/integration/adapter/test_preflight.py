# SPDX-License-Identifier: GPL-3.0-or-later
"""``check-config --online`` proves by dry runs, and names each thing that is missing."""

from __future__ import annotations

import pytest

from lab.tags import CLUSTER_TAG
from nat_failover.aws import ec2, permissions
from nat_failover.errors import Ec2Error
from nat_failover.service.preflight import check_online
from tests.integration import generated_policy
from tests.integration.adapter.preflighted import (
    FENCE_ACTIONS,
    allow_only_without,
    config_of,
    generated,
    give,
    nameless,
    refusal,
)


@pytest.fixture
def guarded(iam, connect):
    """nat-a with the policy that is made for it, enforced, and nothing else."""
    world = connect(iam)
    give(world, generated(world))
    return world


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
    guarded.api.client().delete_tags(Resources=[guarded.instance("b")], Tags=[{"Key": CLUSTER_TAG}])
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
