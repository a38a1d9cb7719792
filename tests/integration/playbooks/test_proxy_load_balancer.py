# SPDX-License-Identifier: GPL-3.0-or-later
"""proxy_load_balancer: made, unchanged by a second run, taken away again; and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.running_api import RunningApi, running_api
from tests.integration.playbooks.conftest import Playbooks

PREFIX = "nat_proxy_load_balancer_"


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    with running_api(transition_s=0) as running:
        yield running


@pytest.fixture(scope="module")
def playbooks(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks.against(api, tmp_path_factory.mktemp("balancer"))


@pytest.fixture(scope="module")
def asked(api: RunningApi) -> dict[str, Any]:
    ec2 = api.client()
    node = ec2.describe_instances(InstanceIds=[api.instance_id("nat-a")])["Reservations"][0]["Instances"][0]
    vpc = [{"Name": "vpc-id", "Values": [node["VpcId"]]}]
    subnets = ec2.describe_subnets(Filters=vpc)["Subnets"]
    return {
        PREFIX + "region": api.api.region,
        PREFIX + "vpc": node["VpcId"],
        PREFIX + "subnets": sorted(each["SubnetId"] for each in subnets)[:2],
        PREFIX + "wait_s": 20,
    }


@pytest.fixture(scope="module")
def inventory(api: RunningApi, playbooks: Playbooks) -> Path:
    hosts = {name: {"nat_instance_instance_id": api.instance_id(name)} for name in ("nat-a", "nat-b")}
    path = playbooks.folder / "proxy.yml"
    path.write_text(yaml.safe_dump({"proxy_nodes": {"hosts": hosts}}), encoding="ascii")
    return path


def groups(api: RunningApi) -> list[dict[str, Any]]:
    return api.client("elbv2").describe_target_groups()["TargetGroups"]


def writes(api: RunningApi) -> int:
    return len([call for call in api.calls() if call.action.startswith(("Create", "Modify", "Register", "Delete"))])


def test_from_nothing_to_nothing(api: RunningApi, playbooks: Playbooks, asked: dict[str, Any], inventory: Path) -> None:
    before = writes(api)
    predicted = playbooks.run("proxy_load_balancer", "--check", inventory=inventory, **asked)
    assert predicted.code == 0, predicted.text
    assert predicted.changed == 1 and writes(api) == before

    made = playbooks.run("proxy_load_balancer", inventory=inventory, **asked)
    assert made.code == 0, made.text
    [group] = groups(api)
    assert (group["Protocol"], group["Port"], group["HealthCheckPath"]) == ("TCP", 3128, "/healthz")
    assert (group["HealthCheckPort"], group["HealthCheckIntervalSeconds"], group["Matcher"]) == (
        "3129",
        5,
        {"HttpCode": "200"},
    )
    elb = api.client("elbv2")
    attributes = {
        each["Key"]: each["Value"]
        for each in elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    }
    assert attributes["target_health_state.unhealthy.connection_termination.enabled"] == "false"
    assert attributes["target_health_state.unhealthy.draining_interval_seconds"] == "300"
    assert attributes["preserve_client_ip.enabled"] == "true"
    targets = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    assert {(each["Target"]["Id"], each["Target"]["Port"]) for each in targets} == {
        (api.instance_id(name), 3128) for name in ("nat-a", "nat-b")
    }
    [balancer] = elb.describe_load_balancers()["LoadBalancers"]
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    arns = [balancer["LoadBalancerArn"], group["TargetGroupArn"]]
    marks = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
    assert [each["Tags"] for each in marks] == [[{"Key": "nat-failover:proxy", "Value": "proxy"}]] * 2, "for teardown"

    again = playbooks.run("proxy_load_balancer", inventory=inventory, **asked)
    assert again.code == 0 and again.changed == 0, again.text

    gone = playbooks.run(
        "proxy_load_balancer", inventory=inventory, **{PREFIX + "region": api.api.region, PREFIX + "state": "absent"}
    )
    assert gone.code == 0, gone.text
    assert groups(api) == [] and elb.describe_load_balancers()["LoadBalancers"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({PREFIX + "region": ""}, "give -e nat_proxy_load_balancer_region=eu-west-1"),
        ({PREFIX + "subnets": []}, "nat_proxy_load_balancer_subnets"),
        ({PREFIX + "state": "gone"}, "nat_proxy_load_balancer_state=absent"),
        ({PREFIX + "hosts": "nobody"}, "no host in nobody"),
    ],
)
def test_refused_before_anything_is_made(
    api: RunningApi, playbooks: Playbooks, asked: dict[str, Any], inventory: Path, change: dict[str, Any], words: str
) -> None:
    before = writes(api)
    refused = playbooks.run("proxy_load_balancer", inventory=inventory, **{**asked, **change})
    assert refused.code != 0 and words in refused.messages(), refused.text
    assert writes(api) == before
