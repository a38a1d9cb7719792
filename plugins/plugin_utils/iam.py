# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a node may do in AWS, as an IAM policy. Pure: no Ansible, no AWS; bad input is a ``ValueError``."""

from __future__ import annotations

import re
import typing as t

CLUSTER_TAG = "nat-failover:cluster"
HOME_TAG = "nat-failover:home"
# What the engine writes, see "Tags" in docs/architecture.md. The tags that say who belongs to a cluster, and which node an instance is,
# are not among them: a node must not be able to tag itself, or another instance, into a cluster.
WRITTEN_TAGS = ("nat-failover:flare", "nat-failover:fence", "nat-failover:drained", "nat-failover:pause")
MODES = ("observe", "route", "full")
FENCES: t.Mapping[str, t.Tuple[str, ...]] = {
    "stop_start": ("ec2:StopInstances", "ec2:StartInstances"),
    "reboot": ("ec2:RebootInstances",),
    "none": (),
}
SCOPES = ("ids", "tag")  # of instances; and of route tables
Statement = t.Dict[str, t.Any]


def node_policy(
    nodes: t.Sequence[t.Mapping[str, t.Any]],
    *,
    cluster: str,
    region: str,
    account: str,
    mode: str = "full",
    fence: str = "stop_start",
    scope: str = "ids",
    tables: str = "ids",
    partition: str = "aws",
    source_dest_check: bool = True,
    witness_table: str = "",
) -> t.Dict[str, t.Any]:
    """One policy for all nodes of a cluster, since each may have to act for each.

    ``nodes`` name ``instance_id`` (not needed with ``scope`` tag), ``route_tables`` and, if known, ``interface_id``. Those with ``witness`` are
    nobody's to touch.
    """
    _one_of("mode", mode, MODES)
    _one_of("fence", fence, tuple(FENCES))
    _one_of("scope", scope, SCOPES)
    _one_of("tables", tables, SCOPES)
    _matches("account", account, r"\d{12}", "twelve digits, in quotes")
    _matches("region", region, r"[a-z]{2}(-[a-z]+)+-\d", "a region such as eu-west-1")
    nodes = [node for node in nodes if not node.get("witness")]
    if not cluster or not nodes:
        raise ValueError("a policy needs the name of the cluster and at least one node")
    prefix = "arn:%s:ec2:%s:%s:" % (partition, region, account)
    route_tables, instances, interfaces = _ids(nodes, scope)
    tagged = {"StringEquals": {"aws:ResourceTag/" + CLUSTER_TAG: cluster}}

    def on_instances(sid: str, actions: t.Iterable[str], condition: t.Mapping[str, t.Any]) -> Statement:
        by_id = scope == "ids"
        resources = [prefix + "instance/" + each for each in instances] if by_id else [prefix + "instance/*"]
        return _allow(sid, actions, resources, _merged({} if by_id else tagged, condition))

    statements = [
        _allow("Read", ["ec2:DescribeInstances", "ec2:DescribeRouteTables"], ["*"], {}),  # EC2 cannot scope reading
        on_instances("SharedMemory", ["ec2:CreateTags", "ec2:DeleteTags"], _only_our_tags()),
    ]
    if mode != "observe":
        statements += _routes(route_tables, tables, prefix + "route-table/", tagged)
    if mode == "full" and FENCES[fence]:
        statements.append(on_instances("Fence", FENCES[fence], {}))
    if source_dest_check:
        known = len(interfaces) == len(nodes)
        resources = [prefix + "network-interface/" + each for each in interfaces if known] or [
            prefix + "network-interface/*"
        ]
        action = ["ec2:ModifyNetworkInterfaceAttribute"]
        statements.append(_allow("SourceDestCheck", action, resources, {} if known else tagged))
    if witness_table:
        _matches("witness_table", witness_table, "[A-Za-z0-9_.-]{3,255}", "the name of a DynamoDB table")
        table = "arn:%s:dynamodb:%s:%s:table/%s" % (partition, region, account, witness_table)
        actions = ["dynamodb:Query", "dynamodb:PutItem"]
        fences = mode == "full" and FENCES[fence]
        statements.append(
            _allow("Witness", actions + ["dynamodb:DeleteItem"] * bool(fences), [table], _own_items(cluster))
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _own_items(cluster: str) -> t.Dict[str, t.Any]:
    # Several clusters may share a table: a node must not be able to free the lock of another one.
    return {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [cluster]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }


def _routes(ids: t.Sequence[str], tables: str, prefix: str, tagged: t.Mapping[str, t.Any]) -> t.Iterator[Statement]:
    """Exact tables; with ``tables`` tag also all that carry the cluster's tag and a home."""
    actions = ["ec2:ReplaceRoute", "ec2:CreateRoute"]
    if ids:
        yield _allow("Routes", actions, [prefix + each for each in ids], {})
    if tables == "tag":
        has_home = {"Null": {"aws:ResourceTag/" + HOME_TAG: "false"}}
        yield _allow("TaggedRoutes", actions, [prefix + "*"], _merged(tagged, has_home))


def _only_our_tags() -> t.Dict[str, t.Any]:
    # ForAllValues is also true of a request that names no tag at all, and DeleteTags without tags deletes every tag there is.
    return {"ForAllValues:StringEquals": {"aws:TagKeys": list(WRITTEN_TAGS)}, "Null": {"aws:TagKeys": "false"}}


def _ids(nodes: t.Sequence[t.Mapping[str, t.Any]], scope: str) -> t.Tuple[t.List[str], t.List[str], t.List[str]]:
    tables: t.Set[str] = set()
    instances: t.Set[str] = set()
    interfaces: t.Set[str] = set()
    for index, node in enumerate(nodes):
        if node.get("instance_id") or scope == "ids":
            instances.add(_id("nodes[%d].instance_id" % index, node.get("instance_id"), "i"))
        for table in node.get("route_tables") or ():
            tables.add(_id("nodes[%d].route_tables" % index, table, "rtb"))
        if node.get("interface_id"):
            interfaces.add(_id("nodes[%d].interface_id" % index, node["interface_id"], "eni"))
    return sorted(tables), sorted(instances), sorted(interfaces)


def _id(where: str, value: t.Any, kind: str) -> str:
    return _matches(where, value, kind + "-[0-9a-f]{8,17}", "an id such as %s-0aaaaaaaaaaaaaaaa" % kind)


def _matches(where: str, value: t.Any, pattern: str, wanted: str) -> str:
    # A wildcard that slips into an ARN would allow more than what was meant.
    if not isinstance(value, str) or not re.match("(?:%s)$" % pattern, value):
        raise ValueError("%s: %r must be %s" % (where, value, wanted))
    return value


def _one_of(where: str, value: t.Any, known: t.Sequence[str]) -> None:
    if value not in known:
        raise ValueError("%s: %r must be one of %s" % (where, value, ", ".join(known)))


def _allow(
    sid: str, actions: t.Iterable[str], resources: t.Sequence[str], condition: t.Mapping[str, t.Any]
) -> Statement:
    made: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    if condition:
        made["Condition"] = dict(condition)
    return made


def _merged(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: {**one.get(key, {}), **other.get(key, {})} for key in {**one, **other}}
