# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server that changes a name's address at each question: first a public one, then instance metadata, and so on (DNS rebinding).

Standard library only, run as a file inside the namespace. RFC 1035, as little as is needed: one question, A, time to live 0.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import struct
import sys
from collections.abc import Iterator

A, HEADER = 1, 12


def reply(question: bytes, turns: dict[str, Iterator[str]], addresses: list[str]) -> bytes:
    """The answer to a question. ``turns`` keeps each name's next address; other types than A have no record."""
    end = question.index(0, HEADER) + 5
    kind = struct.unpack(">H", question[end - 4 : end - 2])[0]
    answer = b""
    if kind == A:
        name = question[HEADER : end - 4].decode("latin-1").lower()
        address = next(turns.setdefault(name, itertools.cycle(addresses)))
        answer = struct.pack(">HHHIH", 0xC00C, A, 1, 0, 4) + ipaddress.IPv4Address(address).packed
    return question[:2] + struct.pack(">HHHHH", 0x8580, 1, bool(answer), 0, 0) + question[HEADER:end] + answer


def main(port: int, addresses: list[str]) -> None:
    """Answer on the loopback interface."""
    turns: dict[str, Iterator[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        while True:
            question, peer = server.recvfrom(512)
            try:
                server.sendto(reply(question, turns, addresses), peer)
            except (ValueError, struct.error):
                continue  # no question


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
