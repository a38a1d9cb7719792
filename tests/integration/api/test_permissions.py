# SPDX-License-Identifier: GPL-3.0-or-later
"""DryRun and IAM where plain moto differs from AWS.

Sources: IAM User Guide ("Policy evaluation logic", "IAM JSON policy elements"), Service Authorization Reference for EC2, EC2 API
Reference ("Common query parameters": DryRun). Plain moto executes dry runs on routes, denies any scoped resource, ignores conditions.
"""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from lab import node_role
from lab.api import backend
from lab.tags import CLUSTER_TAG
from lab.vpc import DEFAULT_ROUTE

ROUTES = "arn:aws:ec2:eu-west-1:123456789012:route-table/"
INSTANCES = "arn:aws:ec2:eu-west-1:123456789012:instance/"


def snapshot(api):
    with api.api.lock:
        return api.api.snapshot(), {each: backend.tags(api.api.model, each) for each in [api.instance("nat-b").id]}


# --- dry runs --------------------------------------------------------------------------------------------------------------------

DRY = {
    "replace_route": {"RouteTableId": "{table}", "DestinationCidrBlock": DEFAULT_ROUTE, "NetworkInterfaceId": "{eni}"},
    "create_route": {"RouteTableId": "{table}", "DestinationCidrBlock": "192.0.2.0/24", "NetworkInterfaceId": "{eni}"},
    "delete_route": {"RouteTableId": "{table}", "DestinationCidrBlock": DEFAULT_ROUTE},
    "stop_instances": {"InstanceIds": ["{instance}"]},
    "start_instances": {"InstanceIds": ["{instance}"]},
    "reboot_instances": {"InstanceIds": ["{instance}"]},
    "terminate_instances": {"InstanceIds": ["{instance}"]},
    "create_tags": {"Resources": ["{instance}"], "Tags": [{"Key": "k", "Value": "v"}]},
    "delete_tags": {"Resources": ["{instance}"], "Tags": [{"Key": "Name"}]},
    "modify_network_interface_attribute": {"NetworkInterfaceId": "{eni}", "SourceDestCheck": {"Value": False}},
    "describe_instances": {},
    "describe_route_tables": {},
}


def filled(value, names):
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    return value.format(**names) if isinstance(value, str) else value


@pytest.mark.parametrize("call", list(DRY))
def test_a_dry_run_changes_nothing(api, ec2, call):
    zone = api.ids.zones["a"]
    names = {
        "table": api.ids.zones["b"].route_table,
        "eni": zone.interface_id,
        "instance": api.ids.zones["b"].instance_id,
    }
    before = snapshot(api)
    with pytest.raises(ClientError) as caught:
        getattr(ec2, call)(DryRun=True, **filled(DRY[call], names))
    error = caught.value.response
    assert error["Error"]["Code"] == "DryRunOperation"
    assert error["Error"]["Message"] == "Request would have succeeded, but DryRun flag is set."
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert snapshot(api) == before


def test_a_dry_run_that_is_not_allowed(iam):
    table = iam.ids.public_route_table
    with pytest.raises(ClientError, match="UnauthorizedOperation") as caught:
        iam.client(node="nat-a").replace_route(
            DryRun=True,
            RouteTableId=table,
            DestinationCidrBlock=DEFAULT_ROUTE,
            NetworkInterfaceId=iam.ids.zones["a"].interface_id,
        )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


# --- policies --------------------------------------------------------------------------------------------------------------------


class Role:
    """nat-a's role, whose policy a test replaces; one client serves all of a test's questions."""

    def __init__(self, running):
        self.api, self.zone = running, running.ids.zones["a"]
        self.client = running.client(node="nat-a")

    def allowed(self, statements):
        """May nat-a replace the default route of zone b's table?"""
        with self.api.api.lock:
            backend.iam().put_role_policy(
                "lab-nat-a", node_role.POLICY, json.dumps({"Version": "2012-10-17", "Statement": statements})
            )
        try:
            self.client.replace_route(
                RouteTableId=self.api.ids.zones["b"].route_table,
                DestinationCidrBlock=DEFAULT_ROUTE,
                NetworkInterfaceId=self.zone.interface_id,
            )
            return True
        except ClientError as error:
            assert error.response["Error"]["Code"] == "UnauthorizedOperation"
            return False


def statement(effect="Allow", action="ec2:ReplaceRoute", resource="*", **condition):
    made = {"Effect": effect, "Action": action, "Resource": resource}
    return {**made, "Condition": condition} if condition else made


def test_policies_are_evaluated_as_iam_does(iam):
    role = Role(iam)
    table = iam.ids.zones["b"].route_table
    tag = f"aws:ResourceTag/{CLUSTER_TAG}"
    old_tag = f"ec2:ResourceTag/{CLUSTER_TAG}"
    allow = statement()
    expected = [
        ([allow], True),
        ([statement(resource=ROUTES + table)], True),
        ([statement(resource="arn:aws:ec2:*:*:route-table/*")], True),
        ([statement(resource=ROUTES + iam.ids.zones["a"].route_table)], False),
        ([statement(resource="arn:aws:ec2:us-east-1:123456789012:route-table/" + table)], False),
        ([statement(resource=["arn:aws:ec2:*:*:instance/*"])], False),
        ([statement(action="ec2:replaceroute")], True),  # actions are not case sensitive
        ([statement(action=["ec2:CreateRoute", "ec2:Replace*"])], True),
        ([statement(action="ec2:CreateRoute")], False),
        ([allow, statement("Deny")], False),  # an explicit deny wins
        ([allow, statement("Deny", resource=ROUTES + "rtb-0fffffffffffffff0")], True),
        ([allow, statement("Deny", StringEquals={tag: "other"})], True),  # a deny whose condition is false does nothing
        ([allow, statement("Deny", StringEquals={tag: "lab"})], False),
        ([statement(StringEquals={tag: "lab"})], True),
        ([statement(StringEquals={old_tag: "lab"})], True),
        ([statement(StringEquals={tag: "other"})], False),
        ([statement(StringEquals={"aws:ResourceTag/absent": "lab"})], False),
        ([statement(StringEqualsIfExists={"aws:ResourceTag/absent": "lab"})], True),
        ([statement(StringLike={tag: "l*"})], True),
        ([statement(StringLike={tag: "L*"})], False),
        ([statement(StringNotEquals={tag: "lab"})], False),
        ([statement(Null={"aws:ResourceTag/absent": "true"})], True),
        ([statement(StringEquals={tag: "lab", "ec2:Region": "us-east-1"})], False),  # all conditions must hold
        ([statement(StringEquals={"ec2:Region": ["us-east-1", "eu-west-1"]})], True),  # any value will do
        ([statement(IpAddress={"aws:SourceIp": ["192.0.2.0/24", "127.0.0.1/32"]})], True),
        ([statement(IpAddress={"aws:SourceIp": "192.0.2.0/24"})], False),
        ([statement(NotIpAddress={"aws:SourceIp": "192.0.2.0/24"})], True),
        ([statement(resource=ROUTES + "*", StringEquals={"ec2:RouteTableID": table})], True),
        ([statement(resource=ROUTES + "*", StringEquals={"ec2:RouteTableID": iam.ids.zones["a"].route_table})], False),
        ([statement(ArnEquals={"ec2:SourceInstanceARN": INSTANCES + iam.ids.zones["a"].instance_id})], True),
        ([statement(ArnEquals={"ec2:SourceInstanceARN": INSTANCES + iam.ids.zones["b"].instance_id})], False),
    ]
    assert [(statements, role.allowed(statements)) for statements, _verdict in expected] == expected


@pytest.mark.parametrize(
    "condition, named",
    [
        ({"NumericLessThan": {"aws:SourceIp": "5"}}, "NumericLessThan"),
        ({"StringEquals": {"aws:SourceVpc": "vpc-1"}}, "aws:SourceVpc"),
    ],
)
def test_a_condition_that_is_not_modelled_is_said_aloud(iam, condition, named):
    client = iam.client(node="nat-a")
    with iam.api.lock:
        policy = {"Version": "2012-10-17", "Statement": [statement(**condition)]}
        backend.iam().put_role_policy("lab-nat-a", node_role.POLICY, json.dumps(policy))
    with pytest.raises(ClientError, match=f"LabUnsupportedPolicy.*{named}"):
        client.replace_route(
            RouteTableId=iam.ids.zones["b"].route_table,
            DestinationCidrBlock=DEFAULT_ROUTE,
            NetworkInterfaceId=iam.ids.zones["a"].interface_id,
        )


def test_the_refusal_has_ec2s_words(iam):
    with pytest.raises(ClientError) as caught:
        iam.client(node="nat-a").terminate_instances(InstanceIds=[iam.ids.zones["b"].instance_id])
    error = caught.value.response["Error"]
    assert error["Code"] == "UnauthorizedOperation"
    assert "You are not authorized to perform this operation." in error["Message"]
    assert "assumed-role/lab-nat-a/i-" in error["Message"]
    assert (
        f"ec2:TerminateInstances on resource: arn:aws:ec2:eu-west-1:123456789012:instance/{iam.ids.zones['b'].instance_id}"
        in (error["Message"])
    )
    assert "because no identity-based policy allows the ec2:TerminateInstances action" in error["Message"]


def test_a_node_cannot_tag_itself_into_another_cluster(iam):
    client, mine = iam.client(node="nat-a"), [iam.ids.zones["a"].instance_id]
    client.create_tags(Resources=mine, Tags=[{"Key": "nat-failover:flare", "Value": "1"}])
    for key in (CLUSTER_TAG, "Name"):
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            client.create_tags(Resources=mine, Tags=[{"Key": key, "Value": "other"}])


# --- credentials -----------------------------------------------------------------------------------------------------------------


def test_credentials_are_checked(iam):
    good = iam.credentials("nat-a")
    wrong = {
        "secret": {**good, "aws_secret_access_key": "x" * 40},
        "key": {**good, "aws_access_key_id": "ASIA" + "X" * 16},
        "token": {**good, "aws_session_token": "x" * 40},
    }
    for what, credentials in wrong.items():
        client = boto3.session.Session().client(
            "ec2", region_name="eu-west-1", endpoint_url=iam.endpoint, **credentials
        )
        with pytest.raises(ClientError) as caught:
            client.describe_instances()
        assert caught.value.response["Error"]["Code"] == "AuthFailure", what
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


def test_credentials_expire(iam):
    client = iam.client(node="nat-a")
    assert client.describe_instances()["Reservations"]
    assert iam.control("expire", {"caller": "nat-a"}) == {"expired": 1}
    with pytest.raises(ClientError, match="RequestExpired"):
        client.describe_instances()


def test_enforcement_can_be_switched(api):
    client = api.client(node="nat-a")
    client.describe_vpcs()
    api.control("iam", {"enforce": True})
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        client.describe_vpcs()
