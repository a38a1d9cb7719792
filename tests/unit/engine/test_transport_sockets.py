# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of the transport: errors, floods, the filter of sources, and ICMP."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from nat_failover.errors import PortTaken
from nat_failover.runtime import real
from nat_failover.wire.codec import Codec, new_boot_id
from nat_failover.wire.icmp import ECHO

from .two_nodes import ACTIVE, ADDRESS, KEY, Clock, Sent, bind, free_port, node, pair, run, until


@pytest.fixture
def no_icmp(monkeypatch):
    """As on a host that permits no ping: UDP alone decides what a test sees."""
    monkeypatch.setattr(real, "open_icmp_socket", lambda bind: None)


# --- sockets -------------------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_one_clear_error(no_icmp):
    async def scenario():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((ADDRESS["nat-a"], 0))
            port = taken.getsockname()[1]
            with pytest.raises(PortTaken, match=f"heartbeat.port: UDP 127.0.0.11:{port} cannot be bound"):
                await node("nat-a", port, Clock()).open()

    run(scenario())


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EPERM, errno.ENOBUFS])
def test_send_errors_are_counted_never_raised(code):
    a = node("nat-a", 1, Clock())
    a._udp = a._icmp = Sent(error=code)
    a.beat("nat-b")
    a.probe("nat-b")
    assert a.counters == {f"send_error_{code}": 3}
    assert a.heard()["nat-b"].unanswered == 0  # what never left cannot be unanswered


def test_an_icmp_error_of_the_network_is_counted(no_icmp):
    # Nobody listens at nat-b: the kernel answers "port unreachable", which a connected socket would raise.
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        try:
            for _turn in range(3):
                a.probe("nat-b")
                await asyncio.sleep(0)
            assert a.heard()["nat-b"].unanswered == 3
        finally:
            a.close()

    run(scenario())


def test_closing_twice_is_harmless(no_icmp):
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        a.close()
        a.close()
        a.beat("nat-b")
        assert a.counters["sent"] == 0

    run(scenario())


def test_a_flood_does_not_stop_the_loop(no_icmp, monkeypatch):
    monkeypatch.setattr(real, "AT_ONCE", 8)

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
                flood.bind((ADDRESS["nat-b"], 0))  # a foreign address does not get through to the process
                for _turn in range(20):
                    flood.sendto(b"x", (ADDRESS["nat-a"], a._port))
            for taken in (8, 16, 20):
                a._udp._drain()  # one wake-up
                assert a.counters["malformed"] == taken

    run(scenario())


# --- the source filter ------------------------------------------------------------------------------------------------


FOREIGN = "127.0.0.66"


def sender(address):
    """A socket of another host, or in the name of one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


def test_the_kernel_drops_what_comes_from_no_peer(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, b):
            with sender(FOREIGN) as foreign, sender(ADDRESS["nat-b"]) as near:
                for _turn in range(100):
                    foreign.sendto(b"x", (ADDRESS["nat-a"], a._port))
                near.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"])
            await bind(a, b)
            assert a.counters["malformed"] == 1 and a.admission.filtered

    run(scenario())


def test_the_filter_follows_the_peers(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, _b):
            with sender(FOREIGN) as moved, sender(ADDRESS["nat-b"]) as before:
                a.set_peers({**ADDRESS, "nat-b": FOREIGN})
                before.sendto(b"x", (ADDRESS["nat-a"], a._port))
                moved.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"])
                await asyncio.sleep(0)
                assert a.counters["malformed"] == 1
                a.set_peers({**ADDRESS, "nat-b": FOREIGN, "nat-c": ADDRESS["nat-b"]})
                before.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"] == 2)

    run(scenario())


def test_foreign_packets_pass_for_a_moment_so_that_impostors_are_noticed(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, _b):
            a.set_origins({"nat-b": (ADDRESS["nat-b"],)})
            strangers = []
            a.on_stranger = lambda name, address: strangers.append((name, address))
            clone = Codec(KEY, "prod", "nat-b").encode("b", new_boot_id(), 1, "", 0, ACTIVE, "nat-a")
            with sender(FOREIGN) as foreign:
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
                a.admission.sample()
                a.admission.sample()  # while one lasts
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
                await until(lambda: strangers)
                await until(lambda: not a.admission.sampling)
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
            await bind(a, _b)
            assert strangers == [("nat-b", FOREIGN)]

    run(scenario())


def test_a_full_queue_of_foreign_packets_keeps_no_heartbeat_out(no_icmp):
    """Without the filter the kernel's queue, of some 250 packets, would be full of them."""

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            received = a.counters["received"]
            with sender(FOREIGN) as foreign:
                for turn in range(5000):  # without a single turn of the loop in between
                    foreign.sendto(bytes(1000), (ADDRESS["nat-a"], a._port))
                    if turn % 100 == 0:
                        b.beat("nat-a")
            await until(lambda: a.counters["received"] - received == 50)
            assert a.counters["malformed"] == 0

    run(scenario())


def test_a_host_that_refuses_the_filter_is_told_once_and_heartbeats_arrive(no_icmp, monkeypatch, caplog):
    def refuse(sock, program):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(real, "attach_filter", refuse)

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            a.set_peers({**ADDRESS, "nat-c": FOREIGN})
            assert not a.admission.filtered

    run(scenario())
    warnings = [record.message for record in caplog.records if "filter of source addresses" in record.message]
    assert len(warnings) == 2, "one of each node"
    assert "Operation not permitted" in warnings[0] and "security group" in warnings[0]


def test_without_icmp_the_transport_goes_on_with_udp(no_icmp, caplog):
    async def scenario():
        async with pair(Clock()) as (a, b):
            assert not a.icmp_available
            await bind(a, b)
            assert a.counters["pinged"] == 0

    run(scenario())
    assert "CAP_NET_RAW" in caplog.text


class Kernel:
    """A ping socket whose other end echoes at once; ``peer`` may be made deaf."""

    type = socket.SOCK_DGRAM

    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)

    def sendto(self, data, address):
        _kind, code, _sum, identifier, seq = ECHO.unpack_from(data)
        self.theirs.send(ECHO.pack(0, code, 0, identifier, seq) + data[ECHO.size :])
        self._from = (address[0], 0)

    def recvfrom(self, size):
        return self.ours.recv(size), self._from

    def fileno(self):
        return self.ours.fileno()

    def close(self):
        self.ours.close()
        self.theirs.close()


def test_icmp_alone_is_life_but_no_heartbeat(monkeypatch):
    monkeypatch.setattr(real, "open_icmp_socket", lambda bind: Kernel())

    async def scenario():
        clock, woken = Clock(), []
        a = node("nat-a", free_port(), clock)
        a.wake = lambda: woken.append(True)
        await a.open()
        try:
            assert a.icmp_available
            a.probe("nat-b")  # nobody answers UDP
            await until(lambda: a.counters["echoed"] == 1)
            heard = a.heard()["nat-b"]
            assert (heard.heartbeat_at, heard.icmp_at, heard.unanswered) == (None, 100.0, 0)
            assert len(woken) == 1
        finally:
            a.close()

    run(scenario())


def test_pings_of_the_real_kernel_where_it_permits_them():
    # Loopback answers for itself: this needs root, a widened ping_group_range or CAP_NET_RAW, else UDP alone is proven.
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        try:
            a.ping("nat-b")
            if a.icmp_available:
                await until(lambda: a.heard()["nat-b"].icmp_at == 100.0)
            assert a.counters["pinged"] == int(a.icmp_available)
        finally:
            a.close()

    run(scenario())
