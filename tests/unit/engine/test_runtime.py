# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime that ships, on real sockets of the loopback interface, threads and timers."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time

import pytest

from nat_failover.runtime import real
from nat_failover.runtime.base import Receiver
from nat_failover.runtime.real import AsyncioRuntime


class Kernel:
    """Stands in for socket.socket: which kinds may be opened, and which calls fail."""

    def __init__(self, *permitted, fail=""):
        self.permitted, self.fail, self.opened = permitted, fail, []

    def __call__(self, family, kind, protocol):
        if kind not in self.permitted:
            raise PermissionError(1, "Operation not permitted")
        self.opened.append(FakeSocket(kind, self.fail))
        return self.opened[-1]


class FakeSocket:
    def __init__(self, kind, fail):
        self.type, self._fail, self.options, self.closed = kind, fail, [], False

    def setblocking(self, _flag):
        pass

    def bind(self, _address):
        if self._fail == "bind":
            raise OSError(99, "Cannot assign requested address")

    def setsockopt(self, *option):
        self.options.append(option)

    def close(self):
        self.closed = True


def test_a_ping_socket_is_preferred(monkeypatch):
    kernel = Kernel(socket.SOCK_DGRAM, socket.SOCK_RAW)
    monkeypatch.setattr(real.socket, "socket", kernel)
    assert real.open_icmp_socket("0.0.0.0").type == socket.SOCK_DGRAM
    assert len(kernel.opened) == 1


def test_a_raw_socket_hears_replies_only(monkeypatch):
    monkeypatch.setattr(real.socket, "socket", Kernel(socket.SOCK_RAW))
    assert real.open_icmp_socket("0.0.0.0").options == [(255, 1, struct.pack("I", 0xFFFFFFFE))]


def test_no_socket_without_permission(monkeypatch):
    monkeypatch.setattr(real.socket, "socket", Kernel())
    assert real.open_icmp_socket("0.0.0.0") is None


def test_a_socket_that_cannot_be_bound_is_closed(monkeypatch):
    kernel = Kernel(socket.SOCK_DGRAM, socket.SOCK_RAW, fail="bind")
    monkeypatch.setattr(real.socket, "socket", kernel)
    assert real.open_icmp_socket("192.0.2.1") is None
    assert [sock.closed for sock in kernel.opened] == [True, True]


# --- datagrams -------------------------------------------------------------------------------------------------------


class Taken:
    """Notes what a socket calls back, in order."""

    def __init__(self):
        self.calls = []
        self.on_take = lambda data: None

    @property
    def receiver(self):
        return Receiver(self.take, lambda: self.calls.append("read"), self.calls.append)

    def take(self, data, address):
        self.calls.append((data, address))
        self.on_take(data)

    async def until(self, condition):
        await asyncio.wait_for(self._until(condition), 5)

    async def _until(self, condition):
        while not condition():
            await asyncio.sleep(0.005)


def port_of(datagrams):
    return datagrams._sock.getsockname()[1]


def test_datagrams_go_both_ways_and_each_group_of_them_ends_with_a_read():
    async def run():
        runtime, left, right = AsyncioRuntime(), Taken(), Taken()
        one = runtime.open_udp("127.0.0.1", 0, left.receiver)
        two = runtime.open_udp("127.0.0.1", 0, right.receiver)
        try:
            one.send(b"a", "127.0.0.1", port_of(two))
            one.send(b"b", "127.0.0.1", port_of(two))
            await right.until(lambda: len(right.calls) >= 3)
            two.send(b"c", "127.0.0.1", port_of(one))
            await left.until(lambda: len(left.calls) >= 2)
        finally:
            one.close()
            two.close()
        return left.calls, right.calls, one.raw

    left, right, raw = asyncio.run(run())
    assert left == [(b"c", "127.0.0.1"), "read"] and not raw
    assert [call for call in right if call != "read"] == [(b"a", "127.0.0.1"), (b"b", "127.0.0.1")]
    assert right[-1] == "read"


def test_a_port_in_use_is_an_error():
    async def run():
        runtime = AsyncioRuntime()
        first = runtime.open_udp("127.0.0.1", 0, Taken().receiver)
        try:
            with pytest.raises(OSError, match="in use"):
                runtime.open_udp("127.0.0.1", port_of(first), Taken().receiver)
        finally:
            first.close()

    asyncio.run(run())


def test_a_socket_that_a_datagram_closes_is_read_no_further():
    async def run():
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        runtime, taken, other = AsyncioRuntime(), Taken(), Taken()
        receiving, sending = (runtime.open_udp("127.0.0.1", 0, each.receiver) for each in (taken, other))
        taken.on_take = lambda data: receiving.close()
        for data in (b"a", b"b"):
            sending.send(data, "127.0.0.1", port_of(receiving))
        await taken.until(lambda: taken.calls)
        await asyncio.sleep(0.02)
        receiving.send(b"c", "127.0.0.1", port_of(sending))
        receiving.close()
        sending.close()
        return taken.calls, other.calls, errors

    assert asyncio.run(run()) == ([(b"a", "127.0.0.1")], [], [])


class Failing:
    """A socket whose reads end as a list says."""

    type = socket.SOCK_DGRAM

    def __init__(self, *results):
        self.results = list(results)

    def recvfrom(self, _size):
        result = self.results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result, ("192.0.2.1", 1)


def test_an_error_of_the_kernel_in_place_of_a_datagram_is_passed_on_and_reading_goes_on(monkeypatch):
    async def run():
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", lambda *arguments: None)
        taken, refused = Taken(), ConnectionRefusedError(111, "Connection refused")
        sockets = real.Sockets(Failing(refused, b"a", BlockingIOError()), taken.receiver)
        sockets._drain()
        return taken.calls, refused

    calls, refused = asyncio.run(run())
    assert calls == [refused, (b"a", "192.0.2.1"), "read"]


def test_a_flood_does_not_keep_the_loop_from_its_timers(monkeypatch):
    async def run():
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", lambda *arguments: None)
        taken = Taken()
        endless = Failing(*[b"x"] * (2 * real.AT_ONCE))
        real.Sockets(endless, taken.receiver)._drain()
        return len(taken.calls), len(endless.results)

    assert asyncio.run(run()) == (real.AT_ONCE + 1, real.AT_ONCE)


@pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
def test_a_netlink_socket_is_subscribed_and_closed():
    async def run():
        taken = Taken()
        found = AsyncioRuntime().open_netlink(0, 1, taken.receiver)
        assert found is not None, "links of rtnetlink(7) need no privilege"
        groups = found._sock.getsockname()[1]
        found.close()
        found.close()
        return groups, AsyncioRuntime().open_netlink(99, 1, taken.receiver)

    assert asyncio.run(run()) == (1, None)


# --- calls that block, timers, sockets of local servers ---------------------------------------------------------------


def test_a_pool_returns_results_raises_errors_and_runs_no_more_at_once_than_it_has_threads():
    running, most = [], []

    def call(number):
        running.append(number)
        most.append(len(running))
        time.sleep(0.005)
        running.remove(number)
        if number == 3:
            raise ValueError(number)
        return number

    async def run():
        pool = AsyncioRuntime().pool("test", 2)
        try:
            return await asyncio.gather(*(pool.run(call, number) for number in range(5)), return_exceptions=True)
        finally:
            pool.close()

    results = asyncio.run(run())
    assert results[:3] == [0, 1, 2] and isinstance(results[3], ValueError) and results[4] == 4
    assert max(most) <= 2


def test_a_closed_pool_starts_nothing():
    async def run():
        pool = AsyncioRuntime().pool("test", 1)
        pool.close()
        with pytest.raises(RuntimeError):
            await pool.run(int)

    asyncio.run(run())


def test_timers_call_back_in_their_order_unless_cancelled():
    async def run():
        runtime, calls = AsyncioRuntime(), []
        done = asyncio.get_running_loop().create_future()
        runtime.later(0.02, done.set_result, None)
        runtime.later(0.01, calls.append, "late")
        runtime.later(0, calls.append, "soon")
        runtime.later(0.005, calls.append, "never").cancel()
        await asyncio.wait_for(done, 5)
        return calls

    assert asyncio.run(run()) == ["soon", "late"]


def test_work_that_takes_too_long_is_cancelled():
    async def run():
        runtime, ended = AsyncioRuntime(), []

        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        with pytest.raises(asyncio.TimeoutError):
            await runtime.within(0.01, work())
        assert ended == [True]
        return await runtime.within(5, asyncio.sleep(0, "result"))

    assert asyncio.run(run()) == "result"


def test_lines_are_answered_by_lines_until_the_server_closes(tmp_path):
    path = str(tmp_path / "socket")

    async def serve(reader, writer):
        for _question in range(2):
            writer.write((await reader.readline()).upper())
        await reader.readline()
        writer.close()

    async def run():
        runtime = AsyncioRuntime()
        with pytest.raises(FileNotFoundError):
            await runtime.connect_unix(path)
        server = await asyncio.start_unix_server(serve, path)
        lines = await runtime.connect_unix(path)
        try:
            answers = [await lines.ask(b"a"), await lines.ask(b"b")]
            assert not lines.ended
            return [*answers, await lines.ask(b"c"), lines.ended]
        finally:
            lines.close()
            server.close()

    assert asyncio.run(run()) == [b"A", b"B", b"", True]


def test_names_are_resolved_and_unknown_ones_are_an_error():
    async def run():
        with pytest.raises(OSError):
            await AsyncioRuntime().resolve("no-such-host.invalid")
        return await AsyncioRuntime().resolve("localhost")

    assert asyncio.run(run()) == "127.0.0.1"
