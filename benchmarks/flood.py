# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a client of the lab: as many datagrams as this core can send. ``flood.py SECONDS udp|icmp SOURCE|- TARGET...``

Prints how many were sent, in how many seconds. ``icmp``: every second packet is an echo reply that nobody asked for.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time

PORT = 4710
BATCH = 64


def echo_reply(size: int) -> bytes:
    """An ICMP echo reply with a correct checksum (RFC 792, RFC 1071)."""
    body = struct.pack("!HH", random.getrandbits(16), random.getrandbits(16)) + os.urandom(size)
    words = struct.unpack(f"!{len(body) // 2}H", body)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", 0, 0, ~total & 0xFFFF) + body


def main() -> None:
    """Send until the time is over."""
    seconds, kind, source, targets = float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if source != "-":
        udp.bind((source, PORT))
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) if kind == "icmp" else None
    # Right in all that costs nothing to guess: the signature of each has to be computed.
    heartbeats = [b"NATF\x01b" + os.urandom(200) for _number in range(BATCH)]
    replies = [echo_reply(64) for _number in range(BATCH)]
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for target in targets:
            for heartbeat, reply in zip(heartbeats, replies, strict=True):
                try:
                    udp.sendto(heartbeat, (target, PORT))
                    if icmp is not None:
                        icmp.sendto(reply, (target, 0))
                        sent += 1
                    sent += 1
                except OSError:
                    time.sleep(0.0001)  # ENOBUFS: the queue of the interface is full
    print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}))


main()
