# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived TCP connections of a client, and what becomes of them: a process of its own in the client's namespace, told line by line.

Standard library only, run as a file there. Needs root, for the sequence numbers and a raw socket.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ECHOED, RESET, SILENT = "echoed", "reset", "silent"
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21  # linux/tcp.h
REPAIR_ON, REPAIR_OFF_QUIETLY = 1, -1
RECEIVED, SENT = 1, 2  # queues
FAR = 500_000_000  # beyond any window


class Flows:
    """``count`` established connections to the echo server. ``spawn`` starts a command in the client's namespace (``Host.popen``)."""

    def __init__(self, spawn: Callable[..., Any], count: int, server: str = "198.51.100.10", port: int = 7) -> None:
        self._process = spawn(
            [sys.executable, __file__, server, str(port), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n", "the connections were not made"

    def __enter__(self) -> Flows:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def send(self, number: int) -> tuple[str, float]:
        """Send on a connection: what came of it, and after how many seconds. Silence is given up after five."""
        word, seconds = self._ask(f"send {number}").split()
        return word, float(seconds)

    def stray(self, number: int) -> None:
        """Send a packet that is of this connection, but far out of its window, as a delayed or damaged one is."""
        assert self._ask(f"stray {number}") == "done"

    def _ask(self, line: str) -> str:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return str(self._process.stdout.readline().strip())


def _send(connection: socket.socket) -> str:
    began = time.monotonic()
    try:
        connection.settimeout(5.0)
        connection.sendall(b"hello")
        word = ECHOED if connection.recv(100) == b"hello" else RESET
    except TimeoutError:
        word = SILENT
    except ConnectionError:
        word = RESET
    return f"{word} {time.monotonic() - began:.3f}"


def _stray(connection: socket.socket) -> str:
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    numbers = {}
    for queue in (RECEIVED, SENT):
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        numbers[queue] = connection.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xFFFFFFFF
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_QUIETLY)
    here, there = connection.getsockname(), connection.getpeername()
    # RFC 9293: ports, sequence number, acknowledgment, header length and flags (ACK), window, checksum, urgent pointer
    fields = [here[1], there[1], (numbers[SENT] + FAR) & 0xFFFFFFFF, numbers[RECEIVED], 5 << 12 | 0x10, 1024, 0, 0]
    pseudo = socket.inet_aton(here[0]) + socket.inet_aton(there[0])
    segment = struct.pack("!HHIIHHHH", *fields) + b"xx"
    total = sum(
        struct.unpack(f"!{int((len(segment) + 12) // 2)}H", pseudo + struct.pack("!HH", 6, len(segment)) + segment)
    )
    total = (total & 0xFFFF) + (total >> 16)
    fields[6] = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(struct.pack("!HHIIHHHH", *fields) + b"xx", (there[0], 0))
    time.sleep(0.3)
    return "done"


def _main(server: str, port: str, count: str) -> None:
    connections = [socket.create_connection((server, int(port)), 5.0) for _each in range(int(count))]
    for connection in connections:
        assert _send(connection).startswith(ECHOED)
    print("ready", flush=True)
    for line in sys.stdin:
        word, number = line.split()
        print((_send if word == "send" else _stray)(connections[int(number)]), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
