# SPDX-License-Identifier: GPL-3.0-or-later
"""One flow of each kind and a new connection every few milliseconds: ``python -m lab.traffic.client ADDRESS INTERVAL_S KIND...``.

A line of its input asks for all that was seen so far, or for the flows alone, and is answered by a line of JSON. Meanwhile no flow goes on:
after a minute an answer with all connections takes as long as the gap of a planned move. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import struct
import sys
import time
from typing import Any, cast

from .. import priority
from .words import ECHO, EVERY_S, FLOWS, ONCE, PORTS, STEP, fits, pattern

GAP_S = 0.008  # shorter times without progress are not written down
GIVE_UP_S = 0.9  # before the kernel sends a second SYN (RFC 6298: after one second)


class Progress:
    """When something last came, and the longer times in which nothing did."""

    def __init__(self) -> None:
        self.count = 0
        self.error = ""
        self.octets = 0
        self.peer = ""  # the address and port that the server sees
        self._last = time.monotonic()
        self._gaps: list[tuple[float, float]] = []

    def came(self) -> None:
        """Something came now."""
        now = time.monotonic()
        if now - self._last > GAP_S:
            self._gaps.append((self._last, now - self._last))
        self._last = now
        self.count += 1

    def seen(self) -> dict[str, Any]:
        """As JSON; the last gap is the one that has not ended."""
        gaps = [*self._gaps, (self._last, time.monotonic() - self._last)]
        return {"count": self.count, "error": self.error, "peer": self.peer, "octets": self.octets, "gaps": gaps}


class Flow(asyncio.Protocol):
    """A TCP connection whose first line is a greeting. ``keepalive_s``: seconds of silence until the kernel sends, 0: never."""

    transport: asyncio.Transport
    keepalive_s = 5

    def __init__(self) -> None:
        self.progress = Progress()
        self._greeting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.keepalive_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                sock.setsockopt(socket.IPPROTO_TCP, option, self.keepalive_s)
        self.send()

    def data_received(self, data: bytes) -> None:
        if not self.progress.peer:
            line, end, data = (self._greeting + data).partition(b"\n")
            self._greeting = line
            self.progress.peer = line.decode() if end else ""
        if data:
            self.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.progress.error = self.progress.error or (type(exc).__name__ if exc else "closed")

    def send(self) -> None:
        """Begin to send. A silent client does not."""

    def take(self, data: bytes) -> None:
        """Take data that came after the greeting."""
        self.progress.came()

    def fail(self, error: str) -> None:
        """It cannot go on."""
        self.progress.error = error
        self.transport.abort()

    def again(self) -> None:
        """``send`` once more, in a while."""
        if not self.transport.is_closing():
            asyncio.get_running_loop().call_later(EVERY_S, self.send)


class Echo(Flow):
    """Numbers there and back."""

    number = 0
    rest = b""
    expected = 0

    def send(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(struct.pack("!Q", self.number))
            self.number += 1
        self.again()

    def take(self, data: bytes) -> None:
        self.rest += data
        while len(self.rest) >= 8:
            (number,) = struct.unpack_from("!Q", self.rest)
            self.rest = self.rest[8:]
            if number != self.expected:
                self.fail(f"number {number} came in place of {self.expected}")
                return
            self.expected += 1
            self.progress.came()


class Push(Echo):
    """The same, from a server that sends unasked to a client that never does."""

    keepalive_s = 0

    def send(self) -> None:
        """Never."""


class Down(Flow):
    """A download. The client sends nothing of its own: a TCP keepalive after five seconds of silence is all (socket(7))."""

    position = 0

    def take(self, data: bytes) -> None:
        if not fits(self.position, data):
            self.fail(f"wrong data in a download at {self.position}")
            return
        self.progress.octets = self.position = self.position + len(data)
        self.progress.came()


class Pull(Down):
    """A download whose client says how much it has, as one of HTTP/2 does (RFC 9113, WINDOW_UPDATE)."""

    def take(self, data: bytes) -> None:
        super().take(data)
        if not self.transport.is_closing():
            self.transport.write(struct.pack("!Q", self.position))


class Up(Flow):
    """An upload, as fast as the server says that it came."""

    position = 0
    held = False

    rest = b""

    def take(self, data: bytes) -> None:
        self.rest += data
        whole = len(self.rest) // 8 * 8
        if whole:
            (self.progress.octets,) = struct.unpack_from("!Q", self.rest, whole - 8)
            self.rest = self.rest[whole:]
            self.progress.came()

    def pause_writing(self) -> None:
        self.held = True

    def resume_writing(self) -> None:
        self.held = False

    def send(self) -> None:
        if not self.held and not self.transport.is_closing():
            self.transport.write(pattern(self.position, STEP))
            self.position += STEP
        self.again()


KINDS = {"echo": Echo, "push": Push, "down": Down, "pull": Pull, "up": Up}


class Udp(asyncio.DatagramProtocol):
    """Numbers there and back, and under which addresses."""

    def __init__(self) -> None:
        self.progress, self.sent, self.addresses = Progress(), 0, list[tuple[float, str]]()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(struct.pack("!Q", self.sent))
            self.sent += 1
            asyncio.get_running_loop().call_later(EVERY_S, self._send)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.progress.came()
        address = data[8:].decode()
        if not self.addresses or self.addresses[-1][1] != address:
            self.addresses.append((time.monotonic(), address))

    def seen(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.progress.seen(), "sent": self.sent, "addresses": self.addresses}


class Icmp:
    """Echo requests with a socket of the kernel's own (icmp(7)), which is one flow."""

    def __init__(self, address: str) -> None:
        self.progress, self.sent = Progress(), 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.connect((address, 0))
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._take)
        self._send()

    def _send(self) -> None:
        self.sent += 1
        head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, self.sent & 0xFFFF)
        total = sum(struct.unpack("!4H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head = head[:2] + struct.pack("!H", ~total & 0xFFFF) + head[4:]
        with contextlib.suppress(OSError):
            self._socket.send(head)
        asyncio.get_running_loop().call_later(EVERY_S, self._send)

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            packet = self._socket.recv(2048)
            if packet[20] == 0 and packet[24:26] == struct.pack("!H", os.getpid() & 0xFFFF):
                self.progress.came()

    def seen(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.progress.seen(), "sent": self.sent}


class Fresh:
    """A new connection every so often: when it began, when the server's word came, and the address in that."""

    def __init__(self, address: str, interval_s: float) -> None:
        self._address = address
        self.opened: list[list[Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._every = interval_s

    async def run(self) -> None:
        """Never ends."""
        due = time.monotonic()
        while True:
            task = asyncio.ensure_future(self._one())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due = max(due + self._every, time.monotonic() - self._every)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _one(self) -> None:
        row: list[Any] = [time.monotonic(), None, ""]
        self.opened.append(row)
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(GIVE_UP_S):
                await loop.sock_connect(sock, (self._address, ONCE))
                line = await loop.sock_recv(sock, 64)
            row[1:] = [time.monotonic(), line.decode().strip()]
        except (OSError, TimeoutError) as error:
            row[2] = type(error).__name__
        finally:
            sock.close()


async def main(address: str, interval: str, kinds: list[str]) -> None:
    """Until the standard input ends."""
    priority.take(priority.MEASURING)
    gc.disable()  # a collection takes as long as a gap
    loop = asyncio.get_running_loop()
    flows: dict[str, Any] = {}
    for kind in kinds:
        if kind in KINDS:
            _transport, flows[kind] = await loop.create_connection(KINDS[kind], address, PORTS[kind])
        elif kind == "udp":
            _datagrams, flows[kind] = await loop.create_datagram_endpoint(Udp, remote_addr=(address, ECHO))
        else:
            flows[kind] = Icmp(address)
    fresh = Fresh(address, float(interval)) if float(interval) else None
    opening = asyncio.ensure_future(fresh.run()) if fresh else None
    while question := await loop.run_in_executor(None, sys.stdin.readline):
        opened = fresh.opened if fresh and question.strip() != FLOWS else []
        seen = {name: each.progress.seen() if name in KINDS else each.seen() for name, each in flows.items()}
        print(json.dumps({"flows": seen, "fresh": opened}), flush=True)
    if opening:
        opening.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
