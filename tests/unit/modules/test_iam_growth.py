# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter aws_ha.egress.iam_policy_growth."""

from __future__ import annotations

import json

import pytest

INSTANCE = "arn:aws:ec2:eu-west-1:123456789012:instance/"
TABLE = "arn:aws:ec2:eu-west-1:123456789012:route-table/"


@pytest.fixture
def growth(load):
    return load("filter.iam_policy_growth").FilterModule().filters()["iam_policy_growth"]


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(actions, resources, effect="Allow", **condition):
    made = {"Effect": effect, "Action": actions, "Resource": resources}
    return {**made, "Condition": condition} if condition else made


STOP = allow(["ec2:StopInstances", "ec2:StartInstances"], [INSTANCE + "i-1", INSTANCE + "i-2"])


def test_the_same_in_other_words_is_no_growth(growth):
    one_by_one = [
        allow(action, INSTANCE + each)
        for action in ("ec2:StartInstances", "ec2:StopInstances")
        for each in ("i-2", "i-1")
    ]
    assert growth(policy(STOP), policy(*one_by_one)) == []
    assert growth(json.dumps(policy(STOP)), policy(*one_by_one)) == []


def test_a_policy_that_takes_away_is_no_growth(growth):
    assert growth(policy(STOP), policy(allow("ec2:StopInstances", INSTANCE + "i-1"))) == []
    assert growth(policy(STOP), policy()) == []


def test_a_stranger_is_named_with_what_becomes_possible_on_it(growth):
    grown = allow(STOP["Action"], [*STOP["Resource"], INSTANCE + "i-6d2a"])
    assert growth(policy(STOP), policy(grown)) == [f"ec2:StartInstances, ec2:StopInstances on {INSTANCE}i-6d2a"]


def test_a_table_in_the_short_form_is_named_as_in_the_long_one(growth):
    ids = {"ec2:RouteTableID": ["rtb-1", "rtb-evil"]}
    short = allow("ec2:ReplaceRoute", [TABLE + "*"], StringEquals=ids)
    assert growth(policy(allow("ec2:ReplaceRoute", TABLE + "rtb-1")), policy(short)) == [
        f"ec2:ReplaceRoute on {TABLE}rtb-evil"
    ]


def test_another_condition_is_told_as_one(growth):
    bound = allow("ec2:StopInstances", INSTANCE + "i-1", IpAddress={"aws:SourceIp": "203.0.113.10/32"})
    free = allow("ec2:StopInstances", INSTANCE + "i-1")
    assert growth(policy(bound), policy(free)) == [f"ec2:StopInstances on {INSTANCE}i-1 under another condition"]


def test_the_order_of_a_condition_says_nothing(growth):
    def keys(*names):
        return policy(allow("ec2:CreateTags", "*", **{"ForAllValues:StringEquals": {"aws:TagKeys": list(names)}}))

    assert growth(keys("a", "b"), keys("b", "a")) == []


def test_a_deny_that_is_gone_is_growth(growth):
    denied = allow("ec2:StopInstances", INSTANCE + "i-9", effect="Deny")
    assert growth(policy(STOP, denied), policy(STOP)) == [f"ec2:StopInstances on {INSTANCE}i-9 is no longer denied"]
    assert growth(policy(STOP), policy(STOP, denied)) == []


@pytest.mark.parametrize(
    "old, words", [("{", "the old policy is no JSON"), ({"a": 1}, "is no IAM policy"), ([], "is no IAM policy")]
)
def test_what_is_no_policy_is_named(growth, old, words):
    from ansible.errors import AnsibleFilterError

    with pytest.raises(AnsibleFilterError, match=words):
        growth(old, policy(STOP))
