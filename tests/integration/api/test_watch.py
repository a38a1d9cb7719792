# SPDX-License-Identifier: GPL-3.0-or-later
"""The alarms of docs/watch.json: valid, silent at the work of a node, and raised by what a stolen role still can.

The events have the form of CloudTrail's records of EC2 (CloudTrail User Guide, "CloudTrail record contents"). moto matches patterns as
EventBridge does, but for lists of objects, which EventBridge flattens.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern

TEMPLATE = Path(__file__).resolve().parents[3] / "docs" / "watch.json"
ROLE = "arn:aws:iam::123456789012:role/nodes"
OPERATOR = "arn:aws:iam::123456789012:role/ci"
VALUES: dict[str, Any] = {
    "NodeRoleArn": ROLE,
    "Interfaces": ["eni-a", "eni-b"],
    "Destinations": ["0.0.0.0/0", "::/0"],
    "Addresses": ["203.0.113.10", "203.0.113.11"],
    "OperatorRoleArns": [OPERATOR],
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
}


def resolved(value: Any) -> Any:
    """A part of the template, with its functions applied."""
    if isinstance(value, list):
        return [resolved(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return VALUES[value["Ref"]]
    if "Fn::Join" in value:
        between, parts = value["Fn::Join"]
        return between.join(resolved(parts))
    if "Fn::Split" in value:
        between, text = value["Fn::Split"]
        return resolved(text).split(between)
    return {key: resolved(each) for key, each in value.items()}


def flat(value: Any) -> Any:
    """Lists of objects as objects of lists."""
    if isinstance(value, dict):
        return {key: flat(each) for key, each in value.items()}
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        keys = sorted({key for each in value for key in each})
        return {key: flat([each[key] for each in value if key in each]) for key in keys}
    if isinstance(value, list) and all(isinstance(each, list) for each in value):
        return flat([item for each in value for item in each]) if value else value
    return value


def alarms(event: dict[str, Any]) -> set[str]:
    """The rules that an event raises."""
    resources = json.loads(TEMPLATE.read_text(encoding="utf-8"))["Resources"]
    patterns = {name: resolved(each["Properties"]["EventPattern"]) for name, each in resources.items()}
    return {name for name, each in patterns.items() if EventPattern(None, each).matches_event(flat(event))}


def call(name: str, by: str = ROLE, at: str = "203.0.113.10", error: str = "", **asked: Any) -> dict[str, Any]:
    """A call as EventBridge delivers it; ``by`` is a role, or empty for a user."""
    identity: dict[str, Any] = {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/eve"}
    if by:
        issuer = {"type": "Role", "arn": by}
        identity = {"type": "AssumedRole", "arn": by + "/session", "sessionContext": {"sessionIssuer": issuer}}
    detail = {"eventSource": "ec2.amazonaws.com", "eventName": name, "userIdentity": identity, "sourceIPAddress": at}
    detail |= {"requestParameters": asked} | ({"errorCode": error} if error else {})
    return {"source": "aws.ec2", "detail-type": "AWS API Call via CloudTrail", "detail": detail}


def route(name: str = "ReplaceRoute", to: str = "eni-a", destination: str = "0.0.0.0/0", **how: Any) -> dict[str, Any]:
    return call(name, routeTableId="rtb-1", destinationCidrBlock=destination, networkInterfaceId=to, **how)


def tags(*keys: str, name: str = "CreateTags", **how: Any) -> dict[str, Any]:
    items = [{"key": key, "value": "x"} for key in keys]
    return call(name, resourcesSet={"items": [{"resourceId": "i-1"}]}, tagSet={"items": items}, **how)


def launch(*keys: str, **how: Any) -> dict[str, Any]:
    specification = {"resourceType": "instance", "tags": [{"key": key, "value": "x"} for key in keys]}
    return call("RunInstances", tagSpecificationSet={"items": [specification]}, **how)


def test_the_template_is_valid() -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([str(lint), str(TEMPLATE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "event",
    [
        route(),
        route(to="eni-b", at="203.0.113.11"),
        call("ReplaceRoute", routeTableId="rtb-1", destinationIpv6CidrBlock="::/0", networkInterfaceId="eni-a"),
        tags("nat-failover:flare"),
        tags("nat-failover:cluster", by=OPERATOR, at="198.51.100.1"),
        launch("nat-failover:cluster", "Name", by=OPERATOR, at="198.51.100.1"),
        tags("Name", by=""),
        call("StopInstances", error="Client.DryRunOperation"),
        call("StopInstances", by=OPERATOR, at="198.51.100.1"),
    ],
)
def test_what_is_as_it_should_be_raises_nothing(event: dict[str, Any]) -> None:
    assert alarms(event) == set()


@pytest.mark.parametrize(
    ("event", "raised"),
    [
        (route(to="eni-mallory"), {"ForeignRoute"}),
        (route("CreateRoute", destination="10.0.10.0/24"), {"ForeignRoute"}),
        (
            call("ReplaceRoute", routeTableId="rtb-1", destinationCidrBlock="0.0.0.0/0", natGatewayId="nat-1"),
            {"ForeignRoute"},
        ),
        (route(at="198.51.100.66"), {"ForeignAddress"}),
        (call("DescribeInstances", at="198.51.100.66"), {"ForeignAddress"}),
        (call("TerminateInstances", error="Client.UnauthorizedOperation"), {"Refused"}),
        (call("StopInstances", instancesSet={"items": [{"instanceId": "i-1"}]}), {"Fence"}),
        (tags("nat-failover:cluster", by=""), {"ForeignTag"}),
        (tags("Name", "nat-failover:pause", by="arn:aws:iam::123456789012:role/dev"), {"ForeignTag"}),
        (tags("nat-failover:fence", name="DeleteTags", by=""), {"ForeignTag"}),
        (launch("Name", "nat-failover:cluster", by=""), {"ForeignTag"}),
    ],
)
def test_what_a_stolen_role_or_a_stranger_does_is_told(event: dict[str, Any], raised: set[str]) -> None:
    assert alarms(event) == raised
