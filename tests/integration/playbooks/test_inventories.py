# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventories, read by Ansible itself, the dynamic ones from the lab's API."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lab import vpc
from lab.api.testing import RunningApi, running_api
from tests.integration.playbooks.conftest import ROOT, Playbooks

INVENTORIES = ROOT / "inventories"
FAR = "us-east-1"


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """The reference VPC as provision.yml would tag it, and a node of another cluster in another region."""
    with running_api() as running:
        for zone in running.ids.zones.values():
            tag(
                running.client(), zone.instance_id, **{"nat-failover:route-tables": f"{zone.route_table} rtb-0ffffffff"}
            )
        running.client().run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)  # somebody else's, without a tag
        far = boto3.client("ec2", FAR, endpoint_url=running.endpoint, **running.credentials())
        started = far.run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        tag(far, started, **{vpc.CLUSTER_TAG: "far", "Name": "far-nat-a", "nat-failover:route-tables": "rtb-0eeeeeeee"})
        yield running


def tag(ec2: Any, resource: str, **tags: str) -> None:
    ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


@pytest.fixture(scope="module")
def playbooks(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks.against(api, tmp_path_factory.mktemp("inventories"))


def listed(playbooks: Playbooks, inventory: Path) -> dict[str, Any]:
    done = playbooks.call(["ansible-inventory", "--list"], inventory)
    assert done.returncode == 0, done.stderr
    # What comes from EC2 is marked as nothing to be templated.
    found: dict[str, Any] = json.loads(done.stdout, object_hook=lambda each: each.get("__ansible_unsafe", each))
    return found


def only(folder: Path, *files: str) -> Path:
    """A folder with some files of inventories/aws: an inventory is read as a whole."""
    folder.mkdir()
    for name in files:
        source = INVENTORIES / "aws" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def test_the_static_example_has_what_the_role_needs(playbooks: Playbooks) -> None:
    found = listed(playbooks, INVENTORIES / "example" / "hosts.yml")
    assert found["nat_nodes"]["hosts"] == ["nat-a", "nat-b"]
    for host in found["_meta"]["hostvars"].values():
        assert {"nat_instance_cluster", "nat_instance_instance_id", "nat_instance_route_tables"} <= set(host)


def test_clusters_of_several_regions_are_grouped_by_their_tag(
    api: RunningApi, playbooks: Playbooks, tmp_path: Path
) -> None:
    found = listed(playbooks, only(tmp_path / "aws", "production.aws_ec2.yml", "group_vars"))
    assert sorted(found["nat_nodes"]["hosts"]) == ["far-nat-a", "nat-a", "nat-b"]
    assert sorted(found["cluster_lab"]["hosts"]) == ["nat-a", "nat-b"]
    assert found["cluster_far"]["hosts"] == ["far-nat-a"] == found["region_us_east_1"]["hosts"]
    zone = api.ids.zones["a"]
    host = found["_meta"]["hostvars"]["nat-a"]
    assert {name: host[name] for name in host if name.startswith("nat_instance_")} == {
        "nat_instance_cluster": vpc.CLUSTER,
        "nat_instance_instance_id": zone.instance_id,
        "nat_instance_address": zone.private_ip,
        "nat_instance_region": "eu-west-1",
        "nat_instance_route_tables": [zone.route_table, "rtb-0ffffffff"],
        "nat_instance_heartbeat_key": "{{ vault_nat_heartbeat_key }}",
        "nat_instance_mode": "full",
    }
    assert host["ansible_host"] == zone.public_ip
    assert found["_meta"]["hostvars"]["far-nat-a"]["nat_instance_region"] == FAR


def test_a_node_that_a_peer_has_stopped_is_still_in_it(api: RunningApi, playbooks: Playbooks, tmp_path: Path) -> None:
    api.client().stop_instances(InstanceIds=[api.ids.zones["b"].instance_id])
    found = listed(playbooks, only(tmp_path / "aws", "production.aws_ec2.yml"))
    api.client().get_waiter("instance_stopped").wait(InstanceIds=[api.ids.zones["b"].instance_id])
    again = listed(playbooks, only(tmp_path / "again", "production.aws_ec2.yml"))
    api.client().start_instances(InstanceIds=[api.ids.zones["b"].instance_id])
    assert "nat-b" in found["cluster_lab"]["hosts"] and "nat-b" in again["cluster_lab"]["hosts"]


def test_another_account_is_read_as_the_role_there(api: RunningApi, playbooks: Playbooks, tmp_path: Path) -> None:
    """The lab has one account: what is seen is who asks, not whose instances the answer holds."""
    found = listed(playbooks, only(tmp_path / "aws", "staging-account.aws_ec2.yml"))
    assert sorted(found["nat_nodes"]["hosts"]) == ["nat-a", "nat-b"]
    [assumed] = [call for call in api.calls() if call.action == "AssumeRole"]
    assert assumed.parameters["RoleArn"] == "arn:aws:iam::222222222222:role/nat-inventory"
    reads = [call for call in api.calls() if call.action == "DescribeInstances"]
    assert {call.access_key for call in reads[-1:]} != {playbooks.environment["AWS_ACCESS_KEY_ID"]}


def test_the_policy_of_every_cluster_comes_out_of_the_dynamic_inventory(playbooks: Playbooks, tmp_path: Path) -> None:
    inventory = only(tmp_path / "aws", "production.aws_ec2.yml")
    done = playbooks.run(
        "iam_policy", inventory=inventory, nat_iam_account="123456789012", nat_iam_folder=str(tmp_path / "iam")
    )
    assert done.code == 0, done.text
    assert sorted(file.name for file in (tmp_path / "iam").iterdir()) == ["far.json", "lab.json"]
    assert "rtb-0ffffffff" in (tmp_path / "iam" / "lab.json").read_text()
    assert "rtb-0ffffffff" not in (tmp_path / "iam" / "far.json").read_text()
