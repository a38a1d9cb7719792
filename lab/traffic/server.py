# SPDX-License-Identifier: GPL-3.0-or-later
"""The far end, a process of its own on the lab's internet server: ``python -m lab.traffic.server ADDRESS``.

A connection of every kind begins with a line from here: the address and port that it comes from. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import struct
import sys
from typing import Any, cast

from .. import priority
from .words import DOWN, ECHO, EVERY_S, ONCE, PULL, PUSH, STEP, UP, fits, pattern

BACKLOG = 4096


class Greeting(asyncio.Protocol):
    """Tells the caller its address, and nothing more."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        address, port = transport.get_extra_info("peername")[:2]
        self.transport.write(f"{address}:{port}\n".encode())
        self.begin()

    def begin(self) -> None:
        """The greeting is out."""
        self.transport.close()


class Echo(Greeting):
    """Sends back what it gets."""

    def begin(self) -> None:
        """Wait for data."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Push(Greeting):
    """Sends a number every so often, to a client that may be silent for good."""

    number = 0

    def begin(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(struct.pack("!Q", self.number))
            self.number += 1
            asyncio.get_running_loop().call_later(EVERY_S, self.begin)


class Down(Greeting):
    """Sends the pattern at an even pace, as far as the client follows."""

    position = 0
    held = False

    def begin(self) -> None:
        if self.transport.is_closing():
            return
        if not self.held:
            self.transport.write(pattern(self.position, STEP))
            self.position += STEP
        asyncio.get_running_loop().call_later(EVERY_S, self.begin)

    def pause_writing(self) -> None:
        self.held = True

    def resume_writing(self) -> None:
        self.held = False


class Up(Greeting):
    """Takes the pattern, and says how much of it came; a stream that does not fit is reset."""

    position = 0

    def begin(self) -> None:
        """Wait for data."""

    def data_received(self, data: bytes) -> None:
        if not fits(self.position, data):
            self.transport.abort()
            return
        self.position += len(data)
        self.transport.write(struct.pack("!Q", self.position))


class Datagrams(asyncio.DatagramProtocol):
    """Answers with what came, and the address that it came from."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data[:8] + addr[0].encode(), addr)


KINDS = {ECHO: Echo, PUSH: Push, DOWN: Down, PULL: Down, UP: Up, ONCE: Greeting}


async def main(address: str) -> None:
    """Serve until the standard input ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    priority.take(priority.MEASURING)
    gc.disable()  # a collection takes as long as a gap
    loop = asyncio.get_running_loop()
    for port, kind in KINDS.items():
        await loop.create_server(kind, address, port, backlog=BACKLOG)
    await loop.create_datagram_endpoint(Datagrams, local_addr=(address, ECHO))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
