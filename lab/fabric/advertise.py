# SPDX-License-Identifier: GPL-3.0-or-later
"""Router advertisements (RFC 4861) on the links of the VPC's router: when a host asks, and every few seconds.

Standard library only, run as a file inside the namespace. Ends when its standard input closes, that is with its parent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys

SOLICITATION, ADVERTISEMENT = 133, 134
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
EVERY_S = 2.0
LIFETIME_S = 1800
MANAGED = 0x80  # addresses come by DHCPv6
ICMP6_FILTER = 1  # linux/icmpv6.h


def advertisement() -> bytes:
    """No prefix: in a VPC a host reaches everything through the router. The kernel fills in the checksum."""
    return struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, MANAGED, LIFETIME_S, 0, 0)


def main(devices: list[str]) -> None:
    """Advertise on these devices."""
    indices = [socket.if_nametoindex(device) for device in devices]
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    blocked = bytearray(b"\xff" * 32)
    blocked[SOLICITATION // 8] &= 0xFF ^ (1 << SOLICITATION % 8)
    sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("@8I", *struct.unpack("<8I", blocked)))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    for index in indices:
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    sock.setblocking(False)
    print("ready", flush=True)
    while True:
        for index in indices:
            send(sock, index)
        if not answer(sock):
            return


def answer(sock: socket.socket) -> bool:
    """Answer solicitations until the next round; False when the parent is gone."""
    while True:
        ready, _writable, _failed = select.select([sock, sys.stdin], [], [], EVERY_S)
        if sys.stdin in ready:
            return False
        if not ready:
            return True
        _data, sender = sock.recvfrom(1500)
        send(sock, sender[3])


def send(sock: socket.socket, index: int) -> None:
    """One advertisement. A link that is just going away is no reason to end."""
    with contextlib.suppress(OSError):
        sock.sendto(advertisement(), (ALL_NODES, 0, 0, index))


if __name__ == "__main__":
    main(sys.argv[1:])
