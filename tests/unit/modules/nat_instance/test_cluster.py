# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a cluster, from an inventory."""

from __future__ import annotations

import pytest

from .given import NODES, PROD, A, B


def test_the_nodes_are_the_hosts_of_the_cluster(cluster):
    bee = {**B, "nat_instance_name": "bee", "nat_instance_address": "10.0.1.10", **PROD}
    assert cluster({"nat-a": {**A, **PROD}, "nat-b": bee}) == {
        "nodes": [NODES[0], {**NODES[1], "name": "bee", "address": "10.0.1.10"}],
        "hosts": ["nat-a", "nat-b"],
        "problem": "",
    }


def test_a_host_without_a_cluster_of_its_own_is_in_the_one_of_the_play(cluster):
    assert cluster({"nat-a": A, "nat-b": B})["nodes"] == list(NODES)


def test_the_text_no_makes_no_witness(cluster):
    found = cluster({"nat-a": A, "nat-b": {**B, "nat_instance_witness": "no"}})
    assert found["nodes"] == list(NODES)


def test_tables_of_a_peer_in_an_ini_inventory(cluster):
    text = {**B, "nat_instance_route_tables": "rtb-0bbbbbbbbbbbbbbbb"}
    assert cluster({"nat-a": A, "nat-b": text})["nodes"] == list(NODES)


def test_an_id_that_ec2_gave_to_a_peer_in_this_run(cluster):
    peer = {"nat_instance_route_tables": B["nat_instance_route_tables"], "__nat_instance_id": "i-0bbbbbbbbbbbbbbbb"}
    assert cluster({"nat-a": A, "nat-b": peer})["nodes"] == list(NODES)


PROBLEMS = (
    # the hosts' variables, and what is said of nat-a
    ({}, "nat-a is not in the inventory group nat_nodes"),
    ({"nat-b": B}, "nat-a is not in the inventory group nat_nodes"),
    ({"nat-a": A}, "the cluster 'prod' has one NAT node only, nat-a, and needs two NAT nodes at least"),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_cluster": "prdo"}}, "also holds nat-b ('prdo')"),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_cluster": "prdo"}, "x": {**B, "nat_instance_cluster": "stage"}},
        "also holds nat-b ('prdo'); is nat_instance_cluster right everywhere?",
    ),
    (
        {"nat-a": A, "nat-w": {**B, "nat_instance_witness": True, "nat_instance_route_tables": []}},
        "has one NAT node only, nat-a",
    ),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_instance_id": A["nat_instance_instance_id"]}},
        "nat_instance_instance_id of nat-a and nat-b is the same (got 'i-0aaaaaaaaaaaaaaaa')",
    ),
    (
        {"nat-a": A, "nat-b": B, "old": {**A, "nat_instance_cluster": "gone"}},
        "nat_instance_instance_id of nat-a and old is the same",
    ),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_name": "nat-a"}}, "nat_instance_name of nat-a and nat-b is the same"),
    (
        {
            "nat-a": {**A, "nat_instance_address": "10.0.0.10"},
            "nat-b": {**B, "nat_instance_address": "10.0.0.10"},
        },
        "nat_instance_address of nat-a and nat-b is the same (got '10.0.0.10')",
    ),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_route_tables": A["nat_instance_route_tables"]}},
        "nat_instance_route_tables of nat-a and nat-b both name rtb-0aaaaaaaaaaaaaaaa",
    ),
    ({"nat-a": A, "nat-b": {}}, "not known: nat_instance_route_tables of nat-b, nat_instance_instance_id of nat-b."),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_witness": "x"}}, "nat_instance_witness (got 'x') must be true or false"),
)


@pytest.mark.parametrize(("hostvars", "said"), PROBLEMS)
def test_a_cluster_that_cannot_be_meant_is_refused_in_one_line(cluster, hostvars, said):
    found = cluster(hostvars, **A)
    assert said in found["problem"] and "\n" not in found["problem"]
    assert found["nodes"] == []


def test_nodes_known_by_their_tags_need_no_ids(cluster):
    tables = {"nat_instance_route_tables": []}
    found = cluster({"nat-a": tables, "nat-b": tables}, nat_instance_known_by="tags")
    assert found["nodes"] == [{"name": "nat-a", "route_tables": []}, {"name": "nat-b", "route_tables": []}]
