# SPDX-License-Identifier: GPL-3.0-or-later
"""The death of a node: its connections go on at the heir, by what conntrackd has brought there."""

from __future__ import annotations

import socket
import struct

import pytest

from nat_failover.model.nat import CARRY
from tests.integration.sync.namespaces import (
    CLIENT,
    EGRESS,
    FIRST,
    NODE_B,
    SECOND,
    SERVER,
    WAITING,
    apply,
    crash,
    echoed,
    pushed,
    synchronised,
    until,
)
from tests.unit.engine.namespaces import entered, inside

IP_MTU, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 14, 10, 2  # linux/in.h


def test_silent_receivers_and_shifted_ports_live_on_at_the_heir(nodes, connect):
    silent, own, shifted = connect(), connect(port=5000), connect(source=SECOND, port=5000)
    assert own[1].getpeername()[0] == shifted[1].getpeername()[0] == EGRESS
    assert own[1].getpeername()[1] != shifted[1].getpeername()[1]  # node A has shifted one of the two
    synchronised(3)
    crash(nodes[0])
    pushed(*silent)
    echoed(*own)
    echoed(*shifted)
    apply(NODE_B, CARRY)
    later = connect()
    assert later[1].getpeername()[0] == EGRESS
    echoed(*later)


def test_without_synchronised_flows_the_same_connections_end(nodes, connect):
    """The counterpart, so that the test above is known to see a loss."""
    nodes[1].kill()
    silent = connect()
    crash(nodes[0])
    silent[1].sendall(b"down")
    silent[0].settimeout(1.5)
    with pytest.raises(socket.timeout):
        silent[0].recv(10)


def about_next(sniffer, wanted):
    """The first 28 octets of the next IP packet of a flow from the waiting address: a header, and 8 octets of TCP.

    The flow must not have gone on since, or its end takes an ICMP error about it for an old one.
    """
    while True:
        data = sniffer.recv(65535)
        payload = len(data) - 20 - (data[32] >> 4) * 4
        if data[12:16] == socket.inet_aton(WAITING) and struct.unpack("!H", data[20:22])[0] == wanted and payload > 0:
            (sequence,) = struct.unpack("!I", data[24:28])
            return data[:24] + struct.pack("!I", (sequence + payload) & 0xFFFFFFFF)


def total(data):
    """The checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    found = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return ~found & 0xFFFF


def test_a_path_mtu_that_is_lowered_after_the_failover_reaches_the_client(nodes, connect):
    client, other = connect()
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    echoed(client, other)
    synchronised(1)
    crash(nodes[0])
    echoed(client, other)
    sniffer = entered(SERVER, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)))
    listener = entered(CLIENT, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    router = entered(SERVER, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    with sniffer, listener, router:
        sniffer.settimeout(5)
        listener.settimeout(5)
        sniffer.bind(("to1", 0))
        assert client.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1500
        client.sendall(b"x" * 1000)
        about = about_next(sniffer, other.getpeername()[1])
        assert not total(about[:20])
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 1200) + about  # fragmentation needed (RFC 1191)
        inside(SERVER, "ip", "route", "replace", WAITING, "via", "198.51.101.1")
        router.sendto(body[:2] + struct.pack("!H", total(body)) + body[4:], (WAITING, 0))
        seen = listener.recv(2000)[20:]
        assert seen[20:24] == socket.inet_aton(FIRST)  # the source in the header that the error is about
        assert not total(seen)
        assert not total(seen[8:28])
        until(lambda: client.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1200)
        while len(other.recv(2000, socket.MSG_PEEK)) < 1000:
            pass
        other.recv(2000)
        client.sendall(b"y" * 5000)
        got = b""
        while len(got) < 5000:
            got += other.recv(5000)
        assert got == b"y" * 5000
