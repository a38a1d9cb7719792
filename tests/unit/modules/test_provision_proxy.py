# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy of a provisioned VPC: refused in one sentence, and the variables that the role proxy takes."""

from __future__ import annotations

import pytest
import yaml

from .conftest import ROOT
from .proxy_given import GIVEN

CIDR = "10.0.0.0/16"


@pytest.fixture
def provision(load):
    return load("plugin_utils.provision_proxy")


@pytest.mark.parametrize(
    "asked",
    [
        ("none", "", "al2023", "", "192.0.2.0/24"),
        ("squid", "", "debian13", "", CIDR),
        ("tinyproxy", "100.64.99.1", "debian12", "", CIDR),
        ("squid", "", "al2023", "ami-0aaaaaaaaaaaaaaaa", CIDR),
    ],
)
def test_fine(provision, asked):
    assert provision.refusal(*asked) == ""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("none", "100.64.99.1", "debian13", "", CIDR), "nat_provision_proxy_address without nat_provision_proxy"),
        (("squid", "", "al2023", "", CIDR), "is made for Debian; set nat_provision_system to debian12 or debian13"),
        (
            ("squid", "10.0.7.7", "debian13", "", CIDR),
            "(got '10.0.7.7') must be an IPv4 address outside of 10.0.0.0/16",
        ),
        (
            ("squid", "squid.test", "debian13", "", CIDR),
            "(got 'squid.test') must be an IPv4 address outside of 10.0.0.0/16",
        ),
        (("squid", "fd00::1", "debian13", "", CIDR), "(got 'fd00::1') must be an IPv4 address"),
        (("squid", "", "debian13", "", "192.0.2.0/24"), "nat_provision_cidr: 192.0.2.0/24 is not private"),
        (
            ("squid", "", "debian13", "", "10.0.0.5/16"),
            "nat_provision_cidr: 10.0.0.5/16 has bits beyond its length; write 10.0.0.0/16",
        ),
    ],
)
def test_refused_in_one_sentence(provision, asked, said):
    found = provision.refusal(*asked)
    assert said in found and "\n" not in found


@pytest.mark.parametrize("engine", ["squid", "tinyproxy"])
@pytest.mark.parametrize("address", ["", "100.64.99.1"])
def test_the_role_takes_the_variables(load, provision, engine, address):
    made = provision.inventory(engine, address, "eu-west-1", CIDR)
    options = yaml.safe_load((ROOT / "roles/proxy/meta/argument_specs.yml").read_text(encoding="utf-8"))
    assert set(made["proxy"]) <= set(options["argument_specs"]["main"]["options"])
    given = {**GIVEN, **{key.removeprefix("proxy_"): value for key, value in made["proxy"].items()}}
    given["nat_destinations"] = made["nat"].get("nat_instance_destinations", ["0.0.0.0/0"])
    settings = load("plugin_utils.proxy_settings").read(given)
    assert (settings.engine, settings.address, settings.port) == (engine, address, provision.PORT)
    assert settings.health_port == provision.HEALTH_PORT
    assert [str(each) for each in settings.sources] == [CIDR]


def test_without_a_proxy_nothing_is_written_for_one(provision):
    assert provision.inventory("none", "", "eu-west-1", CIDR) == {"nat": {}, "proxy": {}}
    assert provision.input_allow("none", CIDR, []) == []


def test_a_node_lets_the_vpc_in_to_its_proxy_and_ssh_from_where_it_is_asked_for(provision):
    assert provision.input_allow("squid", CIDR, ["192.0.2.0/24"]) == [
        {"port": 22, "networks": ["192.0.2.0/24"]},
        {"port": 3128, "networks": [CIDR]},
        {"port": 3129, "networks": [CIDR]},
    ]
