# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 adapter without an API: races, pages, and answers that are none. The real wire format is in tests/integration/adapter."""

from __future__ import annotations

import copy
import datetime
import functools
import types

import botocore.utils
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.act.ec2_calls import WRITERS
from nat_failover.aws import calls, client
from nat_failover.aws.ec2 import Ec2
from nat_failover.aws.ec2_client import CONNECTIONS
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, ROUTE_MISSING, AddressView, Claim, Node
from nat_failover.observe.collector import THREADS

CLAIM = Claim("rtb-1", "0.0.0.0/0", "nat-a")
BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)


class Aws:
    """In the place of the connection. ``answers``: for each call, in order, an answer or the code of its failure."""

    url = "https://ec2.test"

    def __init__(self, *answers):
        self.answers, self.made = list(answers), []

    def call(self, call, fail, **parameters):
        self.made.append((call.operation, parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise fail(answer, "As AWS writes it.")
        return answer

    @property
    def operations(self):
        return [operation for operation, _parameters in self.made]


def adapter(*answers, **options):
    ec2 = copy.copy(made(**options))
    ec2._aws = Aws(*answers)
    return ec2, ec2._aws


@functools.cache
def made(**options):
    """A client takes long to make."""
    return Ec2("eu-west-1", "http://127.0.0.1:1", clock=lambda: 7.0, **options)


# --- routes ----------------------------------------------------------------------------------------------------------


def test_a_route_that_a_peer_creates_between_the_two_calls_is_replaced():
    ec2, aws = adapter("InvalidParameterValue", "RouteAlreadyExists", {})
    ec2.write_route(CLAIM, "eni-a")
    assert aws.operations == ["ReplaceRoute", "CreateRoute", "ReplaceRoute"]


@pytest.mark.parametrize("missing", ["InvalidParameterValue", "InvalidRoute.NotFound"])
def test_a_missing_route_is_created(missing):
    ec2, aws = adapter(missing, {})
    ec2.write_route(CLAIM, "eni-a")
    assert aws.made[1] == (
        "CreateRoute",
        {"RouteTableId": "rtb-1", "NetworkInterfaceId": "eni-a", "DestinationCidrBlock": "0.0.0.0/0"},
    )


def test_a_missing_route_is_not_created_where_the_configuration_forbids_it():
    ec2, aws = adapter("InvalidRoute.NotFound", create_routes=False)
    with pytest.raises(Ec2Error, match="create the route, or let the node do it: ec2.create_routes"):
        ec2.write_route(CLAIM, "eni-a")
    assert aws.operations == ["ReplaceRoute"]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded", "Timeout"])
def test_any_other_failure_creates_nothing(code):
    ec2, aws = adapter(code)
    with pytest.raises(Ec2Error) as caught:
        ec2.write_route(CLAIM, "eni-a")
    assert caught.value.code == code and aws.operations == ["ReplaceRoute"]


# --- pages -----------------------------------------------------------------------------------------------------------


def instance(number, **more):
    return {"InstanceId": f"i-{number}", "State": {"Name": "running"}, **more}


def test_instances_of_every_page_are_read():
    pages = [
        {"Reservations": [{"Instances": [instance(1)]}], "NextToken": "two"},
        {"Reservations": [], "NextToken": "three"},  # a page may be empty and not the last one
        {"Reservations": [{"Instances": [instance(2), instance(3)]}]},
    ]
    ec2, aws = adapter(*pages)
    assert sorted(ec2.find_instances([], "lab")) == ["i-1", "i-2", "i-3"]
    assert [parameters.get("NextToken") for _operation, parameters in aws.made] == [None, "two", "three"]
    filters = [{"Name": "tag:nat-failover:cluster", "Values": ["lab"]}]
    assert all(parameters["Filters"] == filters for _operation, parameters in aws.made)


def test_homes_of_every_page_are_read():
    def table(number):
        tags = [
            {"Key": "nat-failover:cluster", "Value": "lab"},
            {"Key": "nat-failover:home", "Value": f"nat-{number}"},
        ]
        return {"RouteTableId": f"rtb-{number}", "Tags": tags}

    ec2, _aws = adapter({"RouteTables": [table(1)], "NextToken": "more"}, {"RouteTables": [table(2)]})
    assert ec2.describe_homes("lab") == {"rtb-1": "nat-1", "rtb-2": "nat-2"}


def test_routes_of_every_page_are_read_and_an_unknown_table_fails_nothing():
    route = {"DestinationCidrBlock": "0.0.0.0/0", "NetworkInterfaceId": "eni-a", "State": "active"}
    first = {"RouteTables": [{"RouteTableId": "rtb-0", "Routes": []}], "NextToken": "more"}
    second = {"RouteTables": [{"RouteTableId": "rtb-1", "Routes": [route]}]}
    ec2, _aws = adapter(first, second)
    views = ec2.describe_routes([CLAIM, Claim("rtb-0", "0.0.0.0/0", "nat-b"), Claim("rtb-9", "0.0.0.0/0", "nat-b")])
    assert [(view.state, view.target) for view in views.values()] == [
        (ROUTE_ACTIVE, "eni-a"),
        (ROUTE_MISSING, None),
        ("no-table", None),
    ]


def test_many_tables_are_read_a_hundred_at_a_time():
    def answer(ids):
        return {"RouteTables": [{"RouteTableId": each, "Routes": []} for each in ids]}

    ids = [f"rtb-{number:03}" for number in range(250)]
    ec2, aws = adapter(*(answer(ids[start : start + 100]) for start in (0, 100, 200)))
    assert len(ec2.describe_routes([Claim(each, "0.0.0.0/0", "nat-a") for each in ids])) == 250
    assert [len(parameters["Filters"][0]["Values"]) for _operation, parameters in aws.made] == [100, 100, 50]


def test_a_page_that_fails_fails_the_reading():
    ec2, _aws = adapter({"Reservations": [], "NextToken": "two"}, "RequestLimitExceeded")
    with pytest.raises(Ec2Error, match="RequestLimitExceeded"):
        ec2.find_instances([], "lab")


# --- answers that are none -------------------------------------------------------------------------------------------

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


def test_each_thread_that_calls_keeps_a_connection():
    """urllib3 closes what its pool has no room for, and the next call would pay for another handshake."""
    assert CONNECTIONS >= WRITERS + THREADS


# --- Elastic IPs -----------------------------------------------------------------------------------------------------


def test_elastic_ips_are_read_by_a_filter_and_an_unknown_one_is_told_apart():
    known = {
        "AllocationId": "eipalloc-1",
        "PublicIp": "203.0.113.10",
        "NetworkInterfaceId": "eni-a",
        "PrivateIpAddress": "10.0.0.20",
    }
    free = {"AllocationId": "eipalloc-2", "PublicIp": "203.0.113.11"}
    ec2, aws = adapter({"Addresses": [known, free]})
    assert ec2.describe_addresses(["eipalloc-3", "eipalloc-2", "eipalloc-1"]) == {
        "eipalloc-1": AddressView("203.0.113.10", "eni-a", "10.0.0.20", 7.0),
        "eipalloc-2": AddressView("203.0.113.11", None, None, 7.0),
        "eipalloc-3": AddressView("", None, None, 7.0),
    }
    wanted = [{"Name": "allocation-id", "Values": ["eipalloc-1", "eipalloc-2", "eipalloc-3"]}]
    assert aws.made == [("DescribeAddresses", {"Filters": wanted})]


def test_an_answer_without_the_public_address_is_a_bad_answer():
    ec2, _aws = adapter({"Addresses": [{"AllocationId": "eipalloc-1"}]})
    with pytest.raises(Ec2Error) as caught:
        ec2.describe_addresses(["eipalloc-1"])
    assert caught.value.code == "BadAnswer"


def test_an_elastic_ip_moves_from_wherever_it_is():
    ec2, aws = adapter({"AssociationId": "eipassoc-1"})
    ec2.associate_address("eipalloc-1", "eni-a", "10.0.0.20")
    [(operation, parameters)] = aws.made
    assert operation == "AssociateAddress" and parameters == {
        "AllocationId": "eipalloc-1",
        "NetworkInterfaceId": "eni-a",
        "PrivateIpAddress": "10.0.0.20",
        "AllowReassociation": True,
    }
