# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of an operator with -e or in INI are typed, or refused in one line. Nothing is asked of any host or of AWS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks.conftest import Playbooks

NODES = """
[{group}]
nat-a nat_instance_instance_id=i-0aaaaaaaaaaaaaaaa nat_instance_route_tables="['rtb-0aaaaaaaaaaaaaaaa']"
nat-b nat_instance_instance_id=i-0bbbbbbbbbbbbbbbb nat_instance_route_tables="rtb-0bbbbbbbbbbbbbbbb"
[{group}:vars]
ansible_connection=local
ansible_become=false
nat_instance_cluster=prod
nat_instance_region=eu-west-1
nat_instance_interface=lo
nat_instance_heartbeat_key=only-for-a-test-0123456789abcdef-0123
nat_instance_manage_packages=false
nat_instance_unseen_after_s=15
{more}
"""


@pytest.fixture(scope="module")
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks(tmp_path_factory.mktemp("arguments"), {})


def ini(folder: Path, *more: str, group: str = "nat_nodes") -> Path:
    """An INI inventory of two nodes, in which all values are text."""
    file = folder / "hosts.ini"
    file.write_text(NODES.format(group=group, more="\n".join(more)), encoding="ascii")
    return file


def test_text_of_an_ini_inventory_and_of_the_command_line_is_typed(playbooks: Playbooks, tmp_path: Path) -> None:
    flags = (
        "--check",
        "--tags",
        "nat_instance_config",
        "-e",
        "nat_instance_check_online=no",
        "-e",
        "nat_site_serial=1",
    )
    done = playbooks.run("site", *flags, inventory=ini(tmp_path, "nat_instance_witness=false"))
    assert done.code == 0, done.text
    [config] = {
        str(result["__nat_instance_plan.config"]["unseen_after_s"]) + str(result["__nat_instance_plan.config"]["nodes"])
        for _task, _host, result in done.results
        if "__nat_instance_plan.config" in result
    }
    assert config.startswith("15[") and "witness" not in config and "['rtb-0bbbbbbbbbbbbbbbb']" in config


@pytest.mark.parametrize(
    ("playbook", "asked", "said"),
    [
        ("site", {"nat_instance_mod": "observe"}, "nat_instance_mod is not known; did you mean nat_instance_mode?"),
        ("site", {"nat_site_seriel": 1}, "nat_site_seriel is not known; did you mean nat_site_serial?"),
        (
            "maintenance",
            {"nat_maintenance_reboot": "maybe"},
            "nat_maintenance_reboot (got 'maybe') must be true or false",
        ),
        ("maintenance", {"nat_maintenance_rebot": "yes"}, "nat_maintenance_rebot is not known; did you mean"),
        ("maintenance", {"nat_maintenance_quiet_s": "soon"}, "nat_maintenance_quiet_s (got 'soon') must be a number"),
        (
            "provision",
            {"nat_provision_region": "eu-west-1", "nat_provision_proxy": "nginx"},
            "must be one of none, squid, tinyproxy",
        ),
        ("switchover", {"nat_switchover_from": "nat-x"}, "nat_switchover_from (got 'nat-x') must be a host"),
        ("switchover", {}, "nat_switchover_from is missing"),
        (
            "switchover",
            {"nat_switchover_from": "nat-a", "nat_switchover_wait_s": "long"},
            "(got 'long') must be a number",
        ),
        ("rotate_key", {"nat_rotate_host": "x"}, "nat_rotate_host is not known; did you mean nat_rotate_hosts?"),
        ("iam_policy", {"nat_iam_scope": "all"}, "nat_iam_scope (got 'all') must be one of ids, tag"),
        ("iam_policy", {"nat_iam_acount": 1}, "nat_iam_acount is not known; did you mean nat_iam_account?"),
        ("migrate_from_nat_gateway", {"nat_migrate_rolback": True}, "did you mean nat_migrate_rollback?"),
        ("migrate_from_nat_gateway", {"nat_instance_fence": {"x": 1}}, "nat_instance_fence.x is not known"),
        ("provision", {}, "nat_provision_region is missing"),
        ("teardown", {"nat_provision_regoin": "eu-west-1"}, "did you mean nat_provision_region?"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    playbooks: Playbooks, tmp_path: Path, playbook: str, asked: dict[str, Any], said: str
) -> None:
    refused = playbooks.run(playbook, "--check", inventory=ini(tmp_path), **asked)
    assert refused.code != 0 and refused.changed == 0
    assert said in refused.messages(), refused.text
    failed = [result["msg"] for _task, _host, result in refused.results if result.get("failed")]
    assert all(len(message) < 300 and "\n" not in message for message in failed)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("[far]", "nat-c", "[far:vars]", "x=1"), "no host of the inventory is in nat_nodes"),
    ],
)
def test_an_empty_group_is_no_green_run(playbooks: Playbooks, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    refused = playbooks.run("site", "--check", inventory=ini(tmp_path, *more, group="nat"))
    assert refused.code != 0
    assert said in refused.messages() and "Groups are: far, nat" in refused.messages(), refused.text


def test_a_cluster_name_that_differs_on_one_node(playbooks: Playbooks, tmp_path: Path) -> None:
    inventory = ini(tmp_path, "[nat_nodes]", "nat-b nat_instance_cluster=prdo")
    refused = playbooks.run("site", "--check", inventory=inventory)
    assert refused.code != 0
    assert "the cluster 'prod' has one NAT node only, nat-a" in refused.messages(), refused.text
    assert "also holds nat-b ('prdo')" in refused.messages()
