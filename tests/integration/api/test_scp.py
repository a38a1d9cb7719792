# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of the organization in docs/scp.json, evaluated as the lab's IAM does it: the tags belong to the operator and the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.api import conditions, iam_policy

SCP = json.loads((Path(__file__).resolve().parents[3] / "docs" / "scp.json").read_text(encoding="utf-8"))
EVERYTHING: dict[str, Any] = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
OPERATOR, NODE, DEVELOPER = "nat-operator", "egress-nat", "dev"
INSTANCE = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1"


def may(role: str, action: str, *keys: str, member: bool = True) -> bool:
    """Whether a role that is allowed everything may still do this to an instance; ``member``: one of a cluster."""
    context = {"aws:principalarn": [f"arn:aws:iam::123456789012:role/{role}"]}
    if keys:
        context["aws:tagkeys"] = list(keys)
    if member:
        context["aws:resourcetag/nat-failover:cluster"] = ["prod"]
    verdict = iam_policy.evaluate([EVERYTHING, SCP], "ec2:" + action, INSTANCE, context, conditions.known)
    return verdict == iam_policy.ALLOWED


@pytest.mark.parametrize("key", ["cluster", "node", "home", "route-tables", "maintenance", "pause", "fence", "flare"])
@pytest.mark.parametrize("action", ["CreateTags", "DeleteTags"])
def test_a_stranger_writes_none_of_the_tags(action: str, key: str) -> None:
    assert not may(DEVELOPER, action, "nat-failover:" + key)
    assert not may(DEVELOPER, action, "Name", "nat-failover:" + key)
    assert may(OPERATOR, action, "nat-failover:" + key)


@pytest.mark.parametrize("action", ["CreateTags", "DeleteTags"])
def test_a_node_writes_what_it_must_and_enrols_nobody(action: str) -> None:
    assert all(may(NODE, action, "nat-failover:" + key) for key in ("flare", "fence", "drained", "pause"))
    assert not any(may(NODE, action, "nat-failover:" + key) for key in ("cluster", "node", "home", "route-tables"))


def test_all_tags_of_a_member_at_once_are_the_operators() -> None:
    assert not may(DEVELOPER, "DeleteTags") and not may(NODE, "DeleteTags")
    assert may(OPERATOR, "DeleteTags")
    assert may(DEVELOPER, "DeleteTags", member=False)


def test_other_tags_and_other_calls_are_nobodys_business() -> None:
    assert may(DEVELOPER, "CreateTags", "Name") and may(DEVELOPER, "RunInstances")
