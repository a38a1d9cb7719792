# SPDX-License-Identifier: GPL-3.0-or-later
"""Without an egress address a node is what it was before identities existed: rules, kernel settings, permissions, configuration, units.

``without_identities.json`` was recorded with ``made`` from the last commit without them. A change for another reason records it again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
import pytest
import yaml

from .conftest import ROOT

RECORDED = Path(__file__).with_suffix(".json").with_name("without_identities.json")
HOSTS = {
    f"nat-{letter}": {
        "nat_instance_instance_id": f"i-0{letter * 16}",
        "nat_instance_route_tables": [f"rtb-0{letter * 16}"],
        "nat_instance_address": f"10.0.{number}.10",
    }
    for number, letter in enumerate("ab")
}
UNITS = (".service", "-canary.service", "-repair.socket", "-repair@.service", "-handover.service", "-rules.service")
UNITS += ("-web.service", "-hooks.service", "-cloudwatch.service")
ASKED = {
    "nat_instance_cluster": "prod",
    "nat_instance_heartbeat_key": "k" * 32,
    "nat_instance_name": "nat-a",
    "nat_instance_sources": ["10.0.0.0/16", "2001:db8::/56"],
    **HOSTS["nat-a"],
}
NODES = [
    {"instance_id": given["nat_instance_instance_id"], "route_tables": given["nat_instance_route_tables"]}
    for given in HOSTS.values()
]


def made(load, root):
    """All that the role writes and the policy allows, for two nodes without egress addresses. ``load`` imports a plugin of ``root``."""
    role = root / "roles" / "nat_instance"
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    options = options["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8"))
    plain = {key: value for key, value in defaults.items() if key != "nat_instance_services"}
    asked = (
        load("filter.arguments")
        .FilterModule()
        .filters()["arguments"]({**plain, **ASKED}, options, prefix="nat_instance_")
    )
    filters = load("filter.nat_instance").FilterModule().filters()
    found = filters["nat_instance_cluster"](
        list(HOSTS), host="nat-a", group="nat_nodes", asked=asked, instance_id=NODES[0]["instance_id"], hostvars=HOSTS, options=options
    )  # fmt: skip
    host = {"memory_kib": 4_000_000, "sysctls": {}, "config": ""}
    plan = filters["nat_instance_plan"](
        asked, nodes=found["nodes"], region="eu-west-1", interface="ens5", key_file="/k", host=host, packages=[]
    )
    engine = load("module_utils.nat_failover.config.load")
    nat = engine.parse(plan["config"]).nat
    rules, kernel = load("module_utils.nat_failover.host.wanted_rules"), load("module_utils.nat_failover.host.kernel")
    template = jinja2.Environment().from_string(
        (role / "templates/90-nat-failover.conf.j2").read_text(encoding="utf-8")
    )
    policy = load("plugin_utils.iam").node_policy(NODES, cluster="prod", region="eu-west-1", account="1" * 12)
    return {
        "problem": plan["problem"],
        "config": plan["config"],
        "policy": policy,
        "sysctls": plan["sysctls"],
        "repaired sysctls": kernel.sysctls(nat),
        "sysctl.d": template.render(__nat_instance_interface="ens5", __nat_instance_plan=plan).splitlines(),
        "rules": {
            command: [line for lines in rules.rules(nat, command).values() for line in lines]
            for command in ("iptables", "ip6tables")
        },
    }


@pytest.fixture
def now(load):
    return json.loads(json.dumps(made(load, ROOT)))


@pytest.mark.parametrize("part", ["problem", "config", "policy", "sysctls", "repaired sysctls", "sysctl.d", "rules"])
def test_nothing_of_it_is_there(now, part):
    assert now[part] == json.loads(RECORDED.read_text(encoding="utf-8"))[part]


def test_the_order_in_the_configuration_file_is_the_same_too(now):
    assert json.dumps(now["config"]) == json.dumps(json.loads(RECORDED.read_text(encoding="utf-8"))["config"])


def test_no_unit_knows_of_identities():
    folder = ROOT / "roles/nat_instance/templates"
    texts = {name: (folder / f"nat-failover{name}.j2").read_text(encoding="utf-8") for name in UNITS}
    assert not [name for name, text in texts.items() if re.search("identit|egress_|private_address", text)]
