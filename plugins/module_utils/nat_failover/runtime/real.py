# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime that ships: the event loop's timers, threads, and sockets of the kernel."""

from __future__ import annotations

import array
import asyncio
import random
import socket
import struct
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from . import source_filter
from .base import Lines, Receiver, Timer

LONGEST = 65535  # bytes of a datagram (RFC 768)
LONGEST_LINE = 4096  # bytes of an answer on a unix socket
AT_ONCE = 1024  # datagrams read per wake-up: more than the kernel queues by default, yet a flood cannot stop the loop
SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h; not in Python's socket module
ECHO_REPLY = 0  # RFC 792
SO_ATTACH_FILTER = 26  # asm-generic/socket.h; not in Python's socket module
T = t.TypeVar("T")


class AsyncioRuntime:
    """Fits ``runtime.base.Runtime``.

    Timers, pools and sockets belong to the loop that runs when they are made.
    """

    def __init__(self) -> None:
        self.random = random.Random()

    @staticmethod
    def now() -> float:
        return time.monotonic()

    @staticmethod
    def wall_time() -> float:
        return time.time()

    @staticmethod
    def sleep(seconds: float) -> t.Awaitable[None]:
        return asyncio.sleep(seconds)

    @staticmethod
    def later(seconds: float, callback: t.Callable[..., None], *arguments: t.Any) -> Timer:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, callback, *arguments) if seconds > 0 else loop.call_soon(callback, *arguments)

    @staticmethod
    async def within(seconds: float, work: t.Awaitable[T]) -> T:
        return await asyncio.wait_for(work, seconds)

    @staticmethod
    def pool(name: str, workers: int) -> ThreadPool:
        return ThreadPool(name, workers)

    @staticmethod
    def open_udp(bind: str, port: int, receiver: Receiver) -> Sockets:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setblocking(False)
        try:
            udp.bind((bind, port))
        except OSError:
            udp.close()
            raise
        return Sockets(udp, receiver)

    @staticmethod
    def open_icmp(bind: str, receiver: Receiver) -> Sockets | None:
        icmp = open_icmp_socket(bind)
        return None if icmp is None else Sockets(icmp, receiver)

    @staticmethod
    def open_netlink(protocol: int, groups: int, receiver: Receiver) -> Sockets | None:
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except (OSError, AttributeError):  # AttributeError: this system is not Linux
            return None
        try:
            sock.setblocking(False)
            sock.bind((0, groups))
        except OSError:
            sock.close()
            return None
        return Sockets(sock, receiver)

    @staticmethod
    async def connect_unix(path: str) -> Lines:
        return UnixLines(*await asyncio.open_unix_connection(path, limit=LONGEST_LINE))

    @staticmethod
    async def resolve(host: str) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
        return str(found[0][4][0])


class ThreadPool:
    """Fits ``runtime.base.Pool``."""

    def __init__(self, name: str, workers: int) -> None:
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)

    def run(self, function: t.Callable[..., T], *arguments: t.Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*arguments))

    def close(self) -> None:
        self._threads.shutdown(wait=False)


class Sockets:
    """Fits ``runtime.base.Datagrams``: each wake-up empties the socket, so that no datagram waits
    behind a decision.
    """

    def __init__(self, sock: socket.socket, receiver: Receiver) -> None:
        self._sock: socket.socket | None = sock
        self._receiver = receiver
        self.raw = sock.type == socket.SOCK_RAW
        asyncio.get_running_loop().add_reader(sock, self._drain)

    def send(self, data: bytes, address: str, port: int) -> None:
        if self._sock is not None:
            self._sock.sendto(data, (address, port))

    def admit(self, addresses: t.Collection[str] | None) -> None:
        if self._sock is not None:
            attach_filter(self._sock, source_filter.program(addresses))

    def close(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _drain(self) -> None:
        for _datagram in range(AT_ONCE):
            if self._sock is None:
                return  # a datagram led to its end
            try:
                data, (address, _port) = self._sock.recvfrom(LONGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._receiver.failed(error)
                continue
            self._receiver.take(data, address)
        self._receiver.read()


class UnixLines:
    """Fits ``runtime.base.Lines``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def ended(self) -> bool:
        return self._reader.at_eof()

    async def ask(self, line: bytes) -> bytes:
        self._writer.write(line + b"\n")
        await self._writer.drain()
        return (await self._reader.readline()).rstrip(b"\r\n")

    def close(self) -> None:
        self._writer.close()


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Attach a classic BPF program to a socket, in the place of the one before (socket(7)).

    It needs no privilege. Raises ``OSError`` if the kernel refuses it.
    """
    buffer = array.array("B", program)  # not ctypes, which costs memory
    address, _length = buffer.buffer_info()
    # struct sock_fprog: the number of instructions, and where they are (linux/filter.h).
    instructions = len(program) // source_filter.INSTRUCTION.size
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", instructions, address))


def open_icmp_socket(bind: str) -> socket.socket | None:
    """A ping socket where net.ipv4.ping_group_range allows one, else a raw one (CAP_NET_RAW), else
    None.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except OSError:
            continue
        try:
            sock.setblocking(False)
            sock.bind((bind, 0))
            if kind == socket.SOCK_RAW:  # replies only: a raw socket gets a copy of every ICMP packet of the host
                sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF))
        except OSError:
            sock.close()
            continue
        return sock
    return None
