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


@pytest.mark.parametrize("scope", ["ids", "tag"])
def test_a_node_can_neither_join_a_cluster_nor_delete_all_tags(policy, scope):
    tagging = [each for each in policy(NODES, **WHERE, scope=scope)["Statement"] if "ec2:CreateTags" in each["Action"]]
    assert tagging
    for statement in tagging:
        assert "nat-failover:cluster" not in statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]
        assert statement["Condition"]["Null"] == {"aws:TagKeys": "false"}


def test_a_node_shows_a_flare_and_a_drain_on_itself_only(policy):
    found = by_sid(policy(NODES, **WHERE))
    for sid, node in zip(("OwnTags1", "OwnTags2"), NODES, strict=True):
        arn = "arn:aws:ec2:eu-west-1:012345678901:instance/" + node["instance_id"]
        assert found[sid]["Resource"] == [arn]
        assert found[sid]["Condition"]["ArnEquals"] == {"ec2:SourceInstanceARN": arn}
    shared = found["SharedMemory"]["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]
    assert shared == ["nat-failover:pause", "nat-failover:fence"]


@pytest.mark.parametrize("options", [{"mode": "observe"}, {"mode": "route"}, {"fence": "none"}])
def test_nobody_marks_a_fence_where_there_are_none(policy, options):
    shared = by_sid(policy(NODES, **WHERE, **options))["SharedMemory"]
    assert shared["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"] == ["nat-failover:pause"]


def test_the_tags_are_those_that_the_engine_writes(load):
    from nat_failover.model import cluster as model

    written = {getattr(model, name) for name in dir(model) if name.startswith("TAG_")}
    ours = set(load("plugin_utils.iam").WRITTEN_TAGS)
    assert ours == written - {"nat-failover:" + each for each in ("cluster", "node", "home", "maintenance")}


@pytest.mark.parametrize(
    "options, sids",
    [
        ({"mode": "observe"}, {"SourceDestCheck"}),
        ({"mode": "route"}, {"SourceDestCheck", "Routes"}),
        ({"fence": "none"}, {"SourceDestCheck", "Routes"}),
        ({"source_dest_check": False}, {"Routes", "Fence"}),
    ],
)
def test_what_is_not_needed_is_left_out(policy, options, sids):
    always = {"Read", "OwnTags1", "OwnTags2", "SharedMemory"}
    assert set(by_sid(policy(NODES, **WHERE, **options))) == always | sids


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
    assert statement["Condition"] == {"StringEquals": {"ec2:Attribute/SourceDestCheck": "false"}}
    [tagged] = [each for each in policy([nodes[0], NODES[1]], **WHERE)["Statement"] if each["Sid"] == "SourceDestCheck"]
    assert tagged["Condition"]["StringEquals"] == {
        "aws:ResourceTag/nat-failover:cluster": "prod",
        "ec2:Attribute/SourceDestCheck": "false",
    }


def test_a_check_that_is_off_already_needs_no_permission(policy):
    off = [{**node, "interface_id": "eni" + node["instance_id"][1:], "source_dest_check": False} for node in NODES]
    assert "SourceDestCheck" not in by_sid(policy(off, **WHERE))
    one = by_sid(policy([off[0], {**off[1], "source_dest_check": True}], **WHERE))["SourceDestCheck"]
    assert [each.rpartition("/")[2] for each in one["Resource"]] == ["eni-0bbbbbbbbbbbbbbbb"]


@pytest.mark.parametrize("tables, sid", [("ids", "Routes"), ("tag", "TaggedRoutes")])
def test_routes_need_not_be_made(policy, tables, sid):
    statement = by_sid(policy(NODES, **WHERE, tables=tables, create_route=False))[sid]
    assert statement["Action"] == ["ec2:ReplaceRoute"]


def test_credentials_can_be_bound_to_the_addresses_of_the_nodes(policy):
    document = policy(NODES, **WHERE, source_ips=["203.0.113.10", "203.0.113.11/32"], witness_table="witness")
    for statement in document["Statement"]:
        assert statement["Condition"]["IpAddress"] == {"aws:SourceIp": ["203.0.113.10/32", "203.0.113.11/32"]}
    own = by_sid(document)["OwnTags1"]["Condition"]
    assert "ArnEquals" in own and "ForAllValues:StringEquals" in own


def with_tables(count):
    tables = [f"rtb-{number:017x}" for number in range(count)]
    return [{**NODES[0], "route_tables": tables}, NODES[1]]


def test_a_policy_of_many_tables_names_them_by_the_shorter_key(policy, load):
    iam = load("plugin_utils.iam")
    document = policy(with_tables(200), **WHERE)
    assert iam.size(document) <= iam.INLINE_LIMIT
    routes = by_sid(document)["Routes"]
    assert routes["Resource"] == ["arn:aws:ec2:eu-west-1:012345678901:route-table/*"]
    named = routes["Condition"]["StringEquals"]["ec2:RouteTableID"]
    assert sorted(named) == sorted([*with_tables(200)[0]["route_tables"], "rtb-0bbbbbbbbbbbbbbbb"])
    assert not iam_growth_between(load, document, policy(with_tables(200), **WHERE))


def test_the_two_forms_open_the_same(policy, load):
    short = policy(with_tables(200), **WHERE)
    few = policy(NODES, **WHERE)
    assert iam_growth_between(load, short, {**few, "Statement": [by_sid(few)["Read"], by_sid(few)["Fence"]]}) == []
    long = {
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["ec2:ReplaceRoute", "ec2:CreateRoute"],
                "Resource": [f"arn:aws:ec2:eu-west-1:012345678901:route-table/rtb-{each:017x}" for each in range(200)],
            }
        ]
    }
    assert iam_growth_between(load, short, long) == []


def iam_growth_between(load, old, new):
    return load("plugin_utils.iam_growth").growth(old, new)


def test_every_region_of_botocore_has_its_partition(policy, load):
    from botocore.session import Session

    session, regions = Session(), 0
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("ec2", partition):
            document = policy(NODES, **{**WHERE, "region": region})
            arns = [arn for each in document["Statement"] for arn in each["Resource"] if arn != "*"]
            assert {tuple(arn.split(":")[:4]) for arn in arns} == {("arn", partition, "ec2", region)}, region
            regions += 1
    assert regions >= 40


@pytest.mark.parametrize(
    "nodes, options, words",
    [
        ([], {}, "at least one node"),
        ([{"instance_id": "i-*", "route_tables": []}], {}, r"nodes\[0\].instance_id: 'i-\*'"),
        ([{"route_tables": []}], {}, r"nodes\[0\].instance_id: None"),
        ([{**NODES[0], "route_tables": ["rtb-x"]}], {}, r"nodes\[0\].route_tables: 'rtb-x'"),
        (NODES, {"account": "1234"}, "account: '1234' must be twelve digits"),
        (NODES, {"region": ""}, "region: '' must be a region"),
        (NODES, {"region": "eu-west-1\n"}, "must be a region"),
        (NODES, {"region": "eu-*-1"}, "must be a region"),
        (
            NODES,
            {"region": "cn-north-1", "partition": "aws"},
            "'aws' is not that of region cn-north-1, which is aws-cn",
        ),
        (NODES, {"source_ips": ["203.0.113.300"]}, "source_ips: '203.0.113.300' must be an address or a network"),
        (
            with_tables(700),
            {},
            "characters, and IAM takes 10240 of a role: tag the route tables with nat-failover:cluster",
        ),
        (NODES, {"tables": "all"}, "tables: 'all' must be one of ids, tag"),
        (
            [{**NODES[0], "name": "nat-a", "vpc_id": "vpc-1"}, {**NODES[1], "name": "nat-evil", "vpc_id": "vpc-2"}],
            {},
            r"different VPCs \(nat-a in vpc-1, nat-evil in vpc-2\)",
        ),
        (NODES, {"mode": "all"}, "mode: 'all' must be one of observe, route, full"),
        (NODES, {"witness_table": "t*"}, r"witness_table: 't\*' must be the name of a DynamoDB table"),
        (NODES, {"color": "red"}, "color"),
    ],
)
def test_bad_input_is_named(policy, nodes, options, words):
    from ansible.errors import AnsibleFilterError

    with pytest.raises(AnsibleFilterError, match=words):
        policy(nodes, **{**WHERE, **options})


ELASTIC = [{**node, "egress_address": f"eipalloc-0{each * 16}"} for node, each in zip(NODES, "ab", strict=True)]


def test_without_an_egress_address_the_policy_names_no_address(policy):
    document = policy([{**node, "egress_address": ""} for node in NODES], **WHERE)
    assert document == policy(NODES, **WHERE)
    assert not any("Address" in action for each in document["Statement"] for action in each["Action"])


def test_elastic_ips_are_named_and_go_to_the_interfaces_of_the_cluster_only(policy):
    found = by_sid(policy(ELASTIC, **WHERE))
    prefix = "arn:aws:ec2:eu-west-1:012345678901:"
    assert "ec2:DescribeAddresses" in found["Read"]["Action"]
    assert found["Identities"]["Action"] == found["IdentityInterfaces"]["Action"] == ["ec2:AssociateAddress"]
    assert found["Identities"]["Resource"] == [f"{prefix}elastic-ip/eipalloc-0{each * 16}" for each in "ab"]
    assert found["IdentityInterfaces"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/nat-failover:cluster": "prod"}
    }
    known = [{**node, "interface_id": f"eni-0{each * 16}"} for node, each in zip(ELASTIC, "ab", strict=True)]
    exact = by_sid(policy(known, **WHERE))["IdentityInterfaces"]
    assert exact["Resource"] == [f"{prefix}network-interface/eni-0{each * 16}" for each in "ab"]
    assert "Condition" not in exact


def test_a_node_that_only_reports_moves_no_address(policy):
    assert not any(each["Sid"].startswith("Identit") for each in policy(ELASTIC, **WHERE, mode="observe")["Statement"])


def test_an_egress_address_that_is_no_allocation_id_is_named(policy):
    from ansible.errors import AnsibleFilterError

    bad = [{**NODES[0], "egress_address": "eipalloc-*"}, NODES[1]]
    with pytest.raises(AnsibleFilterError, match=r"nodes\[0\].egress_address: 'eipalloc-\*'"):
        policy(bad, **WHERE)
