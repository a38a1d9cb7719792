# SPDX-License-Identifier: GPL-3.0-or-later
"""A caller with a role of another account sees that account's resources, and none of those at home.

Source: STS API Reference, AssumeRole; IAM User Guide, "Cross-account resource access". The lab's fabric follows its own account only.
"""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from lab import vpc
from lab.api import backend

OTHER = "222222222222"
ROLE = f"arn:aws:iam::{OTHER}:role/visitor"


def assumed(api, service="ec2"):
    """A client of a service with the credentials of the other account's role."""
    given = api.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="test")["Credentials"]
    return boto3.client(
        service,
        "eu-west-1",
        endpoint_url=api.endpoint,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def instances(ec2):
    """The owner of each instance that a client sees."""
    pages = ec2.describe_instances()["Reservations"]
    return {each["InstanceId"]: page["OwnerId"] for page in pages for each in page["Instances"]}


def test_each_account_has_its_own_instances_and_tables(api, ec2, refusal):
    there = assumed(api)
    assert instances(there) == {}
    made = there.run_instances(ImageId=vpc.IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    assert instances(there) == {made: OTHER}
    assert instances(ec2) == {zone.instance_id: backend.ACCOUNT for zone in api.ids.zones.values()}
    assert assumed(api, "sts").get_caller_identity()["Account"] == OTHER
    table = api.ids.zones["a"].route_table
    assert "InvalidRouteTableID.NotFound" in refusal(there.describe_route_tables, RouteTableIds=[table])
    there.stop_instances(InstanceIds=[made])
    assert {api.instance(node).state for node in ("nat-a", "nat-b")} == {"running"}


def test_the_policies_of_the_other_account_decide_there(iam):
    with iam.api.lock:
        model = backend.iam(OTHER)
        model.create_role("visitor", "{}", "/", None, "", [], 3600)
        allowed = {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}
        model.put_role_policy("visitor", "p", json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    there = assumed(iam)
    assert instances(there) == {}
    with pytest.raises(ClientError, match="not authorized to perform: ec2:DescribeVpcs"):
        there.describe_vpcs()
