# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter aws_ha.egress.iam_policy."""

from __future__ import annotations

import pytest

NODES = [
    {"instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
    {"instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]},
]
WHERE = {"cluster": "prod", "region": "eu-west-1", "account": "012345678901"}


@pytest.fixture
def policy(load):
    return load("filter.iam_policy").FilterModule().filters()["iam_policy"]


def by_sid(document):
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_only_reading_is_not_scoped(policy):
    for sid, statement in by_sid(policy(NODES, **WHERE)).items():
        scoped = statement["Resource"] != ["*"] and all("*" not in each for each in statement["Resource"])
        assert scoped or "Condition" in statement or sid == "Read"


def test_the_arns_are_exact(policy):
    found = by_sid(policy(NODES, **WHERE))
    prefix = "arn:aws:ec2:eu-west-1:012345678901:"
    assert found["Routes"]["Resource"] == [
        prefix + "route-table/rtb-0aaaaaaaaaaaaaaaa",
        prefix + "route-table/rtb-0bbbbbbbbbbbbbbbb",
    ]
    assert found["Fence"]["Resource"] == [prefix + "instance/" + node["instance_id"] for node in NODES]


def test_a_node_can_neither_join_a_cluster_nor_delete_all_tags(policy):
    condition = by_sid(policy(NODES, **WHERE))["SharedMemory"]["Condition"]
    assert "nat-failover:cluster" not in condition["ForAllValues:StringEquals"]["aws:TagKeys"]
    assert condition["Null"] == {"aws:TagKeys": "false"}


def test_the_tags_are_those_that_the_engine_writes(load):
    from nat_failover.model import cluster as model

    written = {getattr(model, name) for name in dir(model) if name.startswith("TAG_")}
    ours = set(load("plugin_utils.iam").WRITTEN_TAGS)
    assert ours == written - {"nat-failover:" + each for each in ("cluster", "node", "home", "maintenance")}


@pytest.mark.parametrize(
    "options, sids",
    [
        ({"mode": "observe"}, {"Read", "SharedMemory", "SourceDestCheck"}),
        ({"mode": "route"}, {"Read", "SharedMemory", "SourceDestCheck", "Routes"}),
        ({"fence": "none"}, {"Read", "SharedMemory", "SourceDestCheck", "Routes"}),
        ({"source_dest_check": False}, {"Read", "SharedMemory", "Routes", "Fence"}),
    ],
)
def test_what_is_not_needed_is_left_out(policy, options, sids):
    assert set(by_sid(policy(NODES, **WHERE, **options))) == sids


@pytest.mark.parametrize(
    "options, actions",
    [
        ({}, ["Query", "PutItem", "DeleteItem"]),
        ({"mode": "route"}, ["Query", "PutItem"]),
        ({"fence": "none"}, ["Query", "PutItem"]),
    ],
)
def test_a_witness_table_is_opened_for_the_items_of_the_cluster_only(policy, options, actions):
    statement = by_sid(policy(NODES, **WHERE, witness_table="nat-failover", **options))["Witness"]
    assert statement["Action"] == ["dynamodb:" + action for action in actions]
    assert statement["Resource"] == ["arn:aws:dynamodb:eu-west-1:012345678901:table/nat-failover"]
    assert statement["Condition"]["ForAllValues:StringEquals"] == {"dynamodb:LeadingKeys": ["prod"]}


def test_nobody_may_write_to_a_witness(policy):
    witness = {"instance_id": "i-0cccccccccccccccc", "route_tables": [], "witness": True}
    assert policy([*NODES, witness], **WHERE) == policy(NODES, **WHERE)


def test_a_reboot_needs_no_stop(policy):
    assert by_sid(policy(NODES, **WHERE, fence="reboot"))["Fence"]["Action"] == ["ec2:RebootInstances"]


def test_by_tag(policy):
    found = by_sid(policy(NODES, **WHERE, scope="tag"))
    tag = {"aws:ResourceTag/nat-failover:cluster": "prod"}
    assert found["Fence"]["Condition"]["StringEquals"] == tag
    assert found["SharedMemory"]["Condition"]["StringEquals"] == tag
    assert found["SharedMemory"]["Condition"]["Null"] == {"aws:TagKeys": "false"}


def test_by_tag_no_ids_are_needed(policy):
    found = by_sid(policy([{"route_tables": []}, {}], **WHERE, scope="tag", tables="tag"))
    assert found["Fence"]["Resource"] == ["arn:aws:ec2:eu-west-1:012345678901:instance/*"]
    assert "Routes" not in found
    assert found["TaggedRoutes"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/nat-failover:cluster": "prod"},
        "Null": {"aws:ResourceTag/nat-failover:home": "false"},
    }
    assert "Condition" in found["SourceDestCheck"]


def test_tagged_tables_come_beside_the_named_ones(policy):
    found = by_sid(policy(NODES, **WHERE, tables="tag"))
    assert found["Routes"] == by_sid(policy(NODES, **WHERE))["Routes"]
    assert found["TaggedRoutes"]["Action"] == found["Routes"]["Action"]
    assert "TaggedRoutes" not in by_sid(policy(NODES, **WHERE, tables="tag", mode="observe"))


def test_known_interfaces_are_named(policy):
    nodes = [{**node, "interface_id": "eni" + node["instance_id"][1:]} for node in NODES]
    statement = by_sid(policy(nodes, **WHERE))["SourceDestCheck"]
    assert [each.rpartition("/")[2] for each in statement["Resource"]] == [
        "eni-0aaaaaaaaaaaaaaaa",
        "eni-0bbbbbbbbbbbbbbbb",
    ]
    assert "Condition" not in statement
    assert "Condition" in by_sid(policy([nodes[0], NODES[1]], **WHERE))["SourceDestCheck"]


@pytest.mark.parametrize(
    "nodes, options, words",
    [
        ([], {}, "at least one node"),
        ([{"instance_id": "i-*", "route_tables": []}], {}, r"nodes\[0\].instance_id: 'i-\*'"),
        ([{"route_tables": []}], {}, r"nodes\[0\].instance_id: None"),
        ([{**NODES[0], "route_tables": ["rtb-x"]}], {}, r"nodes\[0\].route_tables: 'rtb-x'"),
        (NODES, {"account": "1234"}, "account: '1234' must be twelve digits"),
        (NODES, {"region": ""}, "region: '' must be a region"),
        (NODES, {"tables": "all"}, "tables: 'all' must be one of ids, tag"),
        (NODES, {"mode": "all"}, "mode: 'all' must be one of observe, route, full"),
        (NODES, {"witness_table": "t*"}, r"witness_table: 't\*' must be the name of a DynamoDB table"),
        (NODES, {"color": "red"}, "color"),
    ],
)
def test_bad_input_is_named(policy, nodes, options, words):
    from ansible.errors import AnsibleFilterError

    with pytest.raises(AnsibleFilterError, match=words):
        policy(nodes, **{**WHERE, **options})
