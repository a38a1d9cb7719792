# SPDX-License-Identifier: GPL-3.0-or-later
"""provision and teardown: what they make, that a second run and a failover leave it alone, and that nothing remains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.running_api import RunningApi, running_api
from tests.integration.playbooks.conftest import Outcome, Playbooks
from tests.integration.playbooks.reference_vpc import ASKED, NAME, REGION, nodes, private_tables, tagged, target, writes


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """The lab's VPC is there, too: nothing of it may be touched."""
    with running_api(transition_s=0) as running:
        yield running


@pytest.fixture(scope="module")
def playbooks(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks.against(api, tmp_path_factory.mktemp("playbooks"))


@pytest.fixture(scope="module")
def provisioned(api: RunningApi, playbooks: Playbooks) -> Outcome:
    """The first run, after one in check mode that must not have done anything."""
    predicted = playbooks.run("provision", "--check", **ASKED)
    assert predicted.code == 0, predicted.text
    assert predicted.changed == 1 and writes(api) == []
    made = playbooks.run("provision", **ASKED)
    assert made.code == 0, made.text
    return made


def test_each_zone_has_a_node_of_the_newest_image_that_its_private_table_points_to(
    api: RunningApi, provisioned: Outcome
) -> None:
    parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    image = api.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
    found = nodes(api)
    assert [each["Placement"]["AvailabilityZone"] for each in found] == [REGION + "a", REGION + "b"]
    assert {each["ImageId"] for each in found} == {image}
    assert [target(table) for table in private_tables(api)] == [
        each["NetworkInterfaces"][0]["NetworkInterfaceId"] for each in found
    ]
    for each in found:
        assert each["SourceDestCheck"] is False
        assert each["MetadataOptions"]["HttpTokens"] == "required"
        assert each["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert each["IamInstanceProfile"]["Arn"].endswith(f"/{NAME}-nat")
    addresses = api.client().describe_addresses()["Addresses"]
    assert {each["InstanceId"] for each in found} <= {each.get("InstanceId") for each in addresses}


def test_heartbeats_and_echo_come_from_nodes_only(api: RunningApi, provisioned: Outcome) -> None:
    [group] = tagged(api.client().describe_security_groups()["SecurityGroups"])
    rules = {
        (
            rule["IpProtocol"],
            rule.get("FromPort"),
            tuple(sorted(each["CidrIp"] for each in rule["IpRanges"])),
            tuple(each["GroupId"] for each in rule["UserIdGroupPairs"]),
        )
        for rule in group["IpPermissions"]
    }
    own = (group["GroupId"],)
    assert rules == {
        ("udp", 4710, (), own),
        ("icmp", 8, (), own),
        ("-1", None, ("10.0.10.0/24", "10.0.11.0/24"), ()),
        ("tcp", 22, ("192.0.2.0/24",), ()),
    }


def test_the_role_may_do_what_the_policy_page_says_and_nothing_else(api: RunningApi, provisioned: Outcome) -> None:
    iam = api.client("iam")
    assert iam.list_attached_role_policies(RoleName=f"{NAME}-nat")["AttachedPolicies"] == []
    assert iam.list_role_policies(RoleName=f"{NAME}-nat")["PolicyNames"] == ["nat-failover"]
    document = iam.get_role_policy(RoleName=f"{NAME}-nat", PolicyName="nat-failover")["PolicyDocument"]
    allowed = {statement["Sid"]: statement for statement in document["Statement"]}
    tables = {f"route-table/{table['RouteTableId']}" for table in private_tables(api)}
    assert {
        arn.partition(":route-table")[1][1:] + arn.partition(":route-table")[2] for arn in allowed["Routes"]["Resource"]
    } == tables
    assert all(statement["Resource"] != "*" for sid, statement in allowed.items() if sid != "Read")
    assert "SourceDestCheck" not in allowed  # it has been switched off


def test_private_tables_reach_s3_by_a_gateway_endpoint(api: RunningApi, provisioned: Outcome) -> None:
    [endpoint] = tagged(api.client().describe_vpc_endpoints()["VpcEndpoints"])
    assert (endpoint["VpcEndpointType"], endpoint["ServiceName"]) == ("Gateway", f"com.amazonaws.{REGION}.s3")
    assert set(endpoint["RouteTableIds"]) == {table["RouteTableId"] for table in private_tables(api)}


def test_it_writes_the_inventory_for_site(api: RunningApi, playbooks: Playbooks, provisioned: Outcome) -> None:
    inventory = yaml.safe_load((playbooks.folder / f"{NAME}.yml").read_text(encoding="utf-8"))["nat_nodes"]
    assert inventory["vars"]["ansible_user"] == "ec2-user"
    assert inventory["vars"]["nat_instance_vpc_id"] == nodes(api)[0]["VpcId"]
    assert inventory["vars"]["nat_instance_input_rules"] is True, "a security group lets clients reach the nodes' ports"
    assert inventory["vars"]["nat_instance_input_allow"] == [{"port": 22, "networks": ["192.0.2.0/24"]}]
    assert [host["nat_instance_instance_id"] for host in inventory["hosts"].values()] == [
        each["InstanceId"] for each in nodes(api)
    ]
    done = playbooks.call(["ansible-inventory", "--list"], playbooks.folder / f"{NAME}.yml")
    assert done.returncode == 0 and f"{NAME}-nat-{REGION}a" in done.stdout


def test_the_policy_of_a_cluster_out_of_its_inventory(playbooks: Playbooks, provisioned: Outcome) -> None:
    inventory = playbooks.folder / f"{NAME}.yml"
    asked = {"nat_iam_folder": str(playbooks.folder / "iam"), "nat_iam_role": f"{NAME}-nat"}
    first = playbooks.run("iam_policy", inventory=inventory, **asked)
    assert first.code == 0, first.text
    policy = yaml.safe_load((playbooks.folder / "iam" / f"{NAME}.json").read_text(encoding="utf-8"))
    assert [statement["Sid"] for statement in policy["Statement"]] == [
        "Read",
        "OwnTags1",
        "OwnTags2",
        "SharedMemory",
        "Routes",
        "Fence",
    ]
    again = playbooks.run("iam_policy", inventory=inventory, **asked)
    assert again.code == 0 and again.changed == 0, again.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"nat_provision_system": "windows"},
            "nat_provision_system (got 'windows') must be one of debian12, debian13, al2023",
        ),
        (
            {"nat_provision_proxy": "squid"},
            "nat_provision_proxy (got 'squid') is made for Debian; set nat_provision_system to debian12 or debian13",
        ),
        (
            {"nat_provision_proxy_address": "100.64.99.1"},
            "nat_provision_proxy_address without nat_provision_proxy leads to no proxy",
        ),
        ({"nat_provision_image": "debian"}, "nat_provision_image (got 'debian') must be the id of an AMI"),
        ({"nat_provision_endpoints": ["sqs"]}, "nat_provision_endpoints[0] (got 'sqs') must be one of s3, dynamodb"),
        (
            {"nat_provision_zones": [{"zone": "eu-west-1x", "public": "10.0.0.0/24", "private": "10.0.10.0/24"}]},
            "nat_provision_zones (got eu-west-1x) must be different zones of eu-west-1, which has eu-west-1a, eu-west-1b, eu-west-1c",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(playbooks: Playbooks, asked: dict[str, Any], said: str) -> None:
    refused = playbooks.run("provision", **{**ASKED, **asked})
    assert refused.code != 0
    assert said in refused.messages()


IDENTITIES = {**ASKED, "nat_provision_egress": True, "nat_provision_state_sync": "conntrackd"}
# The calls that give identities to nodes that are there.
GIVES = {
    "AllocateAddress",
    "AssignPrivateIpAddresses",
    "AuthorizeSecurityGroupIngress",
    "PutRolePolicy",
}


def of_identities(api: RunningApi) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The Elastic IPs of identities, and the interfaces of the nodes in the order of their zones."""
    named = sorted(
        (tag["Value"], each["PublicIp"], each)
        for each in tagged(api.client().describe_addresses()["Addresses"])
        for tag in each["Tags"]
        if tag["Key"] == "Name"
    )
    elastic = [each for name, _ip, each in named if "-egress-" in name]
    return elastic, [each["NetworkInterfaces"][0] for each in nodes(api)]


def private_of(interface: dict[str, Any]) -> list[str]:
    return [each["PrivateIpAddress"] for each in interface["PrivateIpAddresses"] if not each["Primary"]]


@pytest.mark.nightly
def test_a_type_without_room_for_identities_is_refused_before_anything_is_made(
    api: RunningApi, playbooks: Playbooks, provisioned: Outcome
) -> None:
    before = writes(api)
    refused = playbooks.run("provision", **{**IDENTITIES, "nat_provision_type": "t4g.nano"})
    assert refused.code != 0 and writes(api) == before
    assert "needs 3 private addresses on each node" in refused.messages()
    assert "nat_provision_type (got 't4g.nano') has room for 2; take a larger type" in refused.messages()


def test_identities_come_to_nodes_that_are_there_and_a_run_leaves_a_failover_alone(
    api: RunningApi, playbooks: Playbooks, provisioned: Outcome
) -> None:
    """Each node has the addresses, nothing else is touched, and a run while all routes and an Elastic IP are away from home changes
    nothing."""
    first_table, second_table = private_tables(api)
    taken = target(second_table)
    api.client().replace_route(
        RouteTableId=first_table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=taken
    )
    api.client().create_tags(
        Resources=[nodes(api)[0]["InstanceId"]], Tags=[{"Key": "nat-failover:drained", "Value": "by a test"}]
    )
    before = writes(api)
    made = playbooks.run("provision", **IDENTITIES)
    assert made.code == 0, made.text
    assert set(writes(api)[len(before) :]) == GIVES
    assert [target(table) for table in private_tables(api)] == [taken, taken]
    elastic, interfaces = of_identities(api)
    assert len(elastic) == 2 and not any("AssociationId" in each for each in elastic)
    assert [private_of(each) for each in interfaces] == [["10.0.0.254", "10.0.0.253"], ["10.0.1.253", "10.0.1.254"]]
    nodes_of_it = yaml.safe_load((playbooks.folder / f"{NAME}.yml").read_text(encoding="utf-8"))["nat_nodes"]
    first, second = nodes_of_it["hosts"].values()
    assert nodes_of_it["vars"]["nat_instance_state_sync"] == "conntrackd"
    groups = api.client().describe_security_groups(GroupNames=[f"{NAME}-nat"])["SecurityGroups"]
    [synced] = [each for each in groups[0]["IpPermissions"] if each.get("FromPort") == 3780]
    assert [each["GroupId"] for each in synced["UserIdGroupPairs"]] == [groups[0]["GroupId"]] and not synced["IpRanges"]
    assert first["nat_instance_egress_address"] == elastic[0]["AllocationId"]
    assert first["nat_instance_egress_private_address"] == "10.0.0.254"
    assert first["nat_instance_egress_networks"] == ["10.0.10.0/24"]
    assert first["nat_instance_egress_waiting"] == {f"{NAME}-nat-{REGION}b": "10.0.0.253"}
    assert second["nat_instance_egress_waiting"] == {f"{NAME}-nat-{REGION}a": "10.0.1.254"}
    document = api.client("iam").get_role_policy(RoleName=f"{NAME}-nat", PolicyName="nat-failover")["PolicyDocument"]
    allowed = {statement["Sid"]: statement for statement in document["Statement"]}
    assert {arn.rpartition("/")[2] for arn in allowed["Identities"]["Resource"]} == {e["AllocationId"] for e in elastic}

    carrier = interfaces[1]["NetworkInterfaceId"]  # the service has moved the first one
    api.client().associate_address(
        AllocationId=elastic[0]["AllocationId"], NetworkInterfaceId=carrier, PrivateIpAddress="10.0.1.254"
    )
    before = writes(api)
    again = playbooks.run("provision", **IDENTITIES)
    assert again.code == 0, again.text
    assert again.changed == 0, [(task, host) for task, host, result in again.results if result.get("changed")]
    assert writes(api) == before
    assert [target(table) for table in private_tables(api)] == [taken, taken]


def test_teardown_asks_for_the_name_predicts_removes_and_has_nothing_left_to_do(
    api: RunningApi, playbooks: Playbooks, provisioned: Outcome
) -> None:
    asked = {key: ASKED[key] for key in ("nat_provision_region", "nat_provision_name")}
    others = [each["VpcId"] for each in api.client().describe_vpcs()["Vpcs"] if not tagged([each])]
    elb = api.client("elbv2")
    balancer(elb, "acme-proxy", tagged(api.client().describe_subnets()["Subnets"]))
    balancer(elb, "other", [each for each in api.client().describe_subnets()["Subnets"] if each["VpcId"] == others[-1]])
    before = writes(api)
    refused = playbooks.run("teardown", **asked)
    assert refused.code != 0 and f"give -e nat_teardown_confirm={NAME}" in refused.messages()
    predicted = playbooks.run("teardown", "--check", **asked, nat_teardown_confirm=NAME)
    assert predicted.code == 0, predicted.text
    assert predicted.changed > 0 and writes(api) == before
    assert "would be removed: acme-proxy, acme-proxy" in predicted.text
    removed = playbooks.run("teardown", **asked, nat_teardown_confirm=NAME)
    assert removed.code == 0, removed.text
    ec2 = api.client()
    assert [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]] == others
    assert nodes(api) == [] and private_tables(api) == [] and of_identities(api) == ([], [])
    assert all(address["PublicIp"].startswith("203.0.113.") for address in ec2.describe_addresses()["Addresses"])
    assert [each["LoadBalancerName"] for each in elb.describe_load_balancers()["LoadBalancers"]] == ["other"]
    assert [each["TargetGroupName"] for each in elb.describe_target_groups()["TargetGroups"]] == ["other"]
    removals = [
        call.action
        for call in api.calls()
        if call.action in ("DeleteLoadBalancer", "DeleteTargetGroup", "DeleteSubnet")
    ]
    assert removals[:3] == ["DeleteLoadBalancer", "DeleteTargetGroup", "DeleteSubnet"]
    assert not [role for role in api.client("iam").list_roles()["Roles"] if role["RoleName"].startswith(NAME)]
    again = playbooks.run("teardown", **asked, nat_teardown_confirm=NAME)
    assert again.code == 0 and again.changed == 0, again.text


def balancer(elb: Any, name: str, subnets: list[dict[str, Any]]) -> None:
    """A load balancer with its target group, marked as proxy_load_balancer marks them."""
    mark = [{"Key": "nat-failover:proxy", "Value": name}]
    made = elb.create_load_balancer(
        Name=name, Type="network", Scheme="internal", Subnets=[each["SubnetId"] for each in subnets[:1]], Tags=mark
    )["LoadBalancers"][0]
    group = elb.create_target_group(Name=name, Protocol="TCP", Port=3128, VpcId=subnets[0]["VpcId"], Tags=mark)
    arns = {"LoadBalancerArn": made["LoadBalancerArn"]}
    to_it = {"Type": "forward", "TargetGroupArn": group["TargetGroups"][0]["TargetGroupArn"]}
    elb.create_listener(**arns, Protocol="TCP", Port=3128, DefaultActions=[to_it])
