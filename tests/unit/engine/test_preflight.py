# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a configuration against EC2, one at a time. All of them with an API: tests/integration/adapter."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import InstanceView
from nat_failover.service import preflight

from .standing import CLAIM_A, CLAIM_B, RAW

DUAL = {"sources": ["10.0.0.0/16", "2001:db8::/56"], "destinations": ["0.0.0.0/0", "::/0"]}


def view(name, **changes):
    return InstanceView("running", f"eni-{name}", **{"address": None, "tags": {}, "read_at": 1.0, **changes})


def cluster(instances=None, homes=None, claims=(CLAIM_A, CLAIM_B), ec2=None, table=None, **config):
    """A cluster in which EC2 agrees with the configuration, except for the changes."""
    shown = {
        node["name"]: view(node["name"], instance_id=node["instance_id"], address=node["address"])
        for node in RAW["nodes"]
    }
    return preflight.Cluster(
        configuration.parse({**RAW, **config}), ec2, table, {**shown, **(instances or {})}, homes or {}, claims
    )


def test_a_cluster_that_agrees_has_no_mistakes():
    for check in (preflight.check_instances, preflight.check_addresses, preflight.check_homes, preflight.check_vpc):
        assert check(cluster()) == []


def test_an_instance_that_is_gone_is_named_with_both_repairs():
    [line] = preflight.check_instances(cluster({"nat-b": view("b", instance_id="")}))
    assert line.startswith("nodes[1].instance_id: EC2 shows no such instance (got 'i-0000000b'); correct the")
    assert "nat-failover:cluster=prod and nat-failover:node=nat-b" in line


@pytest.mark.parametrize(("name", "missing"), [("nat-a", True), ("nat-b", False)])
def test_a_node_known_by_its_tags_may_come_later_unless_it_is_this_node(name, missing):
    nodes = [{"name": "nat-a"}, {"name": "nat-b"}]
    lines = preflight.check_instances(cluster({name: view(name, instance_id="")}, nodes=nodes))
    assert bool(lines) is missing


def test_an_address_of_another_host_is_shown_beside_that_of_ec2():
    [line] = preflight.check_addresses(cluster({"nat-b": view("b", instance_id="i-0000000b", address="10.0.1.99")}))
    assert line == (
        "nodes[1].address: EC2 shows 10.0.1.99 for i-0000000b (got '10.0.1.10'); correct it, or leave it out"
    )


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [({}, False), (DUAL, True), ({**DUAL, "ipv6": "forward"}, False)],
    ids=["no IPv6", "masqueraded", "forwarded"],
)
def test_only_masqueraded_ipv6_needs_an_address_of_this_node(changes, wrong):
    assert bool(preflight.check_ipv6_address(cluster(**changes))) is wrong
    own = {"nat-a": view("a", instance_id="i-0000000a", ipv6_addresses=("2001:db8::10",))}
    assert preflight.check_ipv6_address(cluster(own, **changes)) == []


def tables(error=None):
    def describe_routes(_claims, strict):
        assert strict
        if error:
            raise Ec2Error("ec2:DescribeRouteTables", "rtb-0000000a", error, "no", retryable=False)

    return SimpleNamespace(describe_routes=describe_routes, local_networks=lambda ids: ["100.64.0.0/16"])


def test_a_route_table_that_does_not_exist_is_one_line():
    [line] = preflight.check_tables(cluster(ec2=tables("InvalidRouteTableID.NotFound")))
    assert "ec2:DescribeRouteTables on rtb-0000000a" in line


def test_tables_that_cannot_be_read_prove_nothing():
    with pytest.raises(Ec2Error, match="UnauthorizedOperation"):
        preflight.check_tables(cluster(ec2=tables("UnauthorizedOperation")))


def test_networks_are_compared_once_the_tables_are_read():
    [line] = preflight.check_tables(cluster(ec2=tables()))
    assert "the VPC also has 100.64.0.0/16" in line


def test_a_cluster_without_any_claim_is_a_mistake():
    [line] = preflight.check_homes(cluster(claims=()))
    assert line.startswith("no node is the home of any route table")


@pytest.mark.parametrize(
    ("mode", "policy", "fences"),
    [("full", "stop_start", True), ("full", "none", False), ("route", "stop_start", False)],
)
def test_the_fence_lock_is_checked_only_where_this_node_may_fence(mode, policy, fences):
    asked = []
    table = SimpleNamespace(check=lambda each: asked.append(each) or ["bad keys"])
    assert preflight.check_witness_table(cluster(table=table, mode=mode, fence={"policy": policy})) == ["bad keys"]
    assert asked == [fences]
    assert preflight.check_witness_table(cluster()) == []


def test_a_witness_needs_no_permissions():
    nodes = [*RAW["nodes"], {"name": "nat-w", "instance_id": "i-0000000c", "witness": True}]
    assert preflight.check_permissions(cluster(nodes=nodes, self="nat-w", ec2=None)) == []
