# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities in the configuration: what is read, and one clear error for each input that cannot work."""

from __future__ import annotations

import copy

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError
from nat_failover.model.cluster import Egress
from nat_failover.model.nat import Identity

A, B = "eipalloc-0aaaaaaaaaaaaaaaa", "eipalloc-0bbbbbbbbbbbbbbbb"
NODE_A = {
    "name": "nat-a",
    "instance_id": "i-0aaaaaaaaaaaaaaaa",
    "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"],
    "address": "10.0.0.10",
    "egress_address": A,
    "egress_private_address": "10.0.0.20",
    "egress_networks": ["10.0.10.0/24"],
    "egress_waiting": {"nat-b": "10.0.0.21"},
}
NODE_B = {
    "name": "nat-b",
    "instance_id": "i-0bbbbbbbbbbbbbbbb",
    "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"],
    "address": "10.0.1.10",
    "egress_address": B,
    "egress_private_address": "10.0.1.20",
    "egress_networks": ["10.0.11.0/24"],
    "egress_waiting": {"nat-a": "10.0.1.21"},
}
WATCHER = {"name": "nat-w", "instance_id": "i-0cccccccccccccccc", "witness": True}


def having(a=None, b=None, *more, **changes):
    nodes = [copy.deepcopy(NODE_A), copy.deepcopy(NODE_B), *more]
    nodes[0].update(a or {})
    nodes[1].update(b or {})
    least = {"cluster": "c", "self": "nat-a", "region": "eu-west-1", "interface": "ens5", "key_file": "/k"}
    return {**least, "nodes": nodes, "sources": ["10.0.0.0/16"], **changes}


def test_a_node_may_carry_its_own_identity_and_those_that_it_has_a_waiting_address_for():
    config = configuration.parse(having())
    assert config.identities["nat-b"] == Egress(B, "10.0.1.20", ("10.0.11.0/24",))
    assert config.nat.identities == (
        Identity("nat-a", "10.0.0.20", ("10.0.10.0/24",)),
        Identity("nat-b", "10.0.0.21", ("10.0.11.0/24",)),
    )


def test_half_of_it_is_enough_to_work():
    """An identity that no peer waits for, and a peer without one of its own."""
    bare = {"egress_address": "", "egress_private_address": "", "egress_networks": [], "egress_waiting": {}}
    config = configuration.parse(having({"egress_waiting": {}}, bare))
    assert [each.name for each in config.nat.identities] == ["nat-a"]
    config = configuration.parse(having({**bare, "egress_waiting": {"nat-b": "10.0.0.21"}}, {"egress_waiting": {}}))
    assert [each.name for each in config.nat.identities] == ["nat-b"]


def test_without_an_egress_address_the_configuration_is_what_it_was():
    nodes = [{key: value for key, value in each.items() if "egress" not in key} for each in (NODE_A, NODE_B)]
    config = configuration.parse({**having(), "nodes": nodes})
    assert config.identities == {} and config.nat.identities == ()
    assert all(node.egress is None and node.waiting == {} for node in config.nodes)


@pytest.mark.parametrize(
    "a, b, key, words",
    [
        ({"egress_address": "203.0.113.10"}, {}, "nodes[0].egress_address", "eipalloc- and then 8 or 17"),
        ({"egress_address": B}, {}, "nodes[].egress_address", "an Elastic IP is the identity of one node"),
        ({"egress_address": ""}, {}, "nodes[0].egress_private_address", "is of no use without egress_address"),
        ({"egress_private_address": ""}, {}, "nodes[0].egress_private_address", "is missing, and egress_address needs"),
        ({"egress_private_address": "x"}, {}, "nodes[0].egress_private_address", "is not an IPv4 address"),
        ({"egress_private_address": "10.0.0.10"}, {}, "nodes[0].egress_private_address", "is the address of the node"),
        (
            {"egress_private_address": "10.0.1.10"},
            {},
            "nodes[0].egress_private_address",
            "is also the address of nat-b",
        ),
        ({}, {"egress_private_address": "10.0.0.20"}, "nodes[1].egress_private_address", "egress address of nat-a"),
        ({"egress_waiting": {"nat-b": "10.0.0.10"}}, {}, "nodes[0].egress_waiting", "is also the address of nat-a"),
        ({"egress_waiting": {"nat-b": "10.0.0.20"}}, {}, "nodes[0].egress_waiting", "is also the egress address"),
        ({"egress_waiting": {"nat-b": "fd00::1"}}, {}, "nodes[0].egress_waiting", "is not an IPv4 address"),
        ({"egress_waiting": {"nat-x": "10.0.0.21"}}, {}, "nodes[0].egress_waiting", "name one of: nat-b"),
        ({"egress_waiting": {"nat-a": "10.0.0.21"}}, {}, "nodes[0].egress_waiting", "is no other node with an"),
        ({"egress_waiting": ["10.0.0.21"]}, {}, "nodes[0].egress_waiting", "must be an object of strings"),
        ({"egress_networks": []}, {}, "nodes[0].egress_networks", "is empty"),
        ({"egress_networks": ["10.0.10.1/24"]}, {}, "nodes[0].egress_networks", "has host bits set"),
        ({"egress_networks": ["fd00::/64"]}, {}, "nodes[0].egress_networks", "is IPv6, and an Elastic IP is IPv4"),
        ({"egress_networks": ["10.1.0.0/24"]}, {}, "nodes[0].egress_networks", "is in none of the sources"),
        ({"egress_networks": ["10.0.255.0/24"]}, {}, "nodes[0].egress_networks", "holds the canary's address"),
        ({}, {"egress_networks": ["10.0.10.128/25"]}, "nodes[1].egress_networks", "overlaps 10.0.10.0/24 of nat-a"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key_and_the_remedy(a, b, key, words):
    with pytest.raises(ConfigError) as caught:
        configuration.parse(having(a, b))
    assert caught.value.key == key and words in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "given", [{"egress_waiting": {"nat-a": "10.0.2.21"}}, {key: NODE_A[key] for key in NODE_A if "egress" in key}]
)
def test_a_witness_carries_nothing(given):
    watcher = {**WATCHER, **given}
    with pytest.raises(ConfigError, match="a witness carries no flows of clients"):
        configuration.parse(having({}, {}, watcher))
