# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of identities in a provisioned VPC: which they are, that they stay, and types without room for them."""

from __future__ import annotations

import pytest

ZONES = [
    {"zone": f"eu-west-1{letter}", "public": f"10.0.{number}.0/24", "private": f"10.0.1{number}.0/24"}
    for number, letter in enumerate("abc")
]
A, B, C = (each["zone"] for each in ZONES)


@pytest.fixture
def provision(load):
    return load("plugin_utils.provision_egress")


def test_each_node_has_an_address_for_each_zone(provision):
    found = provision.addresses(ZONES, B, "10.0.1.77", "prod")
    assert found == {
        "private": "10.0.1.253",
        "waiting": {f"prod-nat-{A}": "10.0.1.254", f"prod-nat-{C}": "10.0.1.252"},
        "all": ["10.0.1.253", "10.0.1.254", "10.0.1.252"],
    }


def test_a_zone_that_is_added_changes_none(provision):
    few, many = (provision.addresses(ZONES[:count], A, "10.0.0.10", "prod") for count in (2, 3))
    assert few["private"] == many["private"] and few["waiting"].items() <= many["waiting"].items()


def test_the_address_of_the_node_itself_is_none_of_them(provision):
    found = provision.addresses(ZONES, A, "10.0.0.254", "prod")
    assert found["all"] == ["10.0.0.253", "10.0.0.252", "10.0.0.251"]


def test_a_type_without_room(provision):
    assert provision.refusal(False, ZONES, "t4g.nano", 2) == provision.refusal(True, ZONES, "t4g.small", 4) == ""
    assert provision.refusal(True, ZONES, "t4g.nano", 2).startswith("nat_provision_egress needs 4 private addresses")


@pytest.mark.parametrize(
    ("asked", "zones", "said"),
    [
        (True, 2, ""),
        (False, 2, "nat_provision_state_sync (got 'conntrackd') is for identities; set nat_provision_egress to true"),
        (True, 3, "nat_provision_state_sync (got 'conntrackd') works for 2 nodes, and nat_provision_zones has 3 zones"),
    ],
)
def test_synchronised_connections_need_identities_and_two_nodes(provision, asked, zones, said):
    found = provision.refusal(asked, ZONES[:zones], "t4g.small", 4, "conntrackd")
    assert found.startswith(said) if said else found == ""


def test_without_an_elastic_ip_there_are_no_variables(provision):
    assert provision.inventory(ZONES[0], "", provision.addresses(ZONES, A, "10.0.0.10", "prod")) == {}
