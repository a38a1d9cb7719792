# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of two nodes, and the options of the role nat_instance."""

from __future__ import annotations

import yaml

from ..conftest import ROOT

SPEC = ROOT / "roles" / "nat_instance" / "meta" / "argument_specs.yml"
OPTIONS = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
KEY_FILE = "/etc/nat-failover/heartbeat.key"
A = {"nat_instance_instance_id": "i-0aaaaaaaaaaaaaaaa", "nat_instance_route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]}
B = {"nat_instance_instance_id": "i-0bbbbbbbbbbbbbbbb", "nat_instance_route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]}
PROD = {"nat_instance_cluster": "prod"}
NODES = (
    {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
    {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]},
)


def unit_names(made):
    return [unit["name"] for unit in made["units"]]
