# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 is not reached: no credentials, nobody listens, no answer in time, and no client at all."""

from __future__ import annotations

import socket
import time

import pytest

from nat_failover.aws import calls
from nat_failover.aws.ec2 import Ec2
from nat_failover.errors import NatFailoverError
from tests.integration.adapter.ec2_error import failure
from tests.unit.engine.strange_server import says


def test_no_credentials(api):
    error = failure(Ec2(api.api.region, api.endpoint).stop, "i-0fffffffffffffff0")
    assert (error.code, error.retryable) == ("NoCredentials", False)
    assert "instance profile" in error.remedy and "169.254.169.254" in error.remedy
    assert api.calls() == []


def test_nobody_listens(api, connect):
    world = connect(api)
    api.stop()
    error = failure(world.ec2.describe_routes, world.claims)
    assert (error.code, error.retryable) == ("EndpointUnreachable", True)
    assert f"check that this host reaches {api.endpoint}" in error.remedy


def test_a_name_that_is_none(connect, api):
    connect(api)
    error = failure(Ec2("eu-west-1", "http://ec2.invalid").stop, "i-0fffffffffffffff0")
    assert error.code == "EndpointUnreachable"
    assert "http://ec2.invalid" in error.remedy


def test_no_answer_in_time(api, connect):
    world = connect(api, read_timeout=0.1)
    api.fault("DescribeInstances", delay_ms=500)
    began = time.monotonic()
    error = failure(world.instances, world.nodes)
    assert (error.code, error.retryable) == ("Timeout", True)
    assert time.monotonic() - began < 0.5


def test_no_connection_in_time(connect, api):
    connect(api)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _turn in range(4)]
        for each in waiting:  # the queue is full: the kernel drops what follows
            each.setblocking(False)
            each.connect_ex(address)
        ec2 = Ec2("eu-west-1", f"http://127.0.0.1:{address[1]}", connect_timeout=0.2)
        error = failure(ec2.stop, "i-0fffffffffffffff0")
        for each in waiting:
            each.close()
    assert (error.code, error.retryable) == ("Timeout", True)


def test_a_connection_that_is_cut(api, connect):
    world = connect(api)
    api.fault("StopInstances", drop="before")
    error = failure(world.ec2.stop, world.instance("b"))
    assert (error.code, error.retryable) == ("EndpointUnreachable", True)


def test_tls_to_something_else(connect, api):
    connect(api)
    with says(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        error = failure(Ec2("eu-west-1", f"https://127.0.0.1:{port}").stop, "i-0fffffffffffffff0")
    assert error.code == "EndpointUnreachable"


@pytest.mark.parametrize("region, endpoint", [("eu west", None), ("eu-west-1", "nonsense")])
def test_a_client_that_cannot_be_made(region, endpoint):
    with pytest.raises(NatFailoverError, match="ec2: no client for region"):
        Ec2(region, endpoint)


def test_without_boto3(monkeypatch):
    monkeypatch.setattr("nat_failover.aws.client.HAS_BOTOCORE", False)
    with pytest.raises(NatFailoverError, match="boto3 is missing.*apt-get install python3-boto3"):
        Ec2("eu-west-1")


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://ec2.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", "https://ec2.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_what_to_check_is_the_endpoint_of_the_regions_partition(region, url):
    error = Ec2(region)._error(calls.DESCRIBE_INSTANCES, "*", "EndpointUnreachable", "no route to host")
    assert f"check that this host reaches {url} " in str(error)
