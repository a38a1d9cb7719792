# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo (RFC 792): a sign of life of another machine's kernel.

Pure: no sockets, no clocks. IPv4 only.

The sockets come from the runtime: a ping socket, or a raw one with CAP_NET_RAW.
"""

from __future__ import annotations

import os
import struct
import typing as t

ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
ECHO_REQUEST, ECHO_REPLY = 8, 0
# Random bytes in each request: a reply can neither be guessed nor belong to the ping of another
# process
TOKEN = 16
PENDING = 512  # requests remembered per Echo
ANSWER_WITHIN = 5.0  # seconds: a later reply is no evidence of life now


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Echo:
    """Requests that wait for a reply.

    ``random_bytes(n)`` must be unpredictable to other hosts. Times: monotonic seconds.
    """

    def __init__(
        self, raw: bool, identifier: int | None = None, random_bytes: t.Callable[[int], bytes] = os.urandom
    ) -> None:
        # A raw socket delivers the IP header too and keeps this identifier. The kernel sets that of
        # a ping socket.
        self._raw = raw
        self._random_bytes = random_bytes
        self.identifier = struct.unpack("!H", random_bytes(2))[0] if identifier is None else identifier
        self._seq = 0
        # Seq -> token, name, address, sent at
        self._pending: dict[int, tuple[bytes, str, str, float]] = {}

    def request(self, name: str, address: str, now: float) -> bytes:
        """The echo request for the peer or target ``name`` at the IPv4 ``address``."""
        self._seq = (self._seq + 1) & 0xFFFF
        token = self._random_bytes(TOKEN)
        self._pending.pop(self._seq, None)
        self._pending[self._seq] = (token, name, address, now)
        if len(self._pending) > PENDING:
            del self._pending[next(iter(self._pending))]
        packet = ECHO.pack(ECHO_REQUEST, 0, 0, self.identifier, self._seq) + token
        return ECHO.pack(ECHO_REQUEST, 0, checksum(packet), self.identifier, self._seq) + token

    def reply(self, data: bytes, address: str, now: float) -> tuple[str, str]:
        """Judge a received packet.

        Returns (name, "") if it answers a recent request of this process.

        Else ("", counter): ``icmp_malformed``, ``icmp_not_mine``, ``icmp_late``, or "" for the ping
        of another process.
        """
        if self._raw:
            data = data[(data[0] & 0x0F) * 4 :] if data else b""
        if len(data) < ECHO.size:
            return "", "icmp_malformed"
        kind, _code, _sum, identifier, seq = ECHO.unpack_from(data)
        if kind != ECHO_REPLY or (self._raw and identifier != self.identifier):
            return "", ""  # the ping of another process
        token, name, asked, at = self._pending.get(seq, (b"", "", "", 0.0))
        if not token or data[ECHO.size :] != token or asked != address:
            return "", "icmp_not_mine"
        del self._pending[seq]
        return ("", "icmp_late") if now - at > ANSWER_WITHIN else (name, "")
