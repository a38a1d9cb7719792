# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets go as the API says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from lab.fabric import advertise, netns
from lab.fabric.names import API, INTERNET, INTERNET6
from lab.testing import RunningLab, forward, running_lab


def public_address(lab: RunningLab, host: str, server: str = INTERNET) -> str:
    """The address under which a host is seen on the internet; "" when it does not get there."""
    argv = ["curl", "--silent", "--max-time", "0.6", f"http://[{server}]/" if ":" in server else f"http://{server}/"]
    return str(lab.exec(host, argv, check=False).stdout).strip()


def route(lab: RunningLab, zone: str, to: str) -> None:
    """Point the default route of a zone at the node of another."""
    ids = lab.ids.zones
    lab.client().replace_route(
        RouteTableId=ids[zone].route_table,
        DestinationCidrBlock="0.0.0.0/0",
        NetworkInterfaceId=ids[to].interface_id,
    )


def test_each_host_is_seen_with_the_public_address_of_its_way_out(lab: RunningLab) -> None:
    seen = {host: public_address(lab, host) for host in ("nat-a", "nat-b", "client-a", "client-b", "ops")}
    assert seen == {
        "nat-a": "203.0.113.10",
        "nat-b": "203.0.113.11",
        "client-a": "203.0.113.10",
        "client-b": "203.0.113.11",
        "ops": "",
    }


def test_a_client_needs_forwarding_masquerade_and_no_source_dest_check() -> None:
    with running_lab() as lab:
        ec2, node = lab.client(), lab.ids.zones["a"].instance_id
        assert public_address(lab, "nat-a") == "203.0.113.10"
        assert public_address(lab, "client-a") == ""
        forward(lab.host("nat-a"))
        assert public_address(lab, "client-a") == "", "the source/destination check is on"
        ec2.modify_instance_attribute(InstanceId=node, SourceDestCheck={"Value": False})
        assert public_address(lab, "client-a") == "203.0.113.10"
        lab.fault("flush", "nat-a")
        assert public_address(lab, "client-a") == "", "no masquerade: the gateway knows no such address"
        lab.host("nat-a").reboot()
        lab.exec("nat-a", ["iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"])
        assert public_address(lab, "client-a") == "", "no forwarding after a boot"
        netns.sysctl(lab.host("nat-a").namespace, {"ipv4/ip_forward": "1"})
        assert public_address(lab, "client-a") == "203.0.113.10"
        lab.fault("unforward", "nat-a")
        assert public_address(lab, "client-a") == ""
        assert lab.exec("client-b", ["ip", "-brief", "addr", "show", "ens5"]).stdout.split()[2] == "10.0.11.50/24"


def test_a_route_moves_the_packets_before_the_call_is_answered(lab: RunningLab) -> None:
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        begin = time.monotonic()
        for to in ("b", "a", "b"):
            route(lab, "a", to)
            assert public_address(lab, "client-a") == lab.ids.zones[to].public_ip
        assert lab.owner("a") == "nat-b"
        stream.wait_for_answer()
    result = stream.result()
    assert result.lost(begin, begin + 0.5) <= 1
    assert result.outage_ms(begin) < 500


def test_a_managed_nat_gateway_translates_the_subnets_that_are_routed_to_it(lab: RunningLab) -> None:
    ec2, zone = lab.client(), lab.ids.zones["a"]
    address = ec2.allocate_address(Domain="vpc", Address="203.0.113.50")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=zone.public_subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.replace_route(RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=made)
    assert public_address(lab, "client-a") == "203.0.113.50"
    assert public_address(lab, "client-b") == "203.0.113.11"
    ec2.replace_route(
        RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0", GatewayId=lab.ids.internet_gateway
    )
    assert public_address(lab, "client-a") == "", "without it a private address does not get out"
    ec2.replace_route(RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=made)
    ec2.delete_nat_gateway(NatGatewayId=made)
    assert public_address(lab, "client-a") == ""
    ec2.release_address(AllocationId=address)
    route(lab, "a", "a")


def test_the_kernel_follows_a_route_at_once(lab: RunningLab) -> None:
    assert lab.network is not None
    lab.network.follow(lab.api.snapshot())
    times = []
    for to in ("b", "a", "b", "a", "b"):
        table = next(each for each in lab.api.model.route_tables.values() if each.id == lab.ids.zones["a"].route_table)
        changed = next(each for each in table.routes if each.destination_cidr_block == "0.0.0.0/0")
        with lab.api.lock:
            changed.interface = lab.api.model.enis[lab.ids.zones[to].interface_id]
            changed.instance = None
            snapshot = lab.api.snapshot()
            begin = time.monotonic()
            lab.network.follow(snapshot)
            times.append(time.monotonic() - begin)
        assert public_address(lab, "client-a") == lab.ids.zones[to].public_ip
    # Below a millisecond on an idle machine; the limit is for a busy one.
    assert sorted(times)[len(times) // 2] < 0.05, times
    print([f"{each * 1000:.2f} ms" for each in times])


def test_a_route_to_nothing_drops(lab: RunningLab) -> None:
    ec2, zone = lab.client(), lab.ids.zones["a"]
    ec2.delete_route(RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0")
    assert public_address(lab, "client-a") == ""
    assert public_address(lab, "client-b") == "203.0.113.11"
    assert lab.ping("client-a", "10.0.1.10"), "the VPC's own addresses need no route"


def test_ipv6_beside_ipv4() -> None:
    """One lab for all of it: addresses, routes, prefix lists, and the router's advertisements."""
    with running_lab(ipv6=True, on_boot=forward, source_dest_check=False) as lab:
        ec2, ids = lab.client(), lab.ids.zones
        nodes = {zone: f"2001:db8:0:10{number}::10" for number, zone in enumerate("ab")}
        for host, way in (("nat-a", "a"), ("client-a", "a"), ("client-b", "b")):
            until(lambda host=host: default_route6(lab, host))
            assert public_address(lab, host, INTERNET6) == nodes[way]
            assert public_address(lab, host) == ids[way].public_ip
        table = ids["a"].route_table
        to_b = {"RouteTableId": table, "NetworkInterfaceId": ids["b"].interface_id}
        ec2.replace_route(**to_b, DestinationIpv6CidrBlock="::/0")
        assert public_address(lab, "client-a", INTERNET6) == nodes["b"]
        assert public_address(lab, "client-a") == ids["a"].public_ip, "each family has its route"

        entries = [{"Cidr": f"{address}/32"} for address in (INTERNET, "192.0.2.1")]
        made = ec2.create_managed_prefix_list(PrefixListName="two", MaxEntries=2, AddressFamily="IPv4", Entries=entries)
        ec2.create_route(**to_b, DestinationPrefixListId=made["PrefixList"]["PrefixListId"])
        assert public_address(lab, "client-a") == ids["b"].public_ip
        assert lab.owner("a", "0.0.0.0/0") == "nat-a"

        ec2.modify_instance_attribute(InstanceId=ids["b"].instance_id, SourceDestCheck={"Value": True})
        assert public_address(lab, "client-a", INTERNET6) == "", "one check for both families"
        lab.exec("nat-a", ["ip6tables", "-t", "nat", "-F"])
        ec2.replace_route(RouteTableId=table, NetworkInterfaceId=ids["a"].interface_id, DestinationIpv6CidrBlock="::/0")
        assert public_address(lab, "client-a", INTERNET6) == "2001:db8:0:10a::50", "the gateway translates nothing"
        lab.host("nat-a").kill()
        assert public_address(lab, "client-a", INTERNET6) == ""
        ec2.delete_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0")
        assert lab.owner("a", "::/0") is None


def test_a_router_takes_no_advertisements_unless_it_is_told_to() -> None:
    """Why the product sets accept_ra before it lets a node forward IPv6 (docs/forwarding.md)."""
    with running_lab(ipv6=True) as lab:
        for host, told in (("nat-a", "1"), ("nat-b", "2")):
            until(lambda host=host: default_route6(lab, host))
            # Only the kernel's own order of things is of interest here.
            netns.sysctl(lab.host(host).namespace, {"ipv6/conf/ens5/accept_ra": told, "ipv6/conf/all/forwarding": "1"})
        assert default_route6(lab, "nat-b") and not default_route6(lab, "nat-a")
        time.sleep(advertise.EVERY_S + 0.5)
        assert not default_route6(lab, "nat-a"), "nor does it come back"
        netns.sysctl(lab.host("nat-a").namespace, {"ipv6/conf/ens5/accept_ra": "2"})
        until(lambda: default_route6(lab, "nat-a"))


def default_route6(lab: RunningLab, host: str) -> bool:
    return "proto ra" in str(lab.exec(host, ["ip", "-6", "route", "show", "default"]).stdout)


def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_elastic_address_moves(lab: RunningLab) -> None:
    ids = lab.ids.zones
    ec2 = lab.client()
    own = ec2.describe_addresses(AllocationIds=[ids["b"].allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=own["AssociationId"])
    assert public_address(lab, "nat-b") == ""
    ec2.associate_address(
        AllocationId=ids["a"].allocation_id, NetworkInterfaceId=ids["b"].interface_id, AllowReassociation=True
    )
    assert public_address(lab, "client-b") == "203.0.113.10"
    assert public_address(lab, "nat-a") == ""


def test_the_api_sees_nodes_through_the_internet_gateway(lab: RunningLab) -> None:
    code = (
        "import boto3\n"
        f"ec2 = boto3.client('ec2', region_name='eu-west-1', endpoint_url='http://{API}')\n"
        "print(len(ec2.describe_instances()['Reservations']))\n"
    )
    assert lab.exec("nat-b", [sys.executable, "-c", code]).stdout.strip() == "2"
    (call,) = lab.calls(caller="nat-b")
    assert (call.action, call.peer) == ("DescribeInstances", "203.0.113.11")


@pytest.mark.parametrize("node", ["nat-a", "nat-b"])
def test_each_node_has_its_own_metadata(lab: RunningLab, node: str) -> None:
    script = (
        "t=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token);"
        "curl -s -H \"X-aws-ec2-metadata-token: $t\" http://169.254.169.254/latest/meta-data/{instance-id,mac} -w ' '"
    )
    identity, mac = lab.exec(node, ["bash", "-c", script]).stdout.split()
    assert identity == lab.ids.node(node).instance_id
    assert mac in lab.exec(node, ["ip", "link", "show", "ens5"]).stdout


def test_ops_reaches_hosts_and_nobody_outside_reaches_the_control(lab: RunningLab) -> None:
    assert lab.ping("ops", "10.0.0.10") and lab.ping("ops", "10.0.11.50")
    answer = lab.exec("nat-a", ["curl", "-s", "-X", "POST", f"http://{API}/_lab/api/snapshot"]).stdout
    assert "loopback" in answer
