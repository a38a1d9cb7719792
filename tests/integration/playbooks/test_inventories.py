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
from lab.tags import CLUSTER, CLUSTER_TAG
from tests.integration.playbooks.conftest import ROOT, Outcome, Playbooks

INVENTORIES = ROOT / "inventories"
FAR = "us-east-1"
STAGING = "222222222222"
PROFILE = "egress-nat"
STAGING_ROLE = f"arn:aws:iam::{STAGING}:role/nat-inventory"


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """The reference VPC as provision.yml would tag it, another cluster in another region, and two nodes in another account.

    Strangers that carry the tags of nodes: in another VPC, and in the VPC of the nodes with the profile of something else.
    """
    with running_api() as running:
        for name, zone in running.ids.zones.items():
            tables = zone.route_table + " rtb-0ffffffffffffffff" * (name == "a")
            tag(running.client(), zone.instance_id, **{"nat-failover:route-tables": tables})
        here = running.client()
        here.run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)  # somebody else's, without a tag
        profile(running.client("iam"), "database")
        for name, where in {"nat-evil": {}, "nat-inside": inside(running)}.items():
            stranger = launch(here, "database", **where)
            tables = {"nat-failover:route-tables": running.ids.public_route_table}
            tag(here, stranger, **{CLUSTER_TAG: CLUSTER, "Name": name, **tables})
        profile(running.client("iam"), PROFILE)
        far = boto3.client("ec2", FAR, endpoint_url=running.endpoint, **running.credentials())
        for zone, table in (("a", "rtb-0eeeeeeeeeeeeeeee"), ("b", "rtb-0dddddddddddddddd")):
            names = {CLUSTER_TAG: "far", "Name": f"far-nat-{zone}", "nat-failover:route-tables": table}
            tag(far, launch(far, PROFILE), **names)
        access = {"endpoint_url": running.endpoint, **visit(running)}
        staging = boto3.client("ec2", "eu-west-1", **access)
        profile(boto3.client("iam", "eu-west-1", **access), PROFILE)
        for zone, table in (("a", "rtb-0aaaaaaaaaaaaaaaa"), ("b", "rtb-0bbbbbbbbbbbbbbbb")):
            made = launch(staging, PROFILE)
            names = {CLUSTER_TAG: "stage", "Name": f"stage-nat-{zone}", "nat-failover:route-tables": table}
            tag(staging, made, **names)
        yield running


@pytest.fixture(scope="module")
def inventories(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped files with the ids filled in that they ask the operator for."""
    folder = tmp_path_factory.mktemp("filled") / "aws"
    shutil.copytree(INVENTORIES / "aws", folder)
    far = boto3.client("ec2", FAR, endpoint_url=api.endpoint, **api.credentials())
    staging = boto3.client("ec2", "eu-west-1", endpoint_url=api.endpoint, **visit(api))
    profiles = [
        f"arn:aws:iam::{backend.ACCOUNT}:instance-profile/{name}" for name in ("lab-nat-a", "lab-nat-b", PROFILE)
    ]
    words = {
        "arn:aws:iam::111111111111:instance-profile/egress-nat": f"[{', '.join(profiles)}]",
        "111111111111": backend.ACCOUNT,
        "vpc-0aaaaaaaaaaaaaaaa": api.ids.vpc,
        "vpc-0bbbbbbbbbbbbbbbb": vpc_of(far, "far-nat-a"),
        "vpc-0cccccccccccccccc": vpc_of(staging, "stage-nat-a"),
    }
    text = {file: file.read_text(encoding="utf-8") for file in folder.glob("*.aws_ec2.yml")}
    for word, value in words.items():
        assert any(word in each for each in text.values()), word
        text = {file: each.replace(word, value) for file, each in text.items()}
    for file, each in text.items():
        file.write_text(each, encoding="utf-8")
    return folder


def visit(running: RunningApi) -> dict[str, str]:
    """boto3's credential arguments for the other account."""
    given = running.client("sts").assume_role(RoleArn=STAGING_ROLE, RoleSessionName="test")["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def profile(iam: Any, name: str) -> None:
    """A role and its instance profile of the same name."""
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def launch(ec2: Any, of: str, **where: str) -> str:
    """An instance with a profile; returns its id."""
    asked = {"ImageId": vpc.IMAGE, "MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Name": of}, **where}
    return str(ec2.run_instances(**asked)["Instances"][0]["InstanceId"])


def inside(running: RunningApi) -> dict[str, str]:
    return {"SubnetId": running.ids.zones["a"].private_subnet}


def vpc_of(ec2: Any, name: str) -> str:
    [found] = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": [name]}])["Reservations"]
    return str(found["Instances"][0]["VpcId"])


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
    # Text from EC2 is marked as nothing to be templated.
    found: dict[str, Any] = json.loads(done.stdout, object_hook=lambda each: each.get("__ansible_unsafe", each))
    return found


def only(whole: Path, folder: Path, *files: str) -> Path:
    """A folder with some files of another: an inventory is read as a whole."""
    folder.mkdir()
    for name in files:
        source = whole / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def test_the_static_example_has_what_the_role_needs(playbooks: Playbooks) -> None:
    found = listed(playbooks, INVENTORIES / "example" / "hosts.yml")
    assert found["nat_nodes"]["hosts"] == ["nat-a", "nat-b"]
    for host in found["_meta"]["hostvars"].values():
        assert {"nat_instance_cluster", "nat_instance_instance_id", "nat_instance_route_tables"} <= set(host)


def test_clusters_of_several_regions_are_grouped_by_their_tag(
    api: RunningApi, playbooks: Playbooks, inventories: Path, tmp_path: Path
) -> None:
    found = listed(playbooks, only(inventories, tmp_path / "aws", "production.aws_ec2.yml", "group_vars"))
    assert sorted(found["nat_nodes"]["hosts"]) == ["far-nat-a", "far-nat-b", "nat-a", "nat-b"]
    assert sorted(found["cluster_lab"]["hosts"]) == ["nat-a", "nat-b"]
    far = ["far-nat-a", "far-nat-b"]
    assert sorted(found["cluster_far"]["hosts"]) == far == sorted(found["region_us_east_1"]["hosts"])
    zone = api.ids.zones["a"]
    host = found["_meta"]["hostvars"]["nat-a"]
    assert {name: host[name] for name in host if name.startswith("nat_instance_")} == {
        "nat_instance_cluster": CLUSTER,
        "nat_instance_instance_id": zone.instance_id,
        "nat_instance_vpc_id": api.ids.vpc,
        "nat_instance_address": zone.private_ip,
        "nat_instance_region": "eu-west-1",
        "nat_instance_route_tables": [zone.route_table, "rtb-0ffffffffffffffff"],
        "nat_instance_heartbeat_key": "{{ vault_nat_heartbeat_key }}",
        "nat_instance_mode": "full",
    }
    assert host["ansible_host"] == zone.public_ip
    assert (host["nat_iam_interface_id"], host["nat_iam_source_dest_check"]) == (zone.interface_id, True)
    assert found["_meta"]["hostvars"]["far-nat-a"]["nat_instance_region"] == FAR


def test_as_it_is_shipped_it_finds_nobody(playbooks: Playbooks, tmp_path: Path) -> None:
    """Without the operator's own ids no tag is enough."""
    found = listed(playbooks, only(INVENTORIES / "aws", tmp_path / "aws", "production.aws_ec2.yml"))
    assert found["_meta"]["hostvars"] == {}


STRANGERS = ("nat-evil", "nat-inside")


def test_a_stranger_that_carries_the_tags_is_not_enrolled(
    playbooks: Playbooks, inventories: Path, tmp_path: Path
) -> None:
    """Neither one of another VPC, nor one in the VPC of the nodes that lacks their profile."""
    found = listed(playbooks, only(inventories, tmp_path / "aws", "production.aws_ec2.yml"))
    assert not set(STRANGERS) & set(found["_meta"]["hostvars"])
    by_tag = "plugin: amazon.aws.aws_ec2\nregions: [eu-west-1]\nfilters: {tag-key: nat-failover:cluster}\nhostnames: ['tag:Name']\n"
    (tmp_path / "tags.aws_ec2.yml").write_text(by_tag, encoding="ascii")
    assert set(STRANGERS) <= set(listed(playbooks, tmp_path / "tags.aws_ec2.yml")["_meta"]["hostvars"])


def test_a_node_that_a_peer_has_stopped_is_still_in_it(
    api: RunningApi, playbooks: Playbooks, inventories: Path, tmp_path: Path
) -> None:
    api.client().stop_instances(InstanceIds=[api.ids.zones["b"].instance_id])
    found = listed(playbooks, only(inventories, tmp_path / "aws", "production.aws_ec2.yml"))
    api.client().get_waiter("instance_stopped").wait(InstanceIds=[api.ids.zones["b"].instance_id])
    again = listed(playbooks, only(inventories, tmp_path / "again", "production.aws_ec2.yml"))
    api.client().start_instances(InstanceIds=[api.ids.zones["b"].instance_id])
    assert "nat-b" in found["cluster_lab"]["hosts"] and "nat-b" in again["cluster_lab"]["hosts"]


def test_another_account_is_read_as_the_role_there(playbooks: Playbooks, inventories: Path, tmp_path: Path) -> None:
    found = listed(playbooks, only(inventories, tmp_path / "aws", "staging-account.aws_ec2.yml"))
    assert (
        sorted(found["nat_nodes"]["hosts"]) == ["stage-nat-a", "stage-nat-b"] == sorted(found["cluster_stage"]["hosts"])
    )
    assert found["_meta"]["hostvars"]["stage-nat-a"]["nat_iam_account"] == STAGING


def test_one_run_for_all_accounts_regions_and_vpcs(api: RunningApi, playbooks: Playbooks, inventories: Path) -> None:
    """Each node is told of the nodes of its own cluster, its region and its tables, whatever else is in the run. Of no stranger."""
    here: dict[str, Any] = {"ansible_connection": "local", "ansible_become": False, "nat_instance_interface": "lo"}
    here["vault_nat_heartbeat_key"] = "a-key-of-the-tests-that-opens-nothing"
    flags = ("--check", "--tags", "nat_instance_config")
    done = playbooks.run("site", *flags, inventory=inventories, **here)
    assert done.code == 0, done.text
    told = {
        host: result["__nat_instance_plan.config"]
        for _task, host, result in done.results
        if "__nat_instance_plan.config" in result
    }
    clusters = {
        host: (each["cluster"], each["region"], [node["name"] for node in each["nodes"]]) for host, each in told.items()
    }
    assert clusters == {
        "nat-a": ("lab", "eu-west-1", ["nat-a", "nat-b"]),
        "nat-b": ("lab", "eu-west-1", ["nat-a", "nat-b"]),
        "far-nat-a": ("far", FAR, ["far-nat-a", "far-nat-b"]),
        "far-nat-b": ("far", FAR, ["far-nat-a", "far-nat-b"]),
        "stage-nat-a": ("stage", "eu-west-1", ["stage-nat-a", "stage-nat-b"]),
        "stage-nat-b": ("stage", "eu-west-1", ["stage-nat-a", "stage-nat-b"]),
    }
    tables = [node["route_tables"] for node in told["stage-nat-b"]["nodes"]]
    assert tables == [["rtb-0aaaaaaaaaaaaaaaa"], ["rtb-0bbbbbbbbbbbbbbbb"]]


def test_the_policies_of_all_clusters_each_in_its_account(
    api: RunningApi, playbooks: Playbooks, inventories: Path, tmp_path: Path
) -> None:
    staging = boto3.client("iam", endpoint_url=api.endpoint, region_name="eu-west-1", **visit(api))
    homes = {"lab": api.client("iam"), "far": api.client("iam"), "stage": staging}
    for cluster, iam in homes.items():
        iam.create_role(RoleName=f"{cluster}-nodes", AssumeRolePolicyDocument="{}")
    asked = {"nat_iam_folder": str(tmp_path / "iam"), "nat_iam_role": "{{ nat_instance_cluster }}-nodes"}
    done = playbooks.run("iam_policy", inventory=inventories, **asked)
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
        assert api.ids.public_route_table not in json.dumps(written)
    again = playbooks.run("iam_policy", inventory=inventories, **asked)
    assert again.code == 0 and again.changed == 0, again.text
    assert "rtb-0ffffffffffffffff" in (tmp_path / "iam" / "lab.json").read_text()
    assert "rtb-0ffffffffffffffff" not in (tmp_path / "iam" / "far.json").read_text()


def test_a_policy_that_grows_is_shown_and_wants_to_be_accepted(
    api: RunningApi, playbooks: Playbooks, tmp_path: Path
) -> None:
    """Compared with the file of the last run, and with the policy that the role has."""
    api.client("iam").create_role(RoleName="growing", AssumeRolePolicyDocument="{}")
    file = tmp_path / "iam" / "prod.json"

    def run(*tables: str, folder: str = "iam", check: bool = False, **extra: Any) -> Outcome:
        hosts = {
            name: {"nat_instance_instance_id": "i-0%s" % (name[-1] * 16), "nat_instance_route_tables": []}
            for name in ("nat-a", "nat-b")
        }
        hosts["nat-a"]["nat_instance_route_tables"] = list(tables)
        shared = {"nat_instance_cluster": "prod", "nat_instance_region": "eu-west-1"}
        inventory = tmp_path / "hosts.json"
        inventory.write_text(json.dumps({"nat_nodes": {"hosts": hosts, "vars": shared}}), encoding="ascii")
        asked = {
            "nat_iam_folder": str(tmp_path / folder),
            "nat_iam_account": backend.ACCOUNT,
            "nat_iam_role": "growing",
        }
        return playbooks.run("iam_policy", *["--check"] * check, inventory=inventory, **asked, **extra)

    first = run("rtb-0aaaaaaaaaaaaaaaa")
    assert first.code == 0, first.text
    before = file.read_text(encoding="ascii")
    for extra in ({}, {"check": True}, {"folder": "elsewhere"}, {"nat_iam_accept": "staging"}):
        refused = run("rtb-0aaaaaaaaaaaaaaaa", "rtb-0eeeeeeeeeeeeeeee", **extra)
        assert refused.code != 0, extra
        words = "would newly allow: ec2:CreateRoute, ec2:ReplaceRoute on arn:aws:ec2:eu-west-1:123456789012:route-table/rtb-0eeeeeeeeeeeeeeee."
        assert words in refused.messages() and "-e nat_iam_accept=prod" in refused.messages()
        assert file.read_text(encoding="ascii") == before and not (tmp_path / "elsewhere").exists()
    accepted = run("rtb-0aaaaaaaaaaaaaaaa", "rtb-0eeeeeeeeeeeeeeee", nat_iam_accept="staging, prod")
    assert accepted.code == 0 and "rtb-0eeeeeeeeeeeeeeee" in file.read_text(encoding="ascii"), accepted.text
    smaller = run("rtb-0aaaaaaaaaaaaaaaa")
    assert smaller.code == 0 and smaller.changed > 0, smaller.text
    assert file.read_text(encoding="ascii") == before
