# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo (RFC 792): is the other machine's kernel alive? Needs a ping socket or CAP_NET_RAW; IPv4 only (this file is the place)."""

from __future__ import annotations

import os
import socket
import struct
import typing as t

ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
ECHO_REQUEST, ECHO_REPLY = 8, 0
TOKEN = 16  # random bytes in each request, so that a reply can neither be guessed nor be to somebody else's ping
SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h; not in Python's socket module
PENDING = 512  # requests remembered per Echo
ANSWER_WITHIN = 5.0  # seconds: a reply that comes later is no news of now


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def open_socket(bind: str) -> t.Optional[socket.socket]:
    """A ping socket if the kernel lets us (net.ipv4.ping_group_range), else a raw one (CAP_NET_RAW), else None."""
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


class Echo:
    """Pure bookkeeping of requests and replies: what to send, and whose reply a received packet is."""

    def __init__(self, raw: bool, identifier: t.Optional[int] = None) -> None:
        self._raw = raw  # a raw socket delivers the IP header too, and keeps our identifier; a ping socket sets its own
        self.identifier = struct.unpack("!H", os.urandom(2))[0] if identifier is None else identifier
        self._seq = 0
        self._pending: t.Dict[int, t.Tuple[bytes, str, str, float]] = {}  # seq -> token, name, address, sent at

    def request(self, name: str, address: str, now: float) -> bytes:
        """The packet that asks ``name`` at ``address``."""
        self._seq = (self._seq + 1) & 0xFFFF
        token = os.urandom(TOKEN)
        self._pending.pop(self._seq, None)
        self._pending[self._seq] = (token, name, address, now)
        if len(self._pending) > PENDING:
            del self._pending[next(iter(self._pending))]
        packet = ECHO.pack(ECHO_REQUEST, 0, 0, self.identifier, self._seq) + token
        return ECHO.pack(ECHO_REQUEST, 0, checksum(packet), self.identifier, self._seq) + token

    def reply(self, data: bytes, address: str, now: float) -> t.Tuple[str, str]:
        """(name, "") if this answers a recent request of mine, from the address asked; else ("", counter to move or "")."""
        if self._raw:
            data = data[(data[0] & 0x0F) * 4 :] if data else b""
        if len(data) < ECHO.size:
            return "", "icmp_malformed"
        kind, _code, _sum, identifier, seq = ECHO.unpack_from(data)
        if kind != ECHO_REPLY or self._raw and identifier != self.identifier:
            return "", ""  # somebody else's ping
        token, name, asked, at = self._pending.get(seq, (b"", "", "", 0.0))
        if not token or data[ECHO.size :] != token or asked != address:
            return "", "icmp_not_mine"
        del self._pending[seq]
        return ("", "icmp_late") if now - at > ANSWER_WITHIN else (name, "")
