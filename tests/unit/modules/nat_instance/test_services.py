# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that routes depend on, such as the proxy of the node."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ..conftest import ROOT
from .given import A, B

VIP = "100.64.99.1/32"
PROXY = {"name": "proxy", "file": "/run/aws-ha-egress-health/verdict.json", "destinations": [VIP]}


def defaults_on(host, **given):
    """The default of nat_instance_services, as Ansible's Jinja makes it."""
    files = [ROOT / "roles/nat_instance" / name for name in ("defaults/main.yml", "vars/main.yml")]
    defaults, own = (yaml.safe_load(each.read_text(encoding="utf-8")) for each in files)
    variables = {"inventory_hostname": host, "groups": {"proxy_nodes": ["nat-a"]}, **defaults, **given}
    assert defaults["nat_instance_services"] == "{{ __nat_instance_proxy_services }}"
    value = trust_as_template(own["__nat_instance_proxy_services"])
    return Templar(loader=DataLoader(), variables=variables).template(value)


@pytest.mark.parametrize(
    ("host", "given", "found"),
    [
        ("nat-a", {"proxy_address": "100.64.99.1", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, [PROXY]),
        ("nat-a", {"proxy_address": "100.64.99.1"}, []),
        ("nat-a", {"proxy_address": "", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, []),
        ("nat-a", {}, []),
        ("nat-b", {"proxy_address": "100.64.99.1", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, []),
        (
            "nat-b",
            {
                "proxy_address": "100.64.99.1",
                "nat_instance_destinations": [VIP],
                "proxy_group": "mine",
                "groups": {"mine": ["nat-b"]},
            },
            [PROXY],
        ),
        ("nat-a", {"proxy_address": "100.64.99.1", "nat_instance_destinations": [VIP], "groups": {}}, []),
    ],
)
def test_the_proxy_of_this_node_is_a_service_by_default(host, given, found):
    assert defaults_on(host, **given) == found


def test_services_are_in_the_configuration_only_where_there_are_some(plan):
    served = {"nat_instance_destinations": ["0.0.0.0/0", VIP], "nat_instance_services": [PROXY]}
    assert plan(**served)["config"]["services"] == [PROXY]
    assert "services" not in plan(nat_instance_services=[])["config"]
    assert "services" not in plan(**served, nat_instance_witness=True)["config"]


def test_a_bad_service_is_refused_in_the_words_of_the_role(plan, cluster):
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    bad = {**PROXY, "destinations": ["0.0.0.0/0"]}
    problem = plan(nodes, nat_instance_services=[bad])["problem"]
    assert problem.startswith("nat_instance_services[0].destinations: is the default route"), problem
