# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a client of the proxy, and the refusals."""

from __future__ import annotations

import pytest
import yaml

from .conftest import ROOT

GIVEN = {
    "url": "http://100.64.99.1:3128",
    "parts": ["apt", "environment", "pip", "dnf"],
    "services": ["docker.service"],
    "no_proxy": [".internal.test", "mirror.test"],
    "is_node": False,
    "host": "web-1",
    "group": "proxy_nodes",
}


@pytest.fixture
def filters(load):
    return load("filter.proxy_client")


def test_each_part_has_its_file_and_bears_the_mark(filters):
    plan = filters.proxy_client_plan(GIVEN)
    mark = yaml.safe_load((ROOT / "roles/proxy_client/vars/main.yml").read_text("utf-8"))["__proxy_client_mark"]
    assert sorted(plan["files"]) == [
        "/etc/apt/apt.conf.d/95aws-ha-egress-proxy",
        "/etc/pip.conf",
        "/etc/profile.d/aws-ha-egress-proxy.sh",
        "/etc/systemd/system/docker.service.d/aws-ha-egress-proxy.conf",
    ]
    assert all(mark in text for text in plan["files"].values())
    assert plan["block"] == "proxy=http://100.64.99.1:3128" and plan["warnings"] == []


def test_metadata_never_goes_through_the_proxy(filters):
    plan = filters.proxy_client_plan({**GIVEN, "no_proxy": []})
    assert plan["no_proxy"] == "localhost,127.0.0.1,169.254.169.254,fd00:ec2::254,[fd00:ec2::254]"
    apt = plan["files"]["/etc/apt/apt.conf.d/95aws-ha-egress-proxy"]
    assert 'Acquire::http::Proxy::169.254.169.254 "DIRECT";' in apt


def test_a_network_is_warned_of(filters):
    assert (
        "botocore do not understand networks"
        in filters.proxy_client_plan({**GIVEN, "no_proxy": ["10.0.0.0/16"]})["warnings"][0]
    )


REFUSALS = {
    "a node": ({"is_node": True}, "web-1 is in the group proxy_nodes"),
    "no proxy": ({"url": ""}, "proxy_client_url: '' is no address of a proxy", "http://100.64.99.1:3128"),
    "a proxy by TLS": ({"url": "https://x.test:3128"}, "is no address of a proxy"),
    "no port": ({"url": "http://x.test"}, "is no address of a proxy"),
    "a password": ({"url": "http://u:p@x.test:3128"}, "is no address of a proxy"),
    "a star": ({"no_proxy": ["*.internal.test"]}, "'*.internal.test' means nothing to curl", "write .internal.test"),
    "a URL in no_proxy": ({"no_proxy": ["http://x.test"]}, "is neither a name nor a network"),
    "two in one": ({"no_proxy": ["a.test,b.test"]}, "'a.test,b.test' is no name"),
    "no service": (
        {"services": ["docker"]},
        "proxy_client_services: 'docker' is no name of a service",
        "docker.service",
    ),
    "a path": ({"services": ["../x.service"]}, "'../x.service' is no name of a service"),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_one_sentence(filters, case):
    change, *words = REFUSALS[case]
    said = filters.proxy_client_refusal({**GIVEN, **change})
    assert [word for word in words if word not in said] == [], said


def test_the_documented_defaults_are_the_defaults():
    role = ROOT / "roles" / "proxy_client"
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text("utf-8"))
    assert {name: option["default"] for name, option in options.items()} == defaults
