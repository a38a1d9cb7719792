# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand, the call log, and the server itself: what tests of the engine lean on must hold."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from lab import vpc
from lab.api.calls import Call
from lab.vpc import DEFAULT_ROUTE


@pytest.fixture
def a(api):
    return api.ids.zones["a"]


@pytest.fixture
def b(api):
    return api.ids.zones["b"]


def take_over(ec2, a, b):
    """nat-a takes zone b's route."""
    return ec2.replace_route(
        RouteTableId=b.route_table, DestinationCidrBlock=DEFAULT_ROUTE, NetworkInterfaceId=a.interface_id
    )


def http_ask(api, method, path, body=None):
    connection = http.client.HTTPConnection(urlsplit(api.endpoint).netloc, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# --- faults ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, status",
    [("RequestLimitExceeded", 503), ("InternalError", 500), ("UnauthorizedOperation", 403), ("Any", 400)],
)
def test_an_error_with_its_http_status(api, ec2, code, status):
    api.fault("DescribeInstances", error=code)
    with pytest.raises(ClientError) as caught:
        ec2.describe_instances()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_fault_hits_one_action_of_one_caller_a_number_of_times(api, ec2):
    api.fault("Describe*", caller="nat-b", error="InternalError", count=2)
    ec2.describe_instances()
    client = api.client(node="nat-b")
    for _turn in range(2):
        with pytest.raises(ClientError):
            client.describe_instances()
    client.describe_instances()


def test_a_probability_is_about_kept_and_the_same_each_time(api, ec2):
    api.fault("DescribeVpcs", error="InternalError", probability=0.5)
    outcomes = []
    for _turn in range(40):
        try:
            ec2.describe_vpcs()
            outcomes.append(True)
        except ClientError:
            outcomes.append(False)
    assert 10 <= sum(outcomes) <= 30


def test_dropped_before_and_after(api, ec2, a, b):
    for drop, target in (("before", b.interface_id), ("after", a.interface_id)):
        api.fault("ReplaceRoute", drop=drop, count=1)
        with pytest.raises(ConnectionClosedError):
            take_over(ec2, a, b)
        assert api.target(b.route_table) == target
    assert [call.status for call in api.calls(action="ReplaceRoute")] == [None, 200]


def test_a_slow_call_delays_no_other(api, ec2):
    api.fault("DescribeVpcs", delay_ms=500)
    other = api.client()
    thread = threading.Thread(target=ec2.describe_vpcs)
    thread.start()
    time.sleep(0.05)
    began = time.monotonic()
    other.describe_instances()
    assert time.monotonic() - began < 0.4
    thread.join()


def test_a_token_bucket(api, ec2):
    # EC2 API Reference, "Request throttling": a bucket of tokens, refilled at a rate; RequestLimitExceeded with 503.
    api.fault("DescribeVpcs", burst=5, rate=20)
    seen = Counter()
    for _turn in range(12):
        try:
            ec2.describe_vpcs()
            seen["ok"] += 1
        except ClientError as error:
            seen[error.response["Error"]["Code"]] += 1
    assert seen["ok"] >= 5
    assert set(seen) <= {"ok", "RequestLimitExceeded"}
    time.sleep(0.1)
    ec2.describe_vpcs()


def test_stale_reads(api, ec2, a, b):
    # EC2 API Reference, "Eventual consistency".
    rule = api.fault("Describe*", stale_s=60)
    take_over(ec2, a, b)
    ec2.create_tags(Resources=[b.instance_id], Tags=[{"Key": "nat-failover:flare", "Value": "1"}])
    ec2.stop_instances(InstanceIds=[b.instance_id])

    def shown():
        table = ec2.describe_route_tables(RouteTableIds=[b.route_table])["RouteTables"][0]
        instance = ec2.describe_instances(InstanceIds=[b.instance_id])["Reservations"][0]["Instances"][0]
        target = next(
            each["NetworkInterfaceId"] for each in table["Routes"] if each["DestinationCidrBlock"] == DEFAULT_ROUTE
        )
        return target, instance["State"]["Name"], "nat-failover:flare" in {tag["Key"] for tag in instance["Tags"]}

    assert shown() == (b.interface_id, "running", False)
    assert api.target(b.route_table) == a.interface_id
    api.control(f"fault/{rule}", method="DELETE")
    target, state, flared = shown()
    assert (target, flared) == (a.interface_id, True)
    assert state in ("stopping", "stopped")


def test_a_proxys_page(api, ec2):
    api.fault("DescribeInstances", body="<html>502</html>", status=502)
    with pytest.raises(ClientError) as caught:
        ec2.describe_instances()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502


# --- controls over HTTP ------------------------------------------------------------------------------------------------------------


def test_controls_over_http(api, ec2):
    status, body = http_ask(api, "POST", "/_lab/api/fault", {"action": "DescribeVpcs", "error": "InternalError"})
    rule = json.loads(body)["id"]
    assert status == 200
    with pytest.raises(ClientError):
        ec2.describe_vpcs()
    assert list(json.loads(http_ask(api, "GET", "/_lab/api/fault")[1])["faults"]) == [rule]
    assert http_ask(api, "DELETE", f"/_lab/api/fault/{rule}")[0] == 200
    ec2.describe_vpcs()
    assert http_ask(api, "DELETE", f"/_lab/api/fault/{rule}")[0] == 404


@pytest.mark.parametrize(
    "method, path, body, status, words",
    [
        ("POST", "fault", {"acton": "x"}, 400, "unknown fault keys ['acton']"),
        ("POST", "fault", {"drop": "sometimes"}, 400, "drop must be one of"),
        ("POST", "fault", {"probability": 2}, 400, "between 0 and 1"),
        ("POST", "fault", [], 400, "must be a JSON object"),
        ("POST", "times", {"boot_s": 1}, 400, "unknown times ['boot_s']"),
        ("POST", "stuck", {"instance": "nat-z"}, 404, "no instance 'nat-z'"),
        ("POST", "impaired", {"instance": "nat-a", "instance_status": "sad"}, 400, "a status is one of"),
        ("POST", "nonsense", {}, 404, "no such control"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_controls_refuse_what_they_do_not_know(api, method, path, body, status, words):
    got, text = http_ask(api, method, "/_lab/api/" + path, body)
    assert got == status
    assert words in json.loads(text)["error"]


def test_reset_heals_everything(api, ec2, b):
    api.fault("*", error="InternalError")
    api.control("impaired", {"instance": "nat-b"})
    api.control("stuck", {"instance": "nat-b"})
    with pytest.raises(ClientError):
        ec2.stop_instances(InstanceIds=[b.instance_id])
    api.clear_faults()
    ec2.stop_instances(InstanceIds=[b.instance_id])
    api.control("reset")
    assert api.instance("nat-b").state == "stopped"
    assert api.control("", method="GET")["faults"] == {}
    assert api.control("", method="GET")["stuck"] == []


def test_motos_own_controls_are_closed(api, ec2):
    assert http_ask(api, "POST", "/moto-api/reset")[0] == 404
    assert len(ec2.describe_instances()["Reservations"]) == 2


# --- the call log ------------------------------------------------------------------------------------------------------------------


def test_the_call_log_says_who_what_and_how_it_ended(api, ec2, a, b):
    began = time.monotonic()
    take_over(ec2, a, b)
    with pytest.raises(ClientError):
        api.client(node="nat-b").delete_route(RouteTableId=a.route_table, DestinationCidrBlock="192.0.2.0/24")
    first, second = api.calls(since=began)
    assert (first.caller, first.service, first.action, first.status, first.error, first.ok) == (
        "operator",
        "ec2",
        "ReplaceRoute",
        200,
        None,
        True,
    )
    assert first.parameters["RouteTableId"] == b.route_table
    assert began <= first.received <= first.time <= second.time <= time.monotonic()
    assert (second.caller, second.error, second.ok) == ("nat-b", "InvalidRoute.NotFound", False)
    assert [call.action for call in api.calls(caller="nat-b")] == ["DeleteRoute"]
    assert isinstance(first, Call)


def test_the_call_log_keeps_no_secrets(api):
    credentials = api.credentials("nat-a")
    api.client(node="nat-a").describe_instances()
    text = api.call_log.read_text(encoding="utf-8")
    assert credentials["aws_secret_access_key"] not in text
    assert credentials["aws_session_token"] not in text


# --- the server --------------------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_warm(api):
    # Werkzeug's own server would close it after each answer.
    connection = http.client.HTTPConnection(urlsplit(api.endpoint).netloc, timeout=10)
    sockets = set()
    for _turn in range(3):
        connection.request("GET", "/_lab/api")
        assert connection.getresponse().read()
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert len(sockets) == 1


def test_what_moto_cannot_do_is_an_error_of_ec2_and_no_page(ec2):
    # A filter that plain moto answers with HTTP 500 and HTML, from which boto3 makes a parser's exception.
    with pytest.raises(ClientError) as caught:
        ec2.describe_route_tables(Filters=[{"Name": "route.state", "Values": ["blackhole"]}])
    assert caught.value.response["Error"]["Code"] == "InternalError"


def test_the_same_ids_each_time(api, ec2):
    ids = api.ids
    api.stop()
    assert vpc.build(("a", "b")) == ids
