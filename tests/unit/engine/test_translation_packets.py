# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow that changes its node in the middle, with real packets: client, two nodes and a server in network namespaces.

Both nodes translate to the same address, which the server routes to one of them: in a VPC the Elastic IP does that.
"""

from __future__ import annotations

import socket

import pytest

from nat_failover.host import netfilter
from nat_failover.model.nat import CARRY, RESET, RESUME, Identity, Nat

from .namespaces import inside, link, made, opened, runner

CLIENT, NODE_A, NODE_B, SERVER = SPACES = [f"nfo-id-{each}" for each in ("c", "a", "b", "s")]
IDENTITY = "10.9.0.99"
NAT = Nat(("10.9.0.0/16",), "out", identities=(Identity("nat-a", IDENTITY, ("10.9.10.0/24",)),))
PORT = 7000


def node(space, number):
    """A node between the client (10.9.10.0/24) and the server (192.0.2.0/24), with an address of its own to each of them."""
    for peer, name, net in ((CLIENT, "in", f"10.9.{10 + number}"), (SERVER, "out", f"198.51.{100 + number}")):
        link(space, name, peer, f"to{number}", net)
    inside(space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    inside(space, "ip", "route", "add", "192.0.2.1", "via", f"198.51.{100 + number}.2")
    inside(space, "ip", "route", "replace", "10.9.10.50", "via", f"10.9.{10 + number}.2")
    netfilter.apply_rules(NAT, runner(space))
    # As the role sets it: a node that gets a flow back knows an older window of it
    inside(space, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1")


def lead(number):
    """Both ways lead through a node from now on: the client's route, and the address of the identity."""
    inside(CLIENT, "ip", "route", "replace", "192.0.2.1", "via", f"10.9.{10 + number}.1", "src", "10.9.10.50")
    inside(SERVER, "ip", "route", "replace", IDENTITY, "via", f"198.51.{100 + number}.1")


@pytest.fixture
def wires():
    with made(SPACES, "iptables-save"):
        inside(CLIENT, "ip", "address", "add", "10.9.10.50/32", "dev", "lo")
        inside(SERVER, "ip", "address", "add", "192.0.2.1/32", "dev", "lo")
        for number, space in enumerate((NODE_A, NODE_B)):
            node(space, number)
        netfilter.apply_rules(NAT, runner(NODE_A), {"nat-a": CARRY})
        lead(0)
        yield


@pytest.fixture
def server(wires):
    listening = opened(SERVER)
    listening.bind(("192.0.2.1", PORT))
    listening.listen()
    yield listening
    listening.close()


def connected(server):
    """(the client's end, the server's end, the address that the server sees)."""
    client = opened(CLIENT)
    client.connect(("192.0.2.1", PORT))
    other, (address, _port) = server.accept()
    other.settimeout(5)
    return client, other, address


def echoed(client, other):
    client.sendall(b"up")
    assert other.recv(10) == b"up"
    other.sendall(b"down")
    assert client.recv(10) == b"down"


def test_a_flow_goes_on_at_the_heir_and_new_ones_leave_with_the_heirs_own_address_until_it_carries(server):
    client, other, address = connected(server)
    assert address == IDENTITY
    echoed(client, other)
    lead(1)  # node A dies
    echoed(client, other)
    assert connected(server)[2] == "198.51.101.1"
    netfilter.apply_rules(NAT, runner(NODE_B), {"nat-a": CARRY})
    assert connected(server)[2] == IDENTITY
    echoed(client, other)
    lead(0)  # and comes back
    echoed(client, other)


def test_a_flow_that_cannot_go_on_is_reset_at_once(server):
    client, _other, _address = connected(server)
    netfilter.apply_rules(NAT, runner(NODE_B), {"nat-a": RESET})
    lead(1)
    client.sendall(b"up")
    with pytest.raises(ConnectionResetError):
        client.recv(10)


@pytest.mark.parametrize("state", [RESUME, CARRY])
def test_an_unsolicited_connection_to_the_identity_is_not_answered(server, state):
    netfilter.apply_rules(NAT, runner(NODE_A), {"nat-a": state})
    inside(NODE_A, "ip", "address", "add", f"{IDENTITY}/32", "dev", "out")  # as cloud-init may do
    stranger = opened(SERVER)
    stranger.settimeout(1)
    with pytest.raises(socket.timeout):
        stranger.connect((IDENTITY, 22))
