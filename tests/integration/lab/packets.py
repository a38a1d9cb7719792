# SPDX-License-Identifier: GPL-3.0-or-later
"""Single packets of a lab's hosts: sockets in their namespaces, and ICMP errors as they come."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab.fabric import netns
from lab.fabric.names import INTERNET
from lab.testing import RunningLab

ECHO = 7  # of the internet's server
PORT = 5353  # of tests' own server on the internet
UNREACHABLE = 3  # RFC 792


@contextmanager
def udp(
    lab: RunningLab, host: str, address: str = "", port: int = 0, to: tuple[str, int] | None = None
) -> Iterator[Any]:
    """A UDP socket on a host, or on the ``internet``."""
    namespace = lab.names.namespace(host)

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(2)
        made.bind((address, port))
        if to is not None:
            made.connect(to)
        return made

    sock = netns.inside(namespace, make)
    try:
        yield sock
    finally:
        sock.close()


@contextmanager
def icmp(lab: RunningLab, host: str) -> Iterator[Any]:
    """Whole ICMP packets as a host gets them."""
    sock = netns.inside(
        lab.names.namespace(host), lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    )
    sock.settimeout(2)
    try:
        yield sock
    finally:
        sock.close()


def total(data: bytes) -> int:
    """The Internet checksum (RFC 1071) over data that has its own in it: 0 when that is right."""
    words = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2])) + (data[-1] << 8) * (len(data) % 2)
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return ~words & 0xFFFF


def told(sock: Any) -> tuple[str, str, str]:
    """The sender of the next unreachable, and source and destination of the packet in it. All its checksums are right."""
    while True:
        packet = sock.recv(65536)
        error = packet[(packet[0] & 15) * 4 :]
        if error[0] == UNREACHABLE:
            break
    inner = error[8:]
    assert (total(error), total(inner[: (inner[0] & 15) * 4])) == (0, 0)
    sender, source, destination = packet[12:16], inner[12:16], inner[16:20]
    return socket.inet_ntoa(sender), socket.inet_ntoa(source), socket.inet_ntoa(destination)


def seen(server: Any, sock: Any) -> str:
    """The address that a datagram comes from, when the answer to it comes back; "" without one."""
    sock.send(b"1")
    try:
        _data, caller = server.recvfrom(9)
    except TimeoutError:
        return ""
    server.sendto(b"2", caller)
    assert sock.recv(9) == b"2"
    return str(caller[0])


def connection(lab: RunningLab) -> Any:
    """A connection of a client behind nat-a to the internet's echo."""
    made = netns.inside(lab.names.namespace("client-a"), lambda: socket.create_connection((INTERNET, ECHO), 2))
    made.settimeout(1)
    return made


def echoes(sock: Any) -> bool:
    """Whether the echo still answers."""
    sock.sendall(b"ping")
    return received(sock) == b"ping"


def received(sock: Any) -> bytes:
    """The next packet's data; nothing if none comes."""
    try:
        return bytes(sock.recv(9))
    except TimeoutError:
        return b""
