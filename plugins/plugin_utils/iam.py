# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a node may do in AWS, as an IAM policy.

Pure: no Ansible, no AWS; bad input is a ``ValueError``.
"""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t

from .partitions import partition_of

CLUSTER_TAG = "nat-failover:cluster"
HOME_TAG = "nat-failover:home"
# Tags that the engine writes, see "Tags" in docs/architecture.md. The tags that name the members of
# a cluster, and the node that an instance is, are not among them: a node must not be able to tag
# itself, or another instance, into a cluster.
OWN_TAGS = ("nat-failover:flare", "nat-failover:drained")  # a node writes these on its own instance only
PAUSE_TAG = "nat-failover:pause"
FENCE_TAG = "nat-failover:fence"
WRITTEN_TAGS = (*OWN_TAGS, FENCE_TAG, PAUSE_TAG)
MODES = ("observe", "route", "full")
FENCES: t.Mapping[str, tuple[str, ...]] = {
    # The reboot is the fall-back for an instance that EC2 does not stop, such as a one-time spot
    # one.
    "stop_start": ("ec2:StopInstances", "ec2:StartInstances", "ec2:RebootInstances"),
    "reboot": ("ec2:RebootInstances",),
    "none": (),
}
SCOPES = ("ids", "tag")  # of instances; and of route tables
# Characters without whitespace, by the IAM User Guide, "IAM and AWS STS quotas": of one managed
# policy, and of all inline policies of a role together.
MANAGED_LIMIT, INLINE_LIMIT = 6144, 10240
Statement = dict[str, t.Any]
Condition = t.Mapping[str, t.Any]


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
    partition: str = "",
    source_dest_check: bool = True,
    create_route: bool = True,
    source_ips: t.Sequence[str] = (),
    witness_table: str = "",
) -> dict[str, t.Any]:
    """The policy document for the role that all nodes of a cluster share, since each may have to
    act for each.

    ``nodes`` name ``instance_id`` (not needed with ``scope`` tag), ``route_tables`` and, if known,
    ``interface_id`` and ``source_dest_check`` (false: the check is off already). Those with
    ``witness`` are left out: no node writes to them. ``name`` and ``vpc_id``, where given, let
    nodes of different VPCs be refused. ``egress_address`` is the Elastic IP of a node that has an
    identity.
    """
    _one_of("mode", mode, MODES)
    _one_of("fence", fence, tuple(FENCES))
    _one_of("scope", scope, SCOPES)
    _one_of("tables", tables, SCOPES)
    _matches("account", account, r"\d{12}", "twelve digits, in quotes")
    nodes = [node for node in nodes if not node.get("witness")]
    if not cluster or not nodes:
        raise ValueError("a policy needs the name of the cluster and at least one node")
    _one_vpc(nodes)
    where = _Where(_partition(partition, region), region, account)
    tagged = {"StringEquals": {"aws:ResourceTag/" + CLUSTER_TAG: cluster}}
    instances = _instances(nodes, scope)
    fences = FENCES[fence] if mode == "full" else ()
    by_id = scope == "ids"
    every = [where.ec2("instance", each) for each in instances] if by_id else [where.ec2("instance", "*")]
    limited: Condition = {} if by_id else tagged

    elastic = _elastic_ips(nodes)
    # EC2 cannot scope reading.
    reads = ["ec2:DescribeInstances", "ec2:DescribeRouteTables"] + ["ec2:DescribeAddresses"] * bool(elastic)
    statements = [_allow("Read", reads, ["*"], {})]
    statements += _tags(every, limited, by_id, bool(fences))
    if mode != "observe":
        statements += _routes(_tables(nodes), tables, where, tagged, create_route)
        statements += _identities(nodes, elastic, where, tagged)
    if fences:
        statements.append(_allow("Fence", fences, every, limited))
    if source_dest_check:
        statements += _source_dest_check(nodes, where, tagged)
    if witness_table:
        statements.append(_witness(witness_table, where, cluster, bool(fences)))
    return _fitting(_from_addresses(statements, source_ips), where)


def _one_vpc(nodes: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    found = [(node.get("name") or node.get("instance_id"), node["vpc_id"]) for node in nodes if node.get("vpc_id")]
    if len({vpc for _name, vpc in found}) > 1:
        raise ValueError(
            "the nodes lie in different VPCs ({}); a cluster lies in one: correct the inventory".format(
                ", ".join("{} in {}".format(*each) for each in found)
            )
        )


class _Where(t.NamedTuple):
    """Where the cluster lives, and the ARNs of what is there."""

    partition: str
    region: str
    account: str

    def ec2(self, kind: str, name: str) -> str:
        return "arn:{}:ec2:{}:{}:{}/{}".format(*self, kind, name)

    def dynamodb(self, table: str) -> str:
        return "arn:{}:dynamodb:{}:{}:table/{}".format(*self, table)


def _partition(given: str, region: str) -> str:
    known = partition_of(region)
    if given and given != known:
        raise ValueError(f"partition: {given!r} is not that of region {region}, which is {known}; leave it out")
    return known


def _tags(every: t.Sequence[str], limited: Condition, by_id: bool, fences: bool) -> t.Iterator[Statement]:
    """A node writes its flare and its drain on itself only; a pause, and the mark of a fence, on
    any node.

    ``ec2:SourceInstanceARN`` is the instance that the role's credentials were given to. Without ids
    no key says "on itself".
    """
    shared = [PAUSE_TAG] + [FENCE_TAG] * fences
    actions = ["ec2:CreateTags", "ec2:DeleteTags"]
    if not by_id:
        yield _allow("SharedMemory", actions, every, _merged(limited, _only(*OWN_TAGS, *shared)))
        return
    for number, arn in enumerate(every, 1):
        own = {"ArnEquals": {"ec2:SourceInstanceARN": arn}}
        yield _allow(f"OwnTags{number}", actions, [arn], _merged(own, _only(*OWN_TAGS)))
    yield _allow("SharedMemory", actions, every, _only(*shared))


def _only(*keys: str) -> Condition:
    # ForAllValues is also true of a request that names no tag at all, and DeleteTags without tags
    # deletes every tag there is.
    return {"ForAllValues:StringEquals": {"aws:TagKeys": list(keys)}, "Null": {"aws:TagKeys": "false"}}


def _routes(ids: t.Sequence[str], tables: str, where: _Where, tagged: Condition, create: bool) -> t.Iterator[Statement]:
    """Exact tables; with ``tables`` tag also all that carry the cluster's tag and a home."""
    actions = ["ec2:ReplaceRoute"] + ["ec2:CreateRoute"] * create
    if ids:
        yield _allow("Routes", actions, [where.ec2("route-table", each) for each in ids], {})
    if tables == "tag":
        has_home = {"Null": {"aws:ResourceTag/" + HOME_TAG: "false"}}
        yield _allow("TaggedRoutes", actions, [where.ec2("route-table", "*")], _merged(tagged, has_home))


def _identities(
    nodes: t.Sequence[t.Mapping[str, t.Any]], elastic: t.Sequence[str], where: _Where, tagged: Condition
) -> t.Iterator[Statement]:
    """The Elastic IPs of identities, and the interfaces that may carry them.

    EC2 checks both resources of AssociateAddress. No condition key names the private address, so a
    policy cannot keep an Elastic IP away from the primary one.
    """
    if not elastic:
        return
    actions = ["ec2:AssociateAddress"]
    yield _allow("Identities", actions, [where.ec2("elastic-ip", each) for each in elastic], {})
    known = [node["interface_id"] for node in nodes if node.get("interface_id")]
    exact = len(known) == len(nodes)
    names = sorted(_id("interface_id", each, "eni") for each in known) if exact else ["*"]
    resources = [where.ec2("network-interface", each) for each in names]
    yield _allow("IdentityInterfaces", actions, resources, {} if exact else tagged)


def _source_dest_check(
    nodes: t.Sequence[t.Mapping[str, t.Any]], where: _Where, tagged: Condition
) -> t.Iterator[Statement]:
    """Only to switch it off, and only on interfaces where it may still be on.

    ``ec2:Attribute/NAME`` is the value that a call gives to an attribute: a call that changes
    another attribute has no such key.
    """
    needing = [node for node in nodes if node.get("source_dest_check") is not False]
    if not needing:
        return
    known = [node["interface_id"] for node in needing if node.get("interface_id")]
    off = {"StringEquals": {"ec2:Attribute/SourceDestCheck": "false"}}
    exact = len(known) == len(needing)
    names = sorted(_id("interface_id", each, "eni") for each in known) if exact else ["*"]
    resources = [where.ec2("network-interface", each) for each in names]
    yield _allow(
        "SourceDestCheck", ["ec2:ModifyNetworkInterfaceAttribute"], resources, off if exact else _merged(tagged, off)
    )


def _witness(table: str, where: _Where, cluster: str, fences: bool) -> Statement:
    _matches("witness_table", table, "[A-Za-z0-9_.-]{3,255}", "the name of a DynamoDB table")
    actions = ["dynamodb:Query", "dynamodb:PutItem"] + ["dynamodb:DeleteItem"] * fences
    # Several clusters may share a table: a node must not be able to free the lock of another one.
    own = {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [cluster]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    return _allow("Witness", actions, [where.dynamodb(table)], own)


def _from_addresses(statements: t.Sequence[Statement], addresses: t.Sequence[str]) -> list[Statement]:
    """All of it only from these addresses: stolen credentials are of no use elsewhere."""
    if not addresses:
        return list(statements)
    networks = []
    for each in [addresses] if isinstance(addresses, str) else addresses:
        try:
            networks.append(str(ipaddress.ip_network(each)))
        except ValueError as error:
            raise ValueError(f"source_ips: {each!r} must be an address or a network such as 203.0.113.10") from error
    here = {"IpAddress": {"aws:SourceIp": networks}}
    return [{**each, "Condition": _merged(each.get("Condition", {}), here)} for each in statements]


def _fitting(statements: t.Sequence[Statement], where: _Where) -> dict[str, t.Any]:
    """The document in the longest form that IAM takes.

    Many tables are named by the key ``ec2:RouteTableID``, which is as exact as their ARNs and a
    third as long.
    """
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    if size(document) > MANAGED_LIMIT:
        document["Statement"] = [_short(each, where.ec2("route-table", "")) for each in statements]
    if size(document) > INLINE_LIMIT:
        raise ValueError(
            f"the policy has {size(document)} characters, and IAM takes {INLINE_LIMIT} of a role: tag the route tables with "
            f"{CLUSTER_TAG} and {HOME_TAG}, leave them out of the list, and take tables='tag' (-e nat_iam_tables=tag)"
        )
    return document


def size(document: t.Mapping[str, t.Any]) -> int:
    """The length of a policy as IAM counts it: characters without whitespace."""
    return len(json.dumps(document, separators=(",", ":")))


def _short(statement: Statement, prefix: str) -> Statement:
    if statement["Sid"] != "Routes":
        return statement
    ids = {"StringEquals": {"ec2:RouteTableID": [arn[len(prefix) :] for arn in statement["Resource"]]}}
    return {**statement, "Resource": [prefix + "*"], "Condition": _merged(statement.get("Condition", {}), ids)}


def _instances(nodes: t.Sequence[t.Mapping[str, t.Any]], scope: str) -> list[str]:
    return sorted(
        {
            _id(f"nodes[{index}].instance_id", node.get("instance_id"), "i")
            for index, node in enumerate(nodes)
            if node.get("instance_id") or scope == "ids"
        }
    )


def _elastic_ips(nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    return sorted(
        {
            _id(f"nodes[{index}].egress_address", node["egress_address"], "eipalloc")
            for index, node in enumerate(nodes)
            if node.get("egress_address")
        }
    )


def _tables(nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    return sorted(
        {
            _id(f"nodes[{index}].route_tables", table, "rtb")
            for index, node in enumerate(nodes)
            for table in node.get("route_tables") or ()
        }
    )


def _id(where: str, value: t.Any, kind: str) -> str:
    return _matches(where, value, kind + "-[0-9a-f]{8,17}", f"an id such as {kind}-0aaaaaaaaaaaaaaaa")


def _matches(where: str, value: t.Any, pattern: str, wanted: str) -> str:
    # A wildcard that slips into an ARN would allow more than what was meant.
    if not isinstance(value, str) or not re.match(rf"(?:{pattern})\Z", value):
        raise ValueError(f"{where}: {value!r} must be {wanted}")
    return value


def _one_of(where: str, value: t.Any, known: t.Sequence[str]) -> None:
    if value not in known:
        raise ValueError("{}: {!r} must be one of {}".format(where, value, ", ".join(known)))


def _allow(sid: str, actions: t.Iterable[str], resources: t.Sequence[str], condition: Condition) -> Statement:
    made: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    if condition:
        made["Condition"] = dict(condition)
    return made


def _merged(one: Condition, other: Condition) -> dict[str, t.Any]:
    return {key: {**one.get(key, {}), **other.get(key, {})} for key in {**one, **other}}
