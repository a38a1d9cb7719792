# SPDX-License-Identifier: GPL-3.0-or-later
"""provision and teardown: what they make, that a second run and a failover leave it alone, and that nothing remains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml

from lab.running_api import RunningApi, running_api
from tests.integration.playbooks.conftest import Outcome, Playbooks

NAME = "acme"
REGION = "eu-west-1"
ASKED: dict[str, Any] = {
    "nat_provision_region": REGION,
    "nat_provision_name": NAME,
    "nat_provision_system": "al2023",
    "nat_provision_endpoints": ["s3"],
    "nat_provision_ssh_from": ["192.0.2.0/24"],
}
WRITES = (
    "Create",
    "Run",
    "Allocate",
    "Associate",
    "Attach",
    "Put",
    "Modify",
    "Authorize",
    "Delete",
    "Terminate",
    "Add",
)


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """The lab's VPC is there, too: nothing of it may be touched."""
    with running_api(transition_s=0) as running:
        yield running


@pytest.fixture(scope="module")
def playbooks(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks.against(api, tmp_path_factory.mktemp("playbooks"))


def writes(api: RunningApi) -> list[str]:
    return [call.action for call in api.calls() if call.action.startswith(WRITES)]


@pytest.fixture(scope="module")
def provisioned(api: RunningApi, playbooks: Playbooks) -> Outcome:
    """The first run, after one in check mode that must not have done anything."""
    predicted = playbooks.run("provision", "--check", **ASKED)
    assert predicted.code == 0, predicted.text
    assert predicted.changed == 1 and writes(api) == []
    made = playbooks.run("provision", **ASKED)
    assert made.code == 0, made.text
    return made


def tagged(what: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that carry the cluster's tag."""
    mark = {"Key": "nat-failover:cluster", "Value": NAME}
    return [each for each in what if mark in each.get("Tags", [])]


def nodes(api: RunningApi) -> list[dict[str, Any]]:
    """The instances, in the order of their zones."""
    found = [
        instance
        for reservation in api.client().describe_instances()["Reservations"]
        for instance in tagged(reservation["Instances"])
        if instance["State"]["Name"] != "terminated"
    ]
    return sorted(found, key=lambda each: each["Placement"]["AvailabilityZone"])


def private_tables(api: RunningApi) -> list[dict[str, Any]]:
    tables = tagged(api.client().describe_route_tables()["RouteTables"])
    named = [(tag["Value"], table) for table in tables for tag in table["Tags"] if tag["Key"] == "Name"]
    return [table for name, table in sorted(named, key=lambda each: each[0]) if "-private-" in name]


def target(table: dict[str, Any]) -> Any:
    return next(
        route["NetworkInterfaceId"] for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"
    )


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


def test_a_second_run_changes_nothing_and_leaves_a_failover_alone(
    api: RunningApi, playbooks: Playbooks, provisioned: Outcome
) -> None:
    first, second = private_tables(api)
    taken = target(second)
    api.client().replace_route(
        RouteTableId=first["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=taken
    )
    api.client().create_tags(
        Resources=[nodes(api)[0]["InstanceId"]], Tags=[{"Key": "nat-failover:drained", "Value": "by a test"}]
    )
    before = writes(api)
    again = playbooks.run("provision", **ASKED)
    assert again.code == 0, again.text
    assert again.changed == 0, [(task, host) for task, host, result in again.results if result.get("changed")]
    assert writes(api) == before
    assert [target(table) for table in private_tables(api)] == [taken, taken]


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
    assert nodes(api) == [] and private_tables(api) == []
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


TOKYO = {"nat_provision_region": "ap-northeast-1", "nat_provision_name": "tokyo", "nat_provision_image": "ami-12c6146b"}
PROXY = {"nat_provision_proxy": "squid", "nat_provision_proxy_address": "100.64.99.1"}


def test_a_region_without_a_zone_b_gets_the_zones_that_it_has(api: RunningApi, playbooks: Playbooks) -> None:
    """Tokyo has a, c and d. With a failure in the second zone: what there is by then is named, and the next run goes on. Its nodes are proxies."""
    fault = api.fault("RunInstances", error="VcpuLimitExceeded", message="ask for more", probability=1.0)
    failed = playbooks.run("provision", **TOKYO, **PROXY)
    assert failed.code != 0
    assert "provision stopped: provision_zone | NAT node:" in failed.messages(), failed.text
    assert "ask for more" in failed.messages()
    assert "-e nat_teardown_confirm=tokyo" in failed.messages()
    [found] = [each for each in vpcs(api) if "tokyo" in str(each.get("Tags"))]
    assert f"Made by now in ap-northeast-1: VPC {found['VpcId']}." in failed.messages()
    api.control(f"fault/{fault}", method="DELETE")
    made = playbooks.run("provision", **TOKYO, **PROXY)
    assert made.code == 0, made.text
    assert [each["VpcId"] for each in vpcs(api) if "tokyo" in str(each.get("Tags"))] == [found["VpcId"]]
    inventory = yaml.safe_load((playbooks.folder / "tokyo.yml").read_text(encoding="utf-8"))
    nodes = inventory["nat_nodes"]
    assert list(nodes["hosts"]) == ["tokyo-nat-ap-northeast-1a", "tokyo-nat-ap-northeast-1c"]
    assert nodes["vars"]["nat_instance_destinations"] == ["0.0.0.0/0", "100.64.99.1/32"]
    assert nodes["vars"]["nat_instance_input_allow"] == [
        {"port": 3128, "networks": ["10.0.0.0/16"]},
        {"port": 3129, "networks": ["10.0.0.0/16"]},
    ]
    assert inventory["proxy_nodes"] == {
        "children": {"nat_nodes": {}},
        "vars": {
            "proxy_engine": "squid",
            "proxy_sources": ["10.0.0.0/16"],
            "proxy_region": "ap-northeast-1",
            "proxy_address": "100.64.99.1",
        },
    }
    [group] = [
        each for each in tokyo(api).describe_security_groups()["SecurityGroups"] if each["GroupName"] == "tokyo-nat"
    ]
    rules = {
        (each.get("FromPort"), tuple(sorted(r["CidrIp"] for r in each["IpRanges"]))) for each in group["IpPermissions"]
    }
    assert {(3128, ("10.0.0.0/16",)), (3129, ("10.0.0.0/16",))} <= rules


def test_what_a_failed_run_has_made_can_be_removed(api: RunningApi, playbooks: Playbooks) -> None:
    """An address that no node got is released, too: it would cost money for ever."""
    asked = {**TOKYO, "nat_provision_name": "half"}
    api.fault("AssociateAddress", error="InvalidParameterValue", message="no")
    failed = playbooks.run("provision", **asked)
    api.clear_faults()
    far = tokyo(api)
    [address] = [each for each in far.describe_addresses()["Addresses"] if "half" in str(each.get("Tags"))]
    assert failed.code != 0 and f"address {address['PublicIp']}" in failed.messages(), failed.text
    assert ", instance i-" in failed.messages()
    wanted = {key: asked[key] for key in ("nat_provision_region", "nat_provision_name")}
    removed = playbooks.run("teardown", **wanted, nat_teardown_confirm="half")
    assert removed.code == 0, removed.text
    assert "half" not in str(far.describe_addresses()["Addresses"]) + str(vpcs(api))


def tokyo(api: RunningApi) -> Any:
    access = {"endpoint_url": api.endpoint, **api.credentials()}
    return boto3.client("ec2", TOKYO["nat_provision_region"], **access)


def vpcs(api: RunningApi) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tokyo(api).describe_vpcs()["Vpcs"]
    return found
