# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instance is which node: the rule of ``discovery.choose``, case by case, and over time."""

from __future__ import annotations

import pytest

from nat_failover.config import load as configuration
from nat_failover.model.cluster import TAG_CLUSTER, TAG_NODE, Claim, InstanceView, Node
from nat_failover.model.evidence import Evidence, SelfCheck
from nat_failover.policy import membership
from nat_failover.policy.membership import Roster

A, B = Node("nat-a", "", ()), Node("nat-b", "", ())
FIXED = Node("nat-a", "i-1", ())


def instance(number, state="running", node="nat-a", cluster="prod", created=None):
    tags = {TAG_CLUSTER: cluster, TAG_NODE: node} if node else {}
    return InstanceView(
        state,
        f"eni-{number}",
        f"10.0.0.{number}",
        tags,
        5.0,
        instance_id=f"i-{number}",
        created=f"2026-01-0{created or number}",
    )


def choose(*found, nodes=(A,), roster=None):
    return membership.choose(nodes, "prod", {view.instance_id: view for view in found}, roster or Roster(), 5.0)


def chosen(*found, node=A, roster=None):
    return choose(*found, nodes=(node,), roster=roster)[0]["nat-a"]


@pytest.mark.parametrize(
    "node, found, expected",
    [
        (A, [instance(1)], "i-1"),
        (A, [], ""),
        (A, [instance(1, node="")], ""),
        (A, [instance(1, node="nat-b")], ""),
        (A, [instance(1, cluster="test")], ""),
        (FIXED, [instance(1, node="")], "i-1"),  # named in the configuration: no tags are needed
        (FIXED, [instance(1, node=""), instance(2)], "i-1"),
        (FIXED, [instance(1, "stopped"), instance(2)], "i-1"),  # it exists
        (FIXED, [instance(1, "shutting-down"), instance(2)], "i-2"),
        (FIXED, [instance(1, "terminated"), instance(2, "pending")], "i-2"),
        (FIXED, [instance(2)], "i-2"),
        (FIXED, [instance(1, "terminated")], "i-1"),  # nobody has taken its place
        (A, [instance(1, "stopped"), instance(2)], "i-2"),
        (A, [instance(1, "stopped")], "i-1"),  # a fence stops it, and must start it again
        (A, [instance(2), instance(1)], "i-1"),  # the older one stays
        (A, [instance(1, "shutting-down"), instance(2), instance(3)], "i-2"),
    ],
)
def test_the_rule(node, found, expected):
    assert chosen(*found, node=node).instance_id == expected


def test_a_node_without_an_instance_is_terminated():
    view = chosen()
    assert (view.state, view.interface_id, view.instance_id) == ("terminated", None, "")


def test_an_instance_that_the_configuration_gives_to_one_node_is_no_candidate_for_another():
    views, _roster = choose(instance(1, node="nat-b"), nodes=(FIXED, B))
    assert (views["nat-a"].instance_id, views["nat-b"].instance_id) == ("i-1", "")


def test_who_is_in_use_stays_although_an_older_one_is_started_again():
    _views, roster = choose(instance(1, "stopped"), instance(2))
    view = chosen(instance(1), instance(2), roster=roster)
    assert (view.instance_id, view.rivals) == ("i-2", ("i-1",))


def test_a_stale_reading_brings_nobody_back():
    _views, roster = choose(instance(1))
    _views, roster = choose(instance(1, "shutting-down"), instance(2), roster=roster)
    view = chosen(instance(1), instance(2), roster=roster)
    assert (view.instance_id, view.rivals) == ("i-2", ())


def test_rivals_are_told_in_one_line_each():
    views, _roster = choose(instance(1), instance(2), instance(3, "stopped"), instance(4, node="nat-b"), nodes=(A, B))
    told = membership.rivals(views)
    assert list(told) == ["nat-failover:node of nat-a"]
    assert told["nat-failover:node of nat-a"].startswith("nat-a is i-1, and i-2 runs with the same tags; terminate it")


# --- route tables ------------------------------------------------------------------------------------------------------------------

TABLES = [f"rtb-0000000{number}" for number in range(4)]


def config(**more):
    nodes = [{"name": "nat-a", "route_tables": TABLES[:1]}, {"name": "nat-b"}, {"name": "nat-w", "witness": True}]
    raw = {"cluster": "prod", "self": "nat-a", "region": "eu-west-1", "interface": "ens5", "key_file": "/k"}
    return configuration.parse({**raw, "nodes": nodes, **more})


def claims(homes, **more):
    return [(claim.route_table, claim.home) for claim in membership.claims(config(**more), homes)]


def test_tagged_tables_come_after_the_configured_ones():
    assert claims({}) == [(TABLES[0], "nat-a")]
    assert claims({TABLES[2]: "nat-a", TABLES[1]: "nat-b"}) == [
        (TABLES[0], "nat-a"),
        (TABLES[1], "nat-b"),
        (TABLES[2], "nat-a"),
    ]


def test_a_tagged_table_has_all_destinations():
    found = membership.claims(config(destinations=["0.0.0.0/0", "198.18.0.0/15"]), {TABLES[1]: "nat-b"})
    assert Claim(TABLES[1], "198.18.0.0/15", "nat-b") in found and len(found) == 4


@pytest.mark.parametrize(
    "homes, words",
    [
        ({TABLES[0]: "nat-a", TABLES[1]: "nat-b"}, None),
        ({TABLES[0]: "nat-b"}, "two homes: nat-a by the configuration, which counts, and nat-b by its tag"),
        ({TABLES[1]: "nat-x"}, "names no node that may own it; write one of: nat-a, nat-b"),
        ({TABLES[1]: "nat-w"}, "names no node that may own it; write one of: nat-a, nat-b"),  # a witness owns nothing
    ],
)
def test_a_tag_that_contradicts_is_told_in_one_line_and_does_not_count(homes, words):
    told = list(membership.misplaced(config(), homes).values())
    assert [words in line for line in told] == [True] if words else told == []
    assert claims(homes)[0] == (TABLES[0], "nat-a")
    assert all(home in ("nat-a", "nat-b") for _table, home in claims(homes))


def drift(homes, **more):
    return membership.drift(config(**more), Evidence(0.0, SelfCheck(), {}, {}, {}, homes=homes))


def test_nothing_to_look_after_is_told_once_it_is_known():
    bare = {"nodes": [{"name": "nat-a"}, {"name": "nat-b"}]}
    assert drift(None, **bare) == {}
    assert "no node is the home of any route table" in drift({}, **bare)["nat-failover:home"]
    assert drift({TABLES[1]: "nat-b"}, **bare) == {}
