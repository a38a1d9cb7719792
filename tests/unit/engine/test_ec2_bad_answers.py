# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of EC2 that are none, and endpoints without one: each is one error of the engine, with its remedy."""

from __future__ import annotations

import datetime
import types

import botocore.utils
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.aws import calls, client
from nat_failover.aws.ec2 import Ec2
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import Claim, Node

from .scripted_ec2 import CLAIM, adapter

BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.text(max_size=4),
    st.sampled_from(["fe80::/10", "::1/x", "i-1", "rtb-1", "eni-a"]),
    st.just(datetime.datetime(2026, 1, 31)),  # noqa: DTZ001  # garbage has no time zone
)
NAMES = (
    "Reservations Instances InstanceId State Name NetworkInterfaces Attachment DeviceIndex Tags Key Value Placement "
    "Ipv6Addresses Ipv6Address RouteTables RouteTableId Routes DestinationCidrBlock DestinationIpv6CidrBlock GatewayId"
).split()
GARBAGE = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)),
    max_leaves=12,
)
READS = {
    "routes": lambda ec2: ec2.describe_routes([CLAIM, Claim("rtb-1", "::/0", "nat-a")]),
    "instances": lambda ec2: ec2.find_instances([Node("nat-a", "i-1", ())], ""),
    "homes": lambda ec2: ec2.describe_homes("lab"),
    "networks": lambda ec2: ec2.local_networks(["rtb-1"]),
    "check": lambda ec2: ec2.source_dest_check("i-1"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@BOUNDED
@given(garbage=GARBAGE, deep=st.integers(0, 3))
def test_an_answer_that_is_none_fails_with_the_engines_own_error(read, garbage, deep):
    tables = {
        "RouteTables": garbage
        if deep == 0
        else [garbage if deep == 1 else {"RouteTableId": "rtb-1", "Routes": garbage}]
    }
    listed = garbage if deep == 0 else [garbage if deep == 1 else {"InstanceId": "i-1", **as_mapping(garbage)}]
    reservations = {"Reservations": garbage if deep == 3 else [{"Instances": listed}]}
    ec2, _aws = adapter(*[{**tables, **reservations}] * 3)
    try:
        read(ec2)
    except Ec2Error as error:
        assert error.code in ("BadAnswer", "InvalidInstanceID.NotFound", "IncorrectInstanceState")
        assert "\n" not in str(error)


def as_mapping(value):
    return value if isinstance(value, dict) else {"State": value, "NetworkInterfaces": value}


@pytest.mark.parametrize(
    "answer",
    [
        {"Reservations": [{"Instances": [{"State": {"Name": "running"}}]}]},  # no id
        {"Reservations": [{"Instances": [{"InstanceId": "i-1"}]}]},  # no state
        {"Reservations": [{}]},
        {"Reservations": None},
        {},
    ],
)
def test_an_instance_without_its_parts_is_a_bad_answer(answer):
    ec2, _aws = adapter(answer)
    with pytest.raises(Ec2Error, match="is no answer of EC2") as caught:
        ec2.find_instances([], "lab")
    assert (caught.value.code, caught.value.retryable) == ("BadAnswer", True)


def test_a_call_that_boto3_does_not_know_is_an_error_with_a_remedy(monkeypatch):
    ec2 = Ec2("eu-west-1", "http://127.0.0.1:1")
    monkeypatch.setattr(ec2._aws, "client", types.SimpleNamespace(meta=ec2._aws.client.meta))
    with pytest.raises(Ec2Error, match="does not know this call.*install boto3 1.26 or later") as caught:
        ec2.stop("i-1")
    assert caught.value.code == "UnknownCall"


@pytest.mark.parametrize("text", ["9" * 40, "1e999", "-1e999", "soon", "2026-99-99T99:99:99Z"])
def test_a_time_that_no_calendar_has_is_garbage(text):
    """botocore raises a RuntimeError for a number that is too large."""
    with pytest.raises(client.GARBAGE):
        botocore.utils.parse_timestamp(text)


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("Invalid timestamp"),
        KeyError("x"),
        OverflowError(),
        TypeError("x"),
        RuntimeError("Unable to calculate"),
    ],
)
def test_whatever_a_parser_raises_is_a_bad_answer(monkeypatch, failure):
    class Client:
        meta = type("Meta", (), {"endpoint_url": "https://ec2.test"})

        def describe_instances(self, **_parameters):
            raise failure

    ec2 = Ec2("eu-west-1", "http://127.0.0.1:1")
    monkeypatch.setattr(ec2._aws, "client", Client())
    with pytest.raises(Ec2Error, match=type(failure).__name__) as caught:
        ec2.find_instances([], "lab")
    assert caught.value.code == "BadAnswer"


def test_a_denied_read_names_the_only_resource_that_iam_knows_for_it():
    ec2, _aws = adapter("UnauthorizedOperation")
    with pytest.raises(Ec2Error, match=r"allow ec2:DescribeInstances on \* in the IAM policy"):
        ec2.find_instances([], "lab")
    assert calls.DESCRIBE_INSTANCES.reads and not calls.STOP_INSTANCES.reads


@pytest.mark.parametrize(
    "region, endpoint",
    [("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn"), ("eu-west-1", "https://ec2.eu-west-1.amazonaws.com")],
)
def test_an_endpoint_that_is_not_reached_is_named_as_boto3_tried_it(monkeypatch, region, endpoint):
    """The name of an endpoint ends by its partition."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    ec2 = Ec2(region)

    def refused(**_parameters):
        raise botocore.exceptions.EndpointConnectionError(endpoint_url=endpoint)

    monkeypatch.setattr(ec2._aws.client, "describe_instances", refused, raising=False)
    with pytest.raises(Ec2Error) as caught:
        ec2.find_instances(["i-0123456789abcdef0"], "lab")
    assert f"check that this host reaches {endpoint} (" in str(caught.value)


def test_an_answer_without_the_public_address_is_a_bad_answer():
    ec2, _aws = adapter({"Addresses": [{"AllocationId": "eipalloc-1"}]})
    with pytest.raises(Ec2Error) as caught:
        ec2.describe_addresses(["eipalloc-1"])
    assert caught.value.code == "BadAnswer"
