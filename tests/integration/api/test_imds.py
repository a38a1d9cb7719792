# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata service, version 2 only. AWS: EC2 User Guide, "Use the Instance Metadata Service" and "Instance metadata categories"."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.utils import InstanceMetadataFetcher

from lab.api.imds import Imds, imds_app, serve
from lab.errors import LabError
from lab.running_api import RunningApi


@dataclass
class Metadata:
    """A served metadata service of nat-a, and a client of it."""

    app: Imds
    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request(method, path, headers=headers or self.headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def get(self, path: str) -> str:
        if not self.headers:
            self.headers = {
                "X-aws-ec2-metadata-token": self.ask(
                    "/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"}
                )[1]
            }
        status, text = self.ask("/latest/" + path)
        assert status == 200, (path, status, text)
        return text


@pytest.fixture
def metadata(iam: RunningApi) -> Iterator[Metadata]:
    app = imds_app(iam.ids.zones["a"].instance_id, lock=iam.api.lock, credential_lifetime_s=3600)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = serve(app, listener)
    yield Metadata(app, port)
    server.stop()


def test_a_token_is_required(metadata: Metadata) -> None:
    assert metadata.ask("/latest/meta-data/instance-id")[0] == 401
    assert metadata.ask("/latest/meta-data/instance-id", **{"X-aws-ec2-metadata-token": "invented"})[0] == 401


@pytest.mark.parametrize("ttl", ["", "0", "21601", "soon"])
def test_a_token_needs_a_valid_lifetime(metadata: Metadata, ttl: str) -> None:
    assert metadata.ask("/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": ttl})[0] == 400


def test_a_token_is_put_not_got(metadata: Metadata) -> None:
    assert metadata.ask("/latest/api/token", "GET", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})[0] == 405


def test_a_token_ends(iam: RunningApi) -> None:
    now = [0.0]
    app = imds_app(iam.ids.zones["a"].instance_id, clock=lambda: now[0])
    listener = socket.create_server(("127.0.0.1", 0))
    client = Metadata(app, listener.getsockname()[1])
    server = serve(app, listener)
    assert client.get("meta-data/instance-id") == iam.ids.zones["a"].instance_id
    now[0] = 61.0
    assert client.ask("/latest/meta-data/instance-id")[0] == 401
    server.stop()


def test_categories(metadata: Metadata, iam: RunningApi) -> None:
    zone = iam.ids.zones["a"]
    mac = metadata.get("meta-data/mac")
    macs = "meta-data/network/interfaces/macs/"
    assert metadata.get(macs) == mac + "/"
    assert {
        path: metadata.get("meta-data/" + path)
        for path in ("instance-id", "local-ipv4", "placement/availability-zone", "placement/region")
    } == {
        "instance-id": zone.instance_id,
        "local-ipv4": "10.0.0.10",
        "placement/availability-zone": "eu-west-1a",
        "placement/region": "eu-west-1",
    }
    assert metadata.get(f"{macs}{mac}/interface-id") == zone.interface_id
    assert metadata.get(f"{macs}{mac}/vpc-ipv4-cidr-block") == "10.0.0.0/16"
    assert "instance-id" in metadata.get("meta-data/").splitlines()
    document = json.loads(metadata.get("dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"], document["privateIp"]) == (
        zone.instance_id,
        "eu-west-1",
        "10.0.0.10",
    )
    assert "instance-profile/lab-nat-a" in json.loads(metadata.get("meta-data/iam/info"))["InstanceProfileArn"]


@pytest.mark.parametrize(
    "path",
    [
        "spot/instance-action",
        "events/recommendations/rebalance",
        "autoscaling/target-lifecycle-state",
        "tags/instance",
        "no-such-thing",
    ],
)
def test_absent_until_set(metadata: Metadata, path: str) -> None:
    metadata.get("meta-data/")
    assert metadata.ask("/latest/meta-data/" + path)[0] == 404


def test_spot_interruption(metadata: Metadata) -> None:
    """EC2 User Guide, "Spot Instance interruption notices": action and time, two minutes ahead."""
    metadata.app.notices.give("spot", action="stop")
    found = json.loads(metadata.get("meta-data/spot/instance-action"))
    assert set(found) == {"action", "time"} and found["action"] == "stop"
    ahead = datetime.strptime(found["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) - datetime.now(UTC)
    assert 100 < ahead.total_seconds() <= 120


def test_rebalance_recommendation(metadata: Metadata) -> None:
    """EC2 User Guide, "EC2 instance rebalance recommendations"."""
    metadata.app.notices.give("rebalance")
    assert set(json.loads(metadata.get("meta-data/events/recommendations/rebalance"))) == {"noticeTime"}


def test_scheduled_events_move_into_the_history(metadata: Metadata) -> None:
    """EC2 User Guide, "Scheduled events for Amazon EC2 instances": a list, empty in quiet times; "[Canceled]" or "[Completed]" is history."""
    scheduled, history = ("meta-data/events/maintenance/" + name for name in ("scheduled", "history"))
    assert json.loads(metadata.get(scheduled)) == json.loads(metadata.get(history)) == []
    metadata.app.notices.give("scheduled", code="instance-retirement", in_s=600)
    (event,) = json.loads(metadata.get(scheduled))
    assert set(event) == {"NotBefore", "NotAfter", "Code", "Description", "EventId", "State"}
    assert (event["Code"], event["State"]) == ("instance-retirement", "active")
    assert re.fullmatch(r"\d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", event["NotBefore"])
    metadata.app.notices.give("none")
    assert json.loads(metadata.get(scheduled)) == []
    assert json.loads(metadata.get(history))[0]["State"] == "canceled"


def test_target_lifecycle_state(metadata: Metadata) -> None:
    """EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state through instance metadata"."""
    metadata.app.notices.give("asg")
    assert metadata.get("meta-data/autoscaling/target-lifecycle-state") == "Terminated"


@pytest.mark.parametrize(
    "options",
    [
        {"what": "flood"},
        {"what": "spot", "action": "explode"},
        {"what": "scheduled", "code": "x"},
        {"what": "asg", "in_s": 1},
    ],
)
def test_notices_that_aws_does_not_know_are_refused(metadata: Metadata, options: dict[str, Any]) -> None:
    with pytest.raises(LabError):
        metadata.app.notices.give(**options)


def test_credentials_carry_the_roles_permissions(metadata: Metadata, iam: RunningApi) -> None:
    role = metadata.get("meta-data/iam/security-credentials/")
    given = json.loads(metadata.get("meta-data/iam/security-credentials/" + role))
    client = boto3.client(
        "ec2",
        region_name="eu-west-1",
        endpoint_url=iam.endpoint,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
    )
    assert client.describe_instances()["Reservations"]
    with pytest.raises(ClientError, match="assumed-role/lab-nat-a/i-"):
        client.delete_route_table(RouteTableId=iam.ids.zones["a"].route_table)
    assert {call.caller for call in iam.calls()} == {"nat-a"}


def test_credentials_end_with_their_lifetime(metadata: Metadata, iam: RunningApi) -> None:
    metadata.app.credential_lifetime_s = -1
    given = json.loads(metadata.get("meta-data/iam/security-credentials/lab-nat-a"))
    client = boto3.client(
        "ec2",
        region_name="eu-west-1",
        endpoint_url=iam.endpoint,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
    )
    with pytest.raises(ClientError, match="RequestExpired"):
        client.describe_instances()


def test_botocore_finds_the_role_by_itself(metadata: Metadata) -> None:
    fetcher = InstanceMetadataFetcher(
        base_url=f"http://127.0.0.1:{metadata.port}/", config={"ec2_metadata_v1_disabled": True}
    )
    assert fetcher.retrieve_iam_role_credentials()["role_name"] == "lab-nat-a"
