# SPDX-License-Identifier: GPL-3.0-or-later
"""provision in a region with other zones, and after failures: it goes on where it stopped, or is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from lab.running_api import RunningApi
from tests.integration.playbooks.conftest import Playbooks

TOKYO = {"nat_provision_region": "ap-northeast-1", "nat_provision_name": "tokyo", "nat_provision_image": "ami-12c6146b"}
PROXY = {"nat_provision_proxy": "squid", "nat_provision_proxy_address": "100.64.99.1"}


@pytest.fixture
def playbooks(api: RunningApi, tmp_path: Path) -> Playbooks:
    return Playbooks.against(api, tmp_path)


@pytest.mark.nightly
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
