# SPDX-License-Identifier: GPL-3.0-or-later
"""The role of a node: what its instance may do by the EC2 API, and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .api import backend
from .tags import CLUSTER_TAG

POLICY = "nat-failover"


def create(model: Any, account: str, instance_id: str, name: str) -> str:
    """A role for a node's instance, by its name. It may do nothing yet."""
    iam = backend.iam(account)
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(name, json.dumps(trust), "/", None, "A NAT node of the lab", [], "3600")
    iam.create_instance_profile(name, "/", [name])
    model.associate_iam_instance_profile(instance_id, iam_instance_profile_name=name)
    return name


def policy(route_tables: Sequence[str], cluster: str, account: str, region: str) -> dict[str, Any]:
    """The least that a node needs: read all (EC2 cannot scope that), write the cluster's own resources."""
    arn = f"arn:aws:ec2:{region}:{account}:"
    of_cluster = {"StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": cluster}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Resource": "*",
                "Action": [
                    "ec2:DescribeRouteTables",
                    "ec2:DescribeInstances",
                    "ec2:DescribeInstanceStatus",
                    "ec2:DescribeNetworkInterfaces",
                ],
            },
            {
                "Sid": "Routes",
                "Effect": "Allow",
                "Resource": [arn + "route-table/" + table for table in route_tables],
                "Action": ["ec2:ReplaceRoute", "ec2:CreateRoute"],
            },
            {
                "Sid": "Fence",
                "Effect": "Allow",
                "Resource": arn + "instance/*",
                "Condition": of_cluster,
                "Action": ["ec2:StopInstances", "ec2:StartInstances", "ec2:RebootInstances"],
            },
            {
                "Sid": "Tags",
                "Effect": "Allow",
                "Resource": arn + "instance/*",
                "Action": ["ec2:CreateTags", "ec2:DeleteTags"],
                # A node must not be able to tag itself into another cluster.
                "Condition": {
                    **of_cluster,
                    "ForAllValues:StringLike": {"aws:TagKeys": "nat-failover:*"},
                    "ForAllValues:StringNotEquals": {"aws:TagKeys": CLUSTER_TAG},
                },
            },
            {
                "Sid": "Forwarding",
                "Effect": "Allow",
                "Resource": [arn + "instance/*", arn + "network-interface/*"],
                "Condition": of_cluster,
                "Action": ["ec2:ModifyInstanceAttribute", "ec2:ModifyNetworkInterfaceAttribute"],
            },
        ],
    }


def grant(
    role: str,
    route_tables: Sequence[str],
    cluster: str,
    account: str,
    region: str,
) -> None:
    """Let a node's role write these route tables, and no others."""
    attach(role, policy(route_tables, cluster, account, region), account)


def attach(role: str, document: dict[str, Any], account: str = backend.ACCOUNT) -> None:
    """Give a policy to a node's role, in place of that of before. With the API's lock held."""
    backend.iam(account).put_role_policy(role, POLICY, json.dumps(document))
