# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the playbooks: what is specified is documented at the head of the playbook, and used."""

from __future__ import annotations

import re

import pytest
import yaml

from .conftest import ROOT

PLAYBOOKS = ROOT / "playbooks"
SPECS = yaml.safe_load((PLAYBOOKS / "vars" / "arguments.yml").read_text(encoding="utf-8"))


def text(name):
    return (PLAYBOOKS / f"{name}.yml").read_text(encoding="utf-8")


def test_each_playbook_has_a_specification():
    """But those of the proxy, whose roles check their own variables."""
    others = {each.stem for each in PLAYBOOKS.glob("proxy*.yml")}
    assert set(SPECS) == {each.stem for each in PLAYBOOKS.glob("*.yml")} - others


@pytest.mark.parametrize("name", sorted(SPECS))
def test_each_variable_is_documented_at_the_head_and_the_other_way_round(name):
    head = "\n".join(line for line in text(name).splitlines() if line.startswith("#"))
    documented = set(re.findall(r"^#   (nat_\w+)|-e (nat_\w+)=", head, re.MULTILINE))
    assert {each for pair in documented for each in pair if each} == set(SPECS[name]["options"])


@pytest.mark.parametrize("name", sorted(SPECS))
def test_each_playbook_reads_its_variables_typed(name):
    """None of them is used as it was given, but where Ansible wants it before the first task."""
    assert f"nat_playbook: {name}\n" in text(name)
    tasks = "\n".join(each.read_text(encoding="utf-8") for each in (PLAYBOOKS / "tasks").glob("*.yml"))
    for line in (text(name) + tasks).splitlines():
        if re.match(r" *#|  hosts: |  serial: |      profile: ", line):
            continue
        for variable in SPECS[name]["options"]:
            used = re.findall(rf"(?<![\w.]){variable}\b(?! *\(got|:|=)", re.sub(r'fail_msg: ".*"', "", line))
            assert not used or "nat_hosts:" in line or "found." in line, line


@pytest.mark.parametrize("name", sorted(SPECS))
def test_defaults_fit_their_types(load, name):
    options = SPECS[name]["options"]
    typed = load("plugin_utils.arguments").arguments({}, options)
    assert typed == {key: option["default"] for key, option in options.items() if "default" in option}


def test_no_name_is_taken_for_a_misspelling_of_another(load):
    """Names that differ little, of playbooks and of the role."""
    role = yaml.safe_load((ROOT / "roles/nat_instance/meta/argument_specs.yml").read_text(encoding="utf-8"))
    own = set(role["argument_specs"]["main"]["options"]) | set(role["argument_specs"]["heartbeat_key"]["options"])
    others = {name for spec in SPECS.values() for name in spec["options"]}
    misspelled = load("plugin_utils.arguments").misspelled
    # The role knows its own names only, and an inventory may hold those of the playbooks.
    assert list(misspelled(others, own, "nat_instance_")) == []
