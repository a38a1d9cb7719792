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
from lab.api import backend
from lab.running_api import RunningApi, running_api
from tests.integration.playbooks.conftest import ROOT, Playbooks

INVENTORIES = ROOT / "inventories"
FAR = "us-east-1"
STAGING = "222222222222"
STAGING_ROLE = f"arn:aws:iam::{STAGING}:role/nat-inventory"


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """The reference VPC as provision.yml would tag it, a node of another cluster in another region, and two nodes in another account."""
    with running_api() as running:
        for zone in running.ids.zones.values():
            tag(
                running.client(), zone.instance_id, **{"nat-failover:route-tables": f"{zone.route_table} rtb-0ffffffff"}
            )
        running.client().run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)  # somebody else's, without a tag
        far = boto3.client("ec2", FAR, endpoint_url=running.endpoint, **running.credentials())
        started = far.run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        tag(far, started, **{vpc.CLUSTER_TAG: "far", "Name": "far-nat-a", "nat-failover:route-tables": "rtb-0eeeeeeee"})
        staging = boto3.client("ec2", "eu-west-1", endpoint_url=running.endpoint, **visit(running))
        for zone, table in (("a", "rtb-0aaaaaaaa"), ("b", "rtb-0bbbbbbbb")):
            made = staging.run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
            names = {vpc.CLUSTER_TAG: "stage", "Name": f"stage-nat-{zone}", "nat-failover:route-tables": table}
            tag(staging, made, **names)
        yield running


def visit(running: RunningApi) -> dict[str, str]:
    """boto3's credential arguments for the other account."""
    given = running.client("sts").assume_role(RoleArn=STAGING_ROLE, RoleSessionName="test")["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def tag(ec2: Any, resource: str, **tags: str) -> None:
    ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


@pytest.fixture(scope="module")
def playbooks(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """With credentials as an operator of several accounts has them: in a file, with a profile that assumes a role."""
    made = Playbooks.against(api, tmp_path_factory.mktemp("inventories"))
    keys = {name: made.environment.pop(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    lines = ["[default]", *(f"{name.lower()} = {value}" for name, value in keys.items())]
    lines += ["[profile staging]", f"role_arn = {STAGING_ROLE}", "source_profile = default"]
    config = made.folder / "aws.ini"
    config.write_text("\n".join(lines), encoding="ascii")
    made.environment.update(AWS_CONFIG_FILE=str(config), AWS_SHARED_CREDENTIALS_FILE="/nowhere")
    return made


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


def test_another_account_is_read_as_the_role_there(playbooks: Playbooks, tmp_path: Path) -> None:
    found = listed(playbooks, only(tmp_path / "aws", "staging-account.aws_ec2.yml"))
    assert (
        sorted(found["nat_nodes"]["hosts"]) == ["stage-nat-a", "stage-nat-b"] == sorted(found["cluster_stage"]["hosts"])
    )
    assert found["_meta"]["hostvars"]["stage-nat-a"]["nat_iam_account"] == STAGING


def test_one_run_for_all_accounts_regions_and_vpcs(api: RunningApi, playbooks: Playbooks) -> None:
    """Each node is told of the nodes of its own cluster, its region and its tables, whatever else is in the run."""
    here: dict[str, Any] = {"ansible_connection": "local", "ansible_become": False, "nat_instance_interface": "lo"}
    here["vault_nat_heartbeat_key"] = "a-key-of-the-tests-that-opens-nothing"
    flags = ("--check", "--tags", "nat_instance_config")
    done = playbooks.run("site", *flags, inventory=INVENTORIES / "aws", **here)
    assert done.code == 0, done.text
    told = {
        host: result["__nat_instance_config"]
        for _task, host, result in done.results
        if "__nat_instance_config" in result
    }
    clusters = {
        host: (each["cluster"], each["region"], [node["name"] for node in each["nodes"]]) for host, each in told.items()
    }
    assert clusters == {
        "nat-a": ("lab", "eu-west-1", ["nat-a", "nat-b"]),
        "nat-b": ("lab", "eu-west-1", ["nat-a", "nat-b"]),
        "far-nat-a": ("far", FAR, ["far-nat-a"]),
        "stage-nat-a": ("stage", "eu-west-1", ["stage-nat-a", "stage-nat-b"]),
        "stage-nat-b": ("stage", "eu-west-1", ["stage-nat-a", "stage-nat-b"]),
    }
    tables = [node["route_tables"] for node in told["stage-nat-b"]["nodes"]]
    assert tables == [["rtb-0aaaaaaaa"], ["rtb-0bbbbbbbb"]]


def test_the_policies_of_all_clusters_each_in_its_account(
    api: RunningApi, playbooks: Playbooks, tmp_path: Path
) -> None:
    staging = boto3.client("iam", endpoint_url=api.endpoint, region_name="eu-west-1", **visit(api))
    homes = {"lab": api.client("iam"), "far": api.client("iam"), "stage": staging}
    for cluster, iam in homes.items():
        iam.create_role(RoleName=f"{cluster}-nodes", AssumeRolePolicyDocument="{}")
    asked = {"nat_iam_folder": str(tmp_path / "iam"), "nat_iam_role": "{{ nat_instance_cluster }}-nodes"}
    done = playbooks.run("iam_policy", inventory=INVENTORIES / "aws", **asked)
    assert done.code == 0, done.text
    accounts = {"lab": backend.ACCOUNT, "far": backend.ACCOUNT, "stage": STAGING}
    regions = {"lab": "eu-west-1", "far": FAR, "stage": "eu-west-1"}
    for cluster, iam in homes.items():
        written = json.loads((tmp_path / "iam" / f"{cluster}.json").read_text())
        attached = iam.get_role_policy(RoleName=f"{cluster}-nodes", PolicyName="nat-failover")["PolicyDocument"]
        assert attached == written
        [routes] = [each for each in written["Statement"] if each["Sid"] == "Routes"]
        wanted = f"arn:aws:ec2:{regions[cluster]}:{accounts[cluster]}:route-table/"
        assert all(arn.startswith(wanted) for arn in routes["Resource"])
    again = playbooks.run("iam_policy", inventory=INVENTORIES / "aws", **asked)
    assert again.code == 0 and again.changed == 0, again.text
    assert "rtb-0ffffffff" in (tmp_path / "iam" / "lab.json").read_text()
    assert "rtb-0ffffffff" not in (tmp_path / "iam" / "far.json").read_text()
