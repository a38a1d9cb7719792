# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the lab's internet, in a process of their own so that nothing else delays their answers.

Standard library only, run as a file inside the namespace. Ends when its standard input closes, that is with its parent.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

ECHO, DNS, HTTP, HTTPS = 7, 53, 80, 443


class UdpEcho(asyncio.DatagramProtocol):
    """Sends back what it gets."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Resolver(UdpEcho):
    """Answers every DNS question with "no such name" (RFC 1035)."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) >= 12 and not data[2] & 0x80:
            self.transport.sendto(data[:2] + bytes((data[2] | 0x80, 3)) + data[4:], addr)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """TCP echo."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request per connection; the answer is the caller's address."""
    try:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        body = writer.get_extra_info("peername")[0].encode() + b"\n"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def main(web: str, certificate: str, addresses: list[str]) -> None:
    """The first address of each family gets every service, all of them port 443 and a resolver. ``web`` has HTTP and HTTPS."""
    loop = asyncio.get_running_loop()
    for first in {":" in address: address for address in reversed(addresses)}.values():
        await loop.create_datagram_endpoint(UdpEcho, local_addr=(first, ECHO))
        await asyncio.start_server(echo, first, ECHO, backlog=1024)
        await asyncio.start_server(http, first, HTTP, backlog=1024)
    for address in addresses:
        await asyncio.start_server(echo, address, HTTPS, backlog=1024)
        await loop.create_datagram_endpoint(Resolver, local_addr=(address, DNS))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await asyncio.start_server(http, web, HTTP, backlog=1024)
    await asyncio.start_server(http, web, HTTPS, backlog=1024, ssl=context)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
