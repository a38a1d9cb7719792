# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is not the proxy, in one process: an internet, a VPC, instance metadata, and a name server that lies.

Each connection that arrives is written to stdout with the address it came to, so that a test knows what was reached, whatever the proxy says of it.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import sys
import threading

PUBLIC, PUBLIC6 = "198.51.100.20", "2001:db8:ffff::20"
METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
HOST, HOST6 = "10.77.5.5", "2001:db8:0:100::5"
ROUTER, PROXY, ROUTER6, PROXY6 = "10.77.0.1", "10.77.0.2", "2001:db8:0:100::1", "2001:db8:0:100::2"
CLIENT, STRANGER = "10.77.0.9", "203.0.113.9"
ADDRESSES = (PUBLIC, PUBLIC6, METADATA, METADATA6, HOST, HOST6, CLIENT, STRANGER)
PORTS = (22, 25, 80, 443, 8080)
# Names and their addresses; each question about an alternating one gets the next.
NAMES = {
    "meta": [METADATA],
    "meta6": [METADATA6],
    "vpc": [HOST],
    "vpc6": [HOST6],
    "mapped": ["::ffff:169.254.169.254"],
    "nat64": ["64:ff9b::a9fe:a9fe"],
    "loop": ["127.0.0.1"],
    "self": [PROXY],
    "six": [PUBLIC6],
    "both": [HOST, PUBLIC],
    "both2": [PUBLIC, HOST],
}
turns: dict[str, itertools.cycle[str]] = {}


def answers(name: str) -> list[str]:
    """The addresses of a name. ``rebind…`` changes with each question; what is not known is on the internet."""
    first = name.split(".")[0]
    if first.startswith("rebind"):
        return [next(turns.setdefault(first, itertools.cycle([PUBLIC, METADATA])))]
    return NAMES.get(first, [PUBLIC])


def reply(question: bytes) -> bytes:
    """RFC 1035, as little as is needed: one question, A or AAAA, time to live 0."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace"))
        at += question[at] + 1
    kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
    family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
    found = [each for each in answers(".".join(labels).lower()) if (":" in each) == (kind == 28)] if family else []
    records = b""
    for each in found:
        packed = socket.inet_pton(family, each)
        records += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
    return question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0) + question[12 : at + 5] + records


def names() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ROUTER, 53))
        while True:
            question, peer = server.recvfrom(512)
            server.sendto(reply(question), peer)


def web(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128) as server:
        while True:
            connection, peer = server.accept()
            here = connection.getsockname()[0].removeprefix("::ffff:")
            print(json.dumps([here, port, peer[0].removeprefix("::ffff:")]), flush=True)
            threading.Thread(target=page, args=(connection, here), daemon=True).start()


def page(connection: socket.socket, here: str) -> None:
    body = f"this is {here}\n".encode()
    with connection:
        connection.settimeout(5)
        try:
            if connection.recv(4096):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                )
        except OSError:
            pass


if __name__ == "__main__":
    for port in PORTS:
        threading.Thread(target=web, args=(port,), daemon=True).start()
    print("ready", flush=True)
    names()
    sys.exit(1)
