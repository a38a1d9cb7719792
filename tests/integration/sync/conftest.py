# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes with conntrackd, and connections through them."""

from __future__ import annotations

import socket
import struct

import pytest

from nat_failover.model.nat import CARRY, RESUME
from tests.integration.sync.namespaces import (
    CLIENT,
    FAR,
    FIRST,
    NODE_A,
    NODE_B,
    PORT,
    SECOND,
    SERVER,
    SPACES,
    Sync,
    apply,
    gateway,
    lead,
    until,
)
from tests.unit.engine.namespaces import inside, link, made, opened


@pytest.fixture(scope="module")
def spaces():
    with made(SPACES, "conntrackd", "conntrack", "iptables-save", "nft"):
        for address in (FIRST, SECOND):
            inside(CLIENT, "ip", "address", "add", f"{address}/32", "dev", "lo")
        inside(SERVER, "ip", "address", "add", f"{FAR}/32", "dev", "lo")
        for number, space in enumerate((NODE_A, NODE_B)):
            link(space, "in", CLIENT, f"to{number}", f"10.9.{11 + number - 1}")
            link(space, "out", SERVER, f"to{number}", f"198.51.{100 + number}")
            inside(space, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
            inside(space, "ip", "route", "add", FAR, "via", f"198.51.{100 + number}.2")
            for address in (FIRST, SECOND):
                inside(space, "ip", "route", "replace", address, "via", f"10.9.{10 + number}.2")
            apply(space)
            inside(space, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
            inside(space, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        link(NODE_A, "sync", NODE_B, "sync", "10.99.0")
        gateway()
        yield


@pytest.fixture
def nodes(spaces, tmp_path):
    """conntrackd of both nodes, after a start without any flow. Node A carries its identity."""
    for space in (NODE_A, NODE_B):
        inside(space, "conntrack", "-F")
    apply(NODE_A, CARRY)
    apply(NODE_B, RESUME)
    lead(0)
    a, b = Sync(NODE_A, tmp_path), Sync(NODE_B, tmp_path)
    try:
        a.start()
        b.start()
        until(lambda: a.read().received and b.read().received)
        yield a, b
    finally:
        a.kill()
        b.kill()


@pytest.fixture
def server(spaces):
    listening = opened(SERVER)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((FAR, PORT))
    listening.listen()
    yield listening
    listening.close()


@pytest.fixture
def connect(server):
    """Makes connections: (the client's end, the server's end)."""
    ends = []

    def make(source=FIRST, port=0):
        client = opened(CLIENT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((source, port))
        client.connect((FAR, PORT))
        other, _address = server.accept()
        other.settimeout(5)
        ends.extend((client, other))
        return client, other

    yield make
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
