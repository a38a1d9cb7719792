# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes where plain moto differs from AWS.

Sources: EC2 API Reference (CreateRoute, ReplaceRoute, Route, "Error codes") unless named. Where a code is "not confirmed", AWS refuses
the call, and no public record of its code was found. The code here is a guess, and the product depends on none of these.
"""

from __future__ import annotations

import time

import pytest

from lab.vpc import DEFAULT_ROUTE

DEFAULT = {"DestinationCidrBlock": DEFAULT_ROUTE}


@pytest.fixture
def a(api):
    return api.ids.zones["a"]


@pytest.fixture
def b(api):
    return api.ids.zones["b"]


def route(ec2, table, destination=DEFAULT_ROUTE):
    [found] = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    keys = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
    return next((each for each in found["Routes"] if destination in [each.get(key) for key in keys]), None)


def until(condition, within=5.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("target", ["NetworkInterfaceId", "InstanceId"])
def test_both_targets_and_the_owner_are_shown(api, ec2, a, b, target):
    value = {"NetworkInterfaceId": a.interface_id, "InstanceId": a.instance_id}[target]
    ec2.replace_route(RouteTableId=b.route_table, **DEFAULT, **{target: value})
    shown = route(ec2, b.route_table)
    assert (shown["NetworkInterfaceId"], shown["InstanceId"]) == (a.interface_id, a.instance_id)
    assert (shown["InstanceOwnerId"], shown["State"]) == ("123456789012", "active")


def test_replacing_an_absent_route(ec2, a, refusal):
    # Not InvalidRoute.NotFound: moto's replace_route records that AWS says this "for some reason".
    ec2.delete_route(RouteTableId=a.route_table, **DEFAULT)
    assert refusal(
        ec2.replace_route, RouteTableId=a.route_table, **DEFAULT, NetworkInterfaceId=a.interface_id
    ).startswith("InvalidParameterValue: There is no route defined for '0.0.0.0/0' in the route table.")


@pytest.mark.parametrize("target", ["NetworkInterfaceId", "InstanceId"])
def test_creating_a_route_that_exists(ec2, a, b, refusal, target):
    value = {"NetworkInterfaceId": b.interface_id, "InstanceId": b.instance_id}[target]
    assert refusal(ec2.create_route, RouteTableId=a.route_table, **DEFAULT, **{target: value}).startswith(
        "RouteAlreadyExists: The route identified by 0.0.0.0/0 already exists"
    )
    assert route(ec2, a.route_table)["NetworkInterfaceId"] == a.interface_id


def test_creating_an_ipv6_route_that_exists(ec2, a, b, refusal):
    everything = {"RouteTableId": a.route_table, "DestinationIpv6CidrBlock": "::/0"}
    ec2.create_route(**everything, NetworkInterfaceId=a.interface_id)
    assert refusal(ec2.create_route, **everything, NetworkInterfaceId=b.interface_id).startswith("RouteAlreadyExists")
    assert route(ec2, a.route_table, "::/0")["NetworkInterfaceId"] == a.interface_id


def test_a_gateway_endpoint_puts_a_route_to_its_prefix_list_into_the_tables(ec2, a):
    """AWS PrivateLink guide, "Gateway endpoints": a route is added for each route table that is named."""
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.0.0.0/16"]}])["Vpcs"]
    made = ec2.create_vpc_endpoint(
        VpcId=vpc["VpcId"],
        ServiceName="com.amazonaws.eu-west-1.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[a.route_table],
    )["VpcEndpoint"]["VpcEndpointId"]
    [table] = ec2.describe_route_tables(RouteTableIds=[a.route_table])["RouteTables"]
    assert [each["GatewayId"] for each in table["Routes"] if "DestinationPrefixListId" in each] == [made]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])


def test_a_prefix_list_as_destination(ec2, a, b, refusal):
    # Plain moto forgets the list of a route to an interface. The code of an unknown one: terraform-provider-aws, internal/service/ec2/errors.go.
    made = ec2.create_managed_prefix_list(
        PrefixListName="partners", MaxEntries=1, AddressFamily="IPv6", Entries=[{"Cidr": "2001:db8:9::/48"}]
    )
    everything = {"RouteTableId": a.route_table, "DestinationPrefixListId": made["PrefixList"]["PrefixListId"]}
    absent = refusal(ec2.replace_route, **everything, NetworkInterfaceId=a.interface_id)
    assert absent.startswith("InvalidParameterValue: There is no route defined")
    ec2.create_route(**everything, NetworkInterfaceId=a.interface_id)
    assert refusal(ec2.create_route, **everything, NetworkInterfaceId=b.interface_id).startswith("RouteAlreadyExists")
    ec2.replace_route(**everything, NetworkInterfaceId=b.interface_id)
    destination = everything["DestinationPrefixListId"]
    assert route(ec2, a.route_table, destination)["NetworkInterfaceId"] == b.interface_id
    assert route(ec2, a.route_table)["NetworkInterfaceId"] == a.interface_id
    ec2.delete_route(**everything)
    assert route(ec2, a.route_table, destination) is None
    unknown = {**everything, "DestinationPrefixListId": "pl-0fffffffffffffff0"}
    for call in (ec2.replace_route, ec2.create_route):
        got = refusal(call, **unknown, NetworkInterfaceId=a.interface_id)
        assert got.startswith("InvalidPrefixListID.NotFound: The prefix list ID 'pl-0fffffffffffffff0' does not exist")


def test_deleting_an_absent_route(ec2, a, refusal):
    ec2.delete_route(RouteTableId=a.route_table, **DEFAULT)
    assert refusal(ec2.delete_route, RouteTableId=a.route_table, **DEFAULT).startswith("InvalidRoute.NotFound")


# --- blackhole -------------------------------------------------------------------------------------------------------------------


def test_blackhole_once_stopped_and_not_while_stopping(api, ec2, b):
    # VPC User Guide, "Route tables": the target is not available. While stopping it still is: github.com/bobtfish/AWSnycast/issues/21.
    api.control("stuck", {"instance": "nat-b"})
    ec2.stop_instances(InstanceIds=[b.instance_id])
    assert api.instance("nat-b").state == "stopping"
    assert route(ec2, b.route_table)["State"] == "active"
    ec2.stop_instances(InstanceIds=[b.instance_id], Force=True)
    until(lambda: route(ec2, b.route_table)["State"] == "blackhole")
    assert api.instance("nat-b").state == "stopped"
    assert route(ec2, b.route_table)["InstanceId"] == b.instance_id
    ec2.start_instances(InstanceIds=[b.instance_id])
    until(lambda: route(ec2, b.route_table)["State"] == "active")


def test_blackhole_after_termination_shows_the_dangling_interface_only(ec2, b):
    # github.com/hashicorp/terraform/issues/6076
    ec2.terminate_instances(InstanceIds=[b.instance_id])
    until(lambda: route(ec2, b.route_table)["State"] == "blackhole")
    shown = route(ec2, b.route_table)
    assert "InstanceId" not in shown and "InstanceOwnerId" not in shown
    assert shown["NetworkInterfaceId"] == b.interface_id


def test_blackhole_of_an_interface_attached_to_nothing(ec2, a, b):
    loose = ec2.create_network_interface(SubnetId=a.public_subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.replace_route(RouteTableId=b.route_table, **DEFAULT, NetworkInterfaceId=loose)
    assert route(ec2, b.route_table)["State"] == "blackhole"


# --- refusals, none of which changes anything --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace_route", "create_route"])
@pytest.mark.parametrize(
    "parameters, code",
    [
        # Not confirmed: the codes for no target, two targets and a target in another VPC.
        ({}, "MissingParameter"),
        ({"GatewayId": "{igw}", "NetworkInterfaceId": "{eni}"}, "InvalidParameterCombination"),
        ({"InstanceId": "{instance}", "NetworkInterfaceId": "{eni}"}, "InvalidParameterCombination"),
        ({"NetworkInterfaceId": "eni-0fffffffffffffff0"}, "InvalidNetworkInterfaceID.NotFound"),
        ({"NetworkInterfaceId": "eni-1"}, "InvalidNetworkInterfaceId.Malformed"),
        ({"InstanceId": "i-0fffffffffffffff0"}, "InvalidInstanceID.NotFound"),
        ({"InstanceId": "i-nonsense"}, "InvalidInstanceID.Malformed"),
        ({"GatewayId": "igw-0fffffffffffffff0"}, "InvalidInternetGatewayID.NotFound"),
        ({"NatGatewayId": "nat-0fffffffffffffff0"}, "NatGatewayNotFound"),
        ({"NetworkInterfaceId": "{foreign}"}, "InvalidParameterValue: route table {table} and target {foreign} belong"),
    ],
    ids=str,
)
def test_refused_targets(api, ec2, a, refusal, call, parameters, code):
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=other, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    names = {
        "igw": api.ids.internet_gateway,
        "eni": a.interface_id,
        "instance": a.instance_id,
        "table": api.ids.public_route_table,
        "foreign": ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"],
    }
    destination = DEFAULT_ROUTE if call == "replace_route" else "192.0.2.0/24"
    got = refusal(
        getattr(ec2, call),
        RouteTableId=api.ids.public_route_table,
        DestinationCidrBlock=destination,
        **{key: value.format(**names) for key, value in parameters.items()},
    )
    assert got.startswith(code.format(**names))
    # Plain moto has removed the old target by now.
    assert route(ec2, api.ids.public_route_table)["GatewayId"] == api.ids.internet_gateway
    assert route(ec2, api.ids.public_route_table, "192.0.2.0/24") is None


def test_an_instance_with_several_interfaces_is_no_target(ec2, a, b, refusal):
    # AWS's words, and for a route target: github.com/bobtfish/AWSnycast/issues/28
    second = ec2.create_network_interface(SubnetId=a.public_subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=a.instance_id, DeviceIndex=1)
    got = refusal(ec2.replace_route, RouteTableId=b.route_table, **DEFAULT, InstanceId=a.instance_id)
    assert got.startswith("InvalidInstanceID: There are multiple interfaces attached to instance")
    ec2.replace_route(RouteTableId=b.route_table, **DEFAULT, NetworkInterfaceId=second)


def test_a_terminated_instance_is_no_target(api, ec2, a, b, refusal):
    # The code is not confirmed.
    ec2.terminate_instances(InstanceIds=[a.instance_id])
    until(lambda: api.instance(a.instance_id).state == "terminated")
    got = refusal(ec2.replace_route, RouteTableId=b.route_table, **DEFAULT, InstanceId=a.instance_id)
    assert got.startswith("IncorrectInstanceState")


@pytest.mark.parametrize(
    "table, code",
    [("rtb-0fffffffffffffff0", "InvalidRouteTableID.NotFound"), ("rtb-xyz", "InvalidRouteTableId.Malformed")],
)
def test_an_unknown_table(ec2, a, refusal, table, code):
    for call in (ec2.replace_route, ec2.create_route):
        assert refusal(call, RouteTableId=table, **DEFAULT, NetworkInterfaceId=a.interface_id).startswith(code)


def test_one_unknown_table_spoils_the_reading_of_all(ec2, a, refusal):
    unknown = "rtb-0fffffffffffffff0"
    got = refusal(ec2.describe_route_tables, RouteTableIds=[a.route_table, unknown])
    assert got.startswith("InvalidRouteTableID.NotFound") and unknown in got
    found = ec2.describe_route_tables(Filters=[{"Name": "route-table-id", "Values": [a.route_table, unknown]}])
    assert [table["RouteTableId"] for table in found["RouteTables"]] == [a.route_table]


# --- destinations ----------------------------------------------------------------------------------------------------------------


def test_a_destination_is_stored_in_canonical_form(ec2, a):
    # CreateRoute, DestinationCidrBlock: "We modify the specified CIDR block to its canonical form; for example, 100.68.0.18/18 ... 100.68.0.0/18".
    ec2.create_route(
        RouteTableId=a.route_table, DestinationCidrBlock="100.68.0.18/18", NetworkInterfaceId=a.interface_id
    )
    assert route(ec2, a.route_table, "100.68.0.0/18")["State"] == "active"
    ec2.create_route(RouteTableId=a.route_table, DestinationCidrBlock="192.0.2.0/24", NetworkInterfaceId=a.interface_id)
    ec2.delete_route(RouteTableId=a.route_table, DestinationCidrBlock="100.68.0.18/18")
    assert route(ec2, a.route_table, "100.68.0.0/18") is None


@pytest.mark.parametrize(
    "destination, code",
    [
        ({}, "MissingParameter"),
        ({"DestinationCidrBlock": "everywhere"}, "InvalidParameterValue"),
        ({"DestinationCidrBlock": "::/0"}, "InvalidParameterValue"),
        ({"DestinationIpv6CidrBlock": "0.0.0.0/0"}, "InvalidParameterValue"),
        ({"DestinationCidrBlock": "0.0.0.0/0", "DestinationIpv6CidrBlock": "::/0"}, "InvalidParameterCombination"),
    ],
    ids=str,
)
def test_refused_destinations(ec2, a, refusal, destination, code):
    got = refusal(ec2.create_route, RouteTableId=a.route_table, NetworkInterfaceId=a.interface_id, **destination)
    assert got.startswith(code)
