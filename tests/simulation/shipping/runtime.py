# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime of a simulated process: virtual clocks, blocking calls as greenlets, datagrams by the model of the network."""

from __future__ import annotations

import asyncio
import random
import typing as t
from collections import deque

import greenlet

from nat_failover.runtime.base import Receiver
from nat_failover.wire.icmp import ECHO_REPLY

from .loop import ProcessLoop

if t.TYPE_CHECKING:
    from ..host import Host
    from .process import Process

EPOCH = 1_800_000_000.0  # time of day at the beginning of an incident
HELPER = 0.1  # seconds until the root helper answers


class VirtualRuntime:
    """Fits ``nat_failover.runtime.base.Runtime``."""

    def __init__(self, process: Process, loop: ProcessLoop, rng: random.Random) -> None:
        self.random = rng
        self._process, self._loop, self.host = process, loop, process.host

    def now(self) -> float:
        return self._loop.time()

    def wall_time(self) -> float:
        return EPOCH + self._loop.time()

    @staticmethod
    def sleep(seconds: float) -> t.Awaitable[None]:
        return asyncio.sleep(seconds)

    def later(self, seconds: float, callback: t.Callable[..., None], *arguments: t.Any) -> asyncio.Handle:
        if seconds > 0:
            return self._loop.call_later(seconds, callback, *arguments)
        return self._loop.call_soon(callback, *arguments)

    @staticmethod
    async def within(seconds: float, work: t.Awaitable[t.Any]) -> t.Any:
        return await asyncio.wait_for(work, seconds)

    def open_netlink(self, protocol: int, groups: int, receiver: Receiver) -> None:
        """No kernel reports anything here."""

    async def connect_unix(self, path: str) -> t.Any:
        """The root helper's socket is there where connections are synchronised, and no other one."""
        if self.host.conntrackd is None or path != self.host.config.repair_socket:
            raise FileNotFoundError(path)
        return VirtualHelper(self.host)

    @staticmethod
    async def resolve(host: str) -> str:
        return host

    def pool(self, name: str, workers: int) -> VirtualPool:
        return VirtualPool(self._loop, workers)

    def open_udp(self, bind: str, port: int, receiver: Receiver) -> VirtualUdp:
        self._process.udp = VirtualUdp(self._process, receiver)
        return self._process.udp

    def open_icmp(self, bind: str, receiver: Receiver) -> VirtualIcmp:
        return VirtualIcmp(self._process, receiver)


class VirtualPool:
    """Fits ``Pool``: a blocking call is a greenlet, which waits in ``block`` while virtual time goes on."""

    def __init__(self, loop: ProcessLoop, workers: int) -> None:
        self._loop, self._free = loop, workers
        self._queue: deque[t.Callable[[], None]] = deque()
        self._closed = False

    def run(self, function: t.Callable[..., t.Any], *arguments: t.Any) -> asyncio.Future[t.Any]:
        answer = self._loop.create_future()

        def work() -> None:
            try:
                result, error = function(*arguments), None
            except Exception as problem:  # handed to the caller of the future
                result, error = None, problem
            self._loop.call_soon(self._ended, answer, result, error)

        self._queue.append(work)
        self._start()
        return answer

    def _start(self) -> None:
        while self._free and self._queue and not self._closed:
            self._free -= 1
            # In the next round of the loop: a thread does not run before its creator goes on either.
            self._loop.call_soon(greenlet.greenlet(self._queue.popleft()).switch)

    def _ended(self, answer: asyncio.Future[t.Any], result: t.Any, error: Exception | None) -> None:
        self._free += 1
        if not answer.done():
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)
        self._start()

    def close(self) -> None:
        self._closed = True
        self._queue.clear()


def block(start: t.Callable[[t.Callable[[t.Any], None]], None]) -> t.Any:
    """Wait, in a blocking call, for what ``start`` hands to its argument some time later."""
    here = greenlet.getcurrent()
    waiter = here.parent
    assert waiter is not None, "only a pool's calls may block"
    start(here.switch)
    return waiter.switch()


class VirtualHelper:
    """Fits ``Lines``: the root helper, which is a process that starts for each question."""

    ended = False

    def __init__(self, host: Host) -> None:
        self._host = host

    async def ask(self, line: bytes) -> bytes:
        await asyncio.sleep(HELPER)
        assert self._host.conntrackd is not None
        return self._host.conntrackd.answer(self._host, line.decode("ascii")).encode()

    def close(self) -> None:
        """Nothing is open."""


class VirtualUdp:
    """Fits ``Datagrams``."""

    raw = False

    def __init__(self, process: Process, receiver: Receiver) -> None:
        self._process, self._receiver = process, receiver
        self._open = True
        self._admitted: t.Collection[str] | None = ()

    def admit(self, addresses: t.Collection[str] | None) -> None:
        self._admitted = addresses

    def send(self, data: bytes, address: str, port: int) -> None:
        if self._open:
            self._process.network.datagram(self._process.name, self._process.name_of(address), data)

    def close(self) -> None:
        self._open = False

    def arrive(self, data: bytes, address: str) -> None:
        """One datagram that the kernel of this host has received, in the process that waits for it."""
        if self._open and (self._admitted is None or address in self._admitted):
            self._receiver.take(data, address)
            self._receiver.read()


class VirtualIcmp:
    """Fits ``Datagrams``: the peer's kernel answers, whatever its service does."""

    raw = False

    def admit(self, addresses: t.Collection[str] | None) -> None:
        raise OSError("only the heartbeats' socket is filtered")

    def __init__(self, process: Process, receiver: Receiver) -> None:
        self._process, self._receiver = process, receiver
        self._open = True

    def send(self, data: bytes, address: str, port: int) -> None:
        if self._open:
            reply = bytes([ECHO_REPLY]) + data[1:]
            self._process.network.ping(
                self._process.name,
                self._process.name_of(address),
                lambda: self._process.deliver(self._take, reply, address),
            )

    def _take(self, reply: bytes, address: str) -> None:
        if self._open:
            self._receiver.take(reply, address)
            self._receiver.read()

    def close(self) -> None:
        self._open = False
