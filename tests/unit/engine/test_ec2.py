# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 adapter without an API: races, pages, and answers that are none. The real wire format is in tests/integration/adapter."""

from __future__ import annotations

import pytest

from nat_failover.act.ec2_calls import WRITERS
from nat_failover.aws.ec2_client import CONNECTIONS
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, ROUTE_MISSING, AddressView, Claim
from nat_failover.observe.collector import THREADS

from .scripted_ec2 import CLAIM, adapter

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
