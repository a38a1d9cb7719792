# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet gateway translates packets, not flows, also inside ICMP errors (AWS: VPC User Guide, "internet gateway")."""

from __future__ import annotations

import time

import pytest

from lab.errors import LabError
from lab.fabric import netns
from lab.fabric.names import INTERNET
from lab.fabric.nft import Nft
from lab.testing import RunningLab, forward, running_lab
from tests.integration.lab.packets import PORT, connection, echoes, icmp, seen, told, udp


def reassociate(lab: RunningLab, address: str, to: str) -> None:
    """The Elastic IP of one zone moves to the node of another."""
    zones = lab.ids.zones
    ec2, own = lab.client(), zones[to].allocation_id
    held = ec2.describe_addresses(AllocationIds=[own])["Addresses"][0].get("AssociationId")
    if held and address != to:
        ec2.disassociate_address(AssociationId=held)
    ec2.associate_address(
        AllocationId=zones[address].allocation_id, NetworkInterfaceId=zones[to].interface_id, AllowReassociation=True
    )


def test_a_flow_goes_on_from_the_address_of_the_moment(lab: RunningLab) -> None:
    """And nothing is remembered: an answer to the old address goes where that is now."""
    with udp(lab, "internet", INTERNET, PORT) as server, udp(lab, "nat-b", port=4000, to=(INTERNET, PORT)) as node:
        for address in ("203.0.113.11", "203.0.113.10", "203.0.113.11"):
            reassociate(lab, "b" if address == "203.0.113.11" else "a", "b")
            node.send(b"1")
            assert server.recvfrom(9)[1] == (address, 4000)
            server.sendto(b"2", (address, 4000))
            assert node.recv(9) == b"2"
        with udp(lab, "nat-a", port=4000, to=(INTERNET, PORT)) as other, pytest.raises(TimeoutError):
            other.settimeout(0.3)
            other.send(b"without a public address")
            server.settimeout(0.3)
            server.recv(99)
    tracked = netns.run(["ip", "netns", "exec", lab.names.namespace("igw"), "conntrack", "-C"])
    assert tracked.strip() == "0"


def test_anybody_on_the_internet_reaches_a_public_address(lab: RunningLab) -> None:
    with udp(lab, "nat-a", port=4000) as node, udp(lab, "internet", INTERNET, PORT) as server:
        server.sendto(b"unasked", ("203.0.113.10", 4000))
        assert node.recvfrom(9) == (b"unasked", (INTERNET, PORT))


@pytest.mark.parametrize(("host", "address"), [("nat-a", "10.0.0.10"), ("client-a", "10.0.10.50")])
def test_an_error_from_the_internet_finds_the_flow(lab: RunningLab, host: str, address: str) -> None:
    """A node's own one, and a client's behind the translation of a node."""
    with icmp(lab, host) as errors, udp(lab, host, to=(INTERNET, 9)) as sock:
        sock.send(b"nobody listens there")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
        assert told(errors) == (INTERNET, address, INTERNET)


def test_an_error_from_the_vpc_finds_the_flow(lab: RunningLab) -> None:
    with icmp(lab, "internet") as errors, udp(lab, "internet", INTERNET, to=("203.0.113.10", 9)) as sock:
        sock.send(b"nobody listens there")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
        assert told(errors) == ("203.0.113.10", INTERNET, "203.0.113.10")


def test_nodes_meet_at_their_public_addresses(lab: RunningLab) -> None:
    with udp(lab, "nat-b", port=4000) as server, udp(lab, "nat-a", to=("203.0.113.11", 4000)) as sock:
        sock.send(b"1")
        _data, caller = server.recvfrom(9)
        assert caller[0] == "203.0.113.10"
        server.sendto(b"2", caller)
        assert sock.recv(9) == b"2"
    with icmp(lab, "nat-a") as errors, udp(lab, "nat-a", to=("203.0.113.11", 9)) as sock:
        sock.send(b"nobody listens there")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
        assert told(errors) == ("203.0.113.11", "10.0.0.10", "203.0.113.11")


def test_a_managed_nat_gateway_meets_a_node_at_its_public_address(lab: RunningLab) -> None:
    ec2, zone = lab.client(), lab.ids.zones["a"]
    address = ec2.allocate_address(Domain="vpc", Address="203.0.113.50")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=zone.public_subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.replace_route(RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=made)
    with udp(lab, "nat-b", port=4000) as server, udp(lab, "client-a", to=("203.0.113.11", 4000)) as sock:
        sock.send(b"1")
        _data, caller = server.recvfrom(9)
        assert caller[0] == "203.0.113.50"
        server.sendto(b"2", caller)
        assert sock.recv(9) == b"2"


def test_an_elastic_ip_of_a_secondary_address(lab: RunningLab) -> None:
    """Packets from that address are seen under the Elastic IP. Packets for it reach the interface, though the host does not have it."""
    ec2, ids = lab.client(), lab.ids.zones
    secondary = {"NetworkInterfaceId": ids["b"].interface_id, "PrivateIpAddresses": ["10.0.1.20"]}
    ec2.assign_private_ip_addresses(**secondary)
    translate = ["-t", "nat", "-I", "POSTROUTING", "-p", "udp", "--dport", str(PORT)]
    lab.exec("nat-b", ["iptables", *translate, "-j", "SNAT", "--to-source", "10.0.1.20"])
    lab.exec(
        "nat-b", ["iptables", "-t", "nat", "-I", "PREROUTING", "-d", "10.0.1.20", "-j", "DNAT", "--to", "10.0.1.10"]
    )
    with (
        udp(lab, "internet", INTERNET, PORT) as server,
        udp(lab, "client-b", to=(INTERNET, PORT)) as client,
        udp(lab, "nat-b", port=4000) as node,
        udp(lab, "nat-b", port=4001, to=(INTERNET, PORT)) as own,
    ):
        server.settimeout(0.5)
        assert seen(server, client) == "", "no Elastic IP yet"
        ec2.associate_address(
            AllocationId=ids["a"].allocation_id,
            NetworkInterfaceId=ids["b"].interface_id,
            PrivateIpAddress="10.0.1.20",
        )
        assert seen(server, client) == "203.0.113.10"
        server.sendto(b"unasked", ("203.0.113.10", 4000))
        assert node.recvfrom(9) == (b"unasked", (INTERNET, PORT))
        server.sendto(b"unasked", ("203.0.113.11", 4000))
        # The node's own translation has given port 5353 to the flow of before.
        data, (caller, _port) = node.recvfrom(9)
        assert (data, caller) == (b"unasked", INTERNET), "the primary address has kept its own Elastic IP"
        # The source/destination check of an interface knows all of its addresses (EC2 User Guide, "Source/destination checking").
        ec2.modify_instance_attribute(InstanceId=ids["b"].instance_id, SourceDestCheck={"Value": True})
        assert seen(server, own) == "203.0.113.10"
        ec2.unassign_private_ip_addresses(**secondary)
        assert seen(server, own) == ""


def test_an_association_that_takes_its_time(lab: RunningLab) -> None:
    """Until then everything goes on as before."""
    lab.control("addresses", {"delay_s": 2})
    begin = time.monotonic()
    reassociate(lab, "a", "b")
    with udp(lab, "internet", INTERNET, PORT) as server, udp(lab, "nat-b", to=(INTERNET, PORT)) as sock:
        assert seen(server, sock) == "203.0.113.11"
        while seen(server, sock) != "203.0.113.10":
            assert time.monotonic() < begin + 20
            time.sleep(0.02)
        assert time.monotonic() >= begin + 2


@pytest.mark.parametrize(("mode", "alive"), [("open", True), ("accepting", True), ("syn", False)])
def test_a_connection_goes_on_over_another_node(mode: str, alive: bool) -> None:
    """By hand, as far as the lab is concerned: route and Elastic IP move, and the heir's kernel takes the flow up in its middle."""
    with running_lab(on_boot=forward, source_dest_check=False, with_egress=True) as lab:
        zones = lab.ids.zones
        own = lab.egress["a"]
        lab.fault("group", "nat-b", mode=mode)
        for node, address in (("nat-a", own.private_ip), ("nat-b", own.waiting["b"])):
            lab.exec(node, ["iptables", "-I", "FORWARD", "-d", address, "-j", "DROP"])
            lab.exec(node, ["iptables", "-I", "INPUT", "-d", address, "-j", "DROP"])
            of_zone = ["-s", "10.0.10.0/24", "!", "-d", "10.0.0.0/16"]
            lab.exec(node, ["iptables", "-t", "nat", "-I", "POSTROUTING", *of_zone, "-j", "SNAT", "--to", address])
        with connection(lab) as sock:
            assert echoes(sock)
            lab.fault("kill", "nat-a")
            ec2 = lab.client()
            ec2.replace_route(
                RouteTableId=zones["a"].route_table,
                DestinationCidrBlock="0.0.0.0/0",
                NetworkInterfaceId=zones["b"].interface_id,
            )
            ec2.associate_address(
                AllocationId=own.allocation_id,
                NetworkInterfaceId=zones["b"].interface_id,
                PrivateIpAddress=own.waiting["b"],
            )
            assert echoes(sock) is alive
        with udp(lab, "internet", INTERNET, PORT) as server, udp(lab, "client-a", to=(INTERNET, PORT)) as client:
            assert seen(server, client) == own.public_ip


def test_what_nftables_refuses_is_an_error_and_changes_nothing(lab: RunningLab) -> None:
    """One transaction, and the context goes on; the namespace is free once it is closed."""
    name = lab.names.namespace("nft")
    netns.create(name)
    rules = Nft(name)
    try:
        rules.load("add table ip t\nadd set ip t s { type ipv4_addr; }\nadd element ip t s { 10.0.0.1 }\n")
        with pytest.raises(LabError, match="nftables in .*: Error: No such file or directory"):
            rules.load("add element ip t s { 10.0.0.2 }\nadd element ip t nowhere { 10.0.0.3 }\n")
        listed = netns.run(["ip", "netns", "exec", name, "nft", "list", "set", "ip", "t", "s"])
        assert "10.0.0.1" in listed and "10.0.0.2" not in listed
        rules.load("add element ip t s { 10.0.0.4 }\n")
        assert "10.0.0.4" in netns.run(["ip", "netns", "exec", name, "nft", "list", "set", "ip", "t", "s"])
    finally:
        rules.close()
        rules.close()
        netns.delete(name)
