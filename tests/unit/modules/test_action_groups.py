# SPDX-License-Identifier: GPL-3.0-or-later
"""module_defaults reach the modules by their action groups."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from .conftest import ROOT

GROUPS = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]


def test_the_group_all_has_every_module():
    assert sorted(GROUPS["all"]) == sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))


def test_the_group_node_has_every_module_with_a_configuration(load):
    with_one = [name for name in GROUPS["all"] if "aws_ha.egress.node" in load("modules." + name).DOCUMENTATION]
    assert GROUPS["node"] == with_one


@pytest.fixture(scope="module")
def said(collection, tmp_path_factory):
    """The answers of a module here and of one of amazon.aws to an endpoint that leads nowhere."""
    folder = tmp_path_factory.mktemp("groups")
    nowhere = {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "connection": "local",
        "ignore_errors": True,
        "vars": {"ansible_python_interpreter": sys.executable},
        "module_defaults": {"group/aws_ha.egress.aws": nowhere},
        "tasks": [
            {"aws_ha.egress.source_dest_check": {"instance_id": "i-0aaaaaaaaaaaaaaaa"}},
            {"amazon.aws.aws_caller_info": {}},
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collection),
        "ANSIBLE_HOME": str(folder / "home"),
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "localhost,", "play.yml"]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_one_group_for_ours_and_amazon_aws(said):
    ours, theirs = said.split("TASK [")[1:]
    assert "ec2:DescribeInstances" in ours and "http://127.0.0.1:9" in ours
    assert "Failed to retrieve caller" in theirs and "http://127.0.0.1:9" in theirs
