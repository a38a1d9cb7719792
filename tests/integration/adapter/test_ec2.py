# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter's calls: routes by network interface, instances, power, tags, and the re-read after each write (law L9)."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from lab import vpc
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, ROUTE_BLACKHOLE, ROUTE_MISSING, ROUTE_NO_TABLE, Claim
from tests.integration.adapter.changes import name_it, until

NOWHERE = "rtb-0fffffffffffffff0"


# --- routes --------------------------------------------------------------------------------------------------------------------


def test_routes_as_they_are(world):
    before = time.monotonic()
    views = world.ec2.describe_routes(world.claims)
    assert {claim: (view.state, view.target) for claim, view in views.items()} == {
        world.claim("a"): (ROUTE_ACTIVE, world.interface("a")),
        world.claim("b"): (ROUTE_ACTIVE, world.interface("b")),
    }
    assert all(before <= view.read_at <= time.monotonic() for view in views.values())
    assert [call.action for call in world.api.calls()] == ["DescribeRouteTables"]  # one call for all


def test_a_view_is_dated_by_the_beginning_of_its_call(world):
    world.api.fault("DescribeRouteTables", delay_ms=200, count=1)
    before = time.monotonic()
    assert world.ec2.describe_routes(world.claims)[world.claim()].read_at - before < 0.1


def test_set_route_replaces_by_interface_and_reads_again(world):
    view = world.set_route(world.claim("b"), world.interface("a"))
    assert (view.state, view.target) == (ROUTE_ACTIVE, world.interface("a"))
    assert world.api.target(world.claim("b").route_table) == world.interface("a")
    replaced, read = world.api.calls()
    assert (replaced.action, read.action) == ("ReplaceRoute", "DescribeRouteTables")
    assert replaced.parameters["NetworkInterfaceId"] == world.interface("a")
    assert "InstanceId" not in replaced.parameters  # fails on instances with several interfaces


def test_set_route_creates_what_is_missing(world):
    table = world.claim().route_table
    world.api.client().delete_route(RouteTableId=table, DestinationCidrBlock=vpc.DEFAULT_ROUTE)
    assert world.ec2.describe_routes([world.claim()])[world.claim()].state == ROUTE_MISSING
    view = world.set_route(world.claim(), world.interface("a"))
    assert (view.state, view.target) == (ROUTE_ACTIVE, world.interface("a"))
    assert [call.action for call in world.api.calls(writes=True)] == ["DeleteRoute", "ReplaceRoute", "CreateRoute"]


def test_set_route_survives_that_somebody_else_creates_it_first(world):
    # ReplaceRoute says "no such route", CreateRoute then "already exists": replace it after all.
    world.api.fault("ReplaceRoute", error="InvalidParameterValue", message="There is no route defined", count=1)
    view = world.set_route(world.claim("b"), world.interface("a"))
    assert view.target == world.interface("a")
    assert [call.action for call in world.api.calls(writes=True)] == ["ReplaceRoute", "CreateRoute", "ReplaceRoute"]


@pytest.mark.parametrize("destination", ["10.20.0.0/16", "::/0"])
def test_other_destinations(world, destination):
    claim = world.claim("a", destination)
    assert world.ec2.describe_routes([claim])[claim].state == ROUTE_MISSING
    assert world.set_route(claim, world.interface("a")).target == world.interface("a")
    assert world.set_route(claim, world.interface("b")).target == world.interface("b")
    assert world.ec2.describe_routes([claim])[claim].target == world.interface("b")
    assert world.api.target(claim.route_table) == world.interface("a")  # the default route is as it was


def test_a_prefix_list_as_destination(world):
    made = world.api.client().create_managed_prefix_list(
        PrefixListName="partners", MaxEntries=1, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}]
    )
    claim = world.claim("a", made["PrefixList"]["PrefixListId"])
    assert world.ec2.describe_routes([claim])[claim].state == ROUTE_MISSING
    assert world.set_route(claim, world.interface("b")).target == world.interface("b")
    assert world.set_route(claim, world.interface("a")).target == world.interface("a")
    assert [call.action for call in world.api.calls(writes=True)] == [
        "CreateManagedPrefixList",
        "ReplaceRoute",
        "CreateRoute",
        "ReplaceRoute",
    ]


@pytest.mark.parametrize("shown", ["2001:db8::/32", "2001:DB8:0::/32", "2001:0db8:0000:0000:0000:0000:0000:0000/32"])
def test_an_ipv6_network_is_known_however_it_is_written(world, shown):
    claim = world.claim("a", "2001:db8::/32")
    route = f"<item><destinationIpv6CidrBlock>{shown}</destinationIpv6CidrBlock><networkInterfaceId>eni-1</networkInterfaceId></item>"
    body = (
        '<DescribeRouteTablesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><routeTableSet><item>'
        f"<routeTableId>{claim.route_table}</routeTableId><routeSet>{route}</routeSet></item></routeTableSet></DescribeRouteTablesResponse>"
    )
    world.api.fault("DescribeRouteTables", body=body, status=200)
    assert world.ec2.describe_routes([claim])[claim].target == "eni-1"


def test_a_prefix_list_that_is_not_there(world):
    with pytest.raises(Ec2Error, match="pl-12345678") as caught:
        world.set_route(world.claim("a", "pl-12345678"), world.interface("b"))
    assert caught.value.code == "InvalidPrefixListID.NotFound"
    assert "correct the prefix list id or the region" in str(caught.value)


def test_a_route_to_a_gateway_shows_its_target(world):
    claim = Claim(world.ids.public_route_table, vpc.DEFAULT_ROUTE, "nat-a")
    assert world.ec2.describe_routes([claim])[claim].target == world.ids.internet_gateway


def test_blackhole(world):
    world.ec2.stop(world.instance("b"))
    until(lambda: world.ec2.describe_routes([world.claim("b")])[world.claim("b")].state == ROUTE_BLACKHOLE)
    view = world.set_route(world.claim("b"), world.interface("a"))
    assert (view.state, view.target) == (ROUTE_ACTIVE, world.interface("a"))


def test_many_tables_are_read_in_hundreds(world):
    zone = world.ids.zones["a"]
    with world.api.api.lock:
        tables = vpc.add_route_tables(150, zone)
    claims = [Claim(table, vpc.DEFAULT_ROUTE, "nat-a") for table in tables]
    views = world.ec2.describe_routes(claims)
    assert {view.target for view in views.values()} == {zone.interface_id}
    assert len(views) == 150
    assert len(world.api.calls(action="DescribeRouteTables")) == 2


# --- a table that is not there ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stray(world):
    return Claim(NOWHERE, vpc.DEFAULT_ROUTE, "nat-b")


def test_an_unknown_table_spoils_no_other_claim(world, stray):
    views = world.ec2.describe_routes([*world.claims, stray])
    assert (views[stray].state, views[stray].target) == (ROUTE_NO_TABLE, None)
    assert {views[claim].target for claim in world.claims} == {world.interface("a"), world.interface("b")}
    assert len(world.api.calls(action="DescribeRouteTables")) == 1


def test_a_deleted_table_is_seen_as_such(world):
    client = world.api.client()
    table = client.create_route_table(VpcId=world.ids.vpc)["RouteTable"]["RouteTableId"]
    claim = Claim(table, vpc.DEFAULT_ROUTE, "nat-a")
    assert world.ec2.describe_routes([claim])[claim].state == ROUTE_MISSING
    client.delete_route_table(RouteTableId=table)
    assert world.ec2.describe_routes([claim])[claim].state == ROUTE_NO_TABLE


def test_an_unknown_table_is_an_error_when_asked_strictly(world, stray):
    with pytest.raises(Ec2Error) as caught:
        world.ec2.describe_routes([*world.claims, stray], strict=True)
    error = caught.value
    assert (error.code, error.resource, error.retryable) == ("InvalidRouteTableID.NotFound", NOWHERE, False)
    assert "correct the route table id or the region" in str(error)
    assert world.claim().route_table not in str(error)  # only the bad one is named


def test_setting_a_route_of_an_unknown_table_is_an_error(world, stray):
    with pytest.raises(Ec2Error, match=NOWHERE) as caught:
        world.set_route(stray, world.interface("a"))
    assert (caught.value.code, caught.value.retryable) == ("InvalidRouteTableID.NotFound", False)


def test_an_answer_without_the_table_is_an_unknown_table_too(world):
    # EC2 is eventually consistent: an answer may simply leave a table out.
    empty = '<DescribeRouteTablesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><routeTableSet/></DescribeRouteTablesResponse>'
    world.api.fault("DescribeRouteTables", body=empty, status=200)
    assert world.ec2.describe_routes([world.claim()])[world.claim()].state == ROUTE_NO_TABLE
    with pytest.raises(Ec2Error, match="there is no such route table in this region"):
        world.ec2.describe_routes([world.claim()], strict=True)


@pytest.mark.parametrize(
    "interface, code", [("eni-0fffffffffffffff0", "InvalidNetworkInterfaceID.NotFound"), ("eni-1", "Malformed")]
)
def test_an_unknown_interface_changes_nothing(world, interface, code):
    with pytest.raises(Ec2Error, match=code):
        world.set_route(world.claim(), interface)
    assert world.api.target(world.claim().route_table) == world.interface("a")


def test_what_is_wrong_with_both_calls_is_said_as_it_is(world):
    # An interface of another VPC: InvalidParameterValue from ReplaceRoute, though the route is there.
    client = world.api.client()
    other = client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=other, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    foreign = client.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    with pytest.raises(Ec2Error, match="belong to different networks") as caught:
        world.set_route(world.claim(), foreign)
    assert not caught.value.retryable
    assert world.api.target(world.claim().route_table) == world.interface("a")


# --- instances -------------------------------------------------------------------------------------------------------------------


def test_homes_of_tagged_route_tables(world):
    tables = [world.claim(zone).route_table for zone in "ab"]
    assert world.ec2.describe_homes("lab") == {}
    name_it(world, tables[0], home="nat-a")
    assert world.ec2.describe_homes("lab") == {tables[0]: "nat-a"}
    assert world.ec2.describe_homes("other") == {}
    world.api.client().delete_tags(Resources=[tables[0]], Tags=[{"Key": "nat-failover:cluster"}])
    assert world.ec2.describe_homes("lab") == {}, "a home without the cluster's tag is nobody's"


def test_homes_of_every_page_are_read(world):
    tables = {world.claim(zone).route_table: f"nat-{zone}" for zone in "ab"}
    for table, home in tables.items():
        name_it(world, table, home=home)
    world.api.fault("DescribeRouteTables", page_items=1)
    assert world.ec2.describe_homes("lab") == tables


def test_routes_of_every_page_are_read_beside_an_unknown_table(world, stray):
    world.api.fault("DescribeRouteTables", page_items=1)
    views = world.ec2.describe_routes([*world.claims, stray])
    assert [view.state for view in views.values()] == [ROUTE_ACTIVE, ROUTE_ACTIVE, ROUTE_NO_TABLE]


def test_a_token_of_another_call_is_refused(world):
    client = world.api.client()
    world.api.fault(page_items=1)
    token = client.describe_instances()["NextToken"]
    with pytest.raises(ClientError, match="InvalidNextToken"):
        client.describe_route_tables(NextToken=token)
    with pytest.raises(ClientError, match="InvalidNextToken"):
        client.describe_instances(NextToken="nonsense")


# --- tags and the source/destination check -----------------------------------------------------------------------------------------


def test_a_missing_route_is_not_made_where_that_is_not_wanted(api, connect):
    world = connect(api, create_routes=False)
    table = world.ids.zones["b"].route_table
    api.client().delete_route(RouteTableId=table, DestinationCidrBlock=vpc.DEFAULT_ROUTE)
    with pytest.raises(
        Ec2Error, match="there is no such route .*; create the route, or let the node do it: ec2.create_routes"
    ):
        world.set_route(world.claim("b"), world.interface())
    assert api.target(table) is None
    assert world.set_route(world.claim("a"), world.interface()).target == world.interface()
