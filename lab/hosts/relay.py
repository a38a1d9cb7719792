# SPDX-License-Identifier: GPL-3.0-or-later
"""ssh's ProxyCommand: standard input and output as a TCP connection. Run as a file inside a namespace, with the standard library only."""

from __future__ import annotations

import os
import select
import socket
import sys

STDIN, STDOUT, SIZE = 0, 1, 65536


def main(host: str, port: int) -> None:
    """Copy both ways until the server closes."""
    connection = socket.create_connection((host, port), 10)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    watched: list[socket.socket | int] = [connection, STDIN]
    while True:
        ready, _writable, _failed = select.select(watched, [], [])
        if connection in ready:
            data = connection.recv(SIZE)
            if not data:
                return
            while data:
                data = data[os.write(STDOUT, data) :]
        if STDIN in ready:
            data = os.read(STDIN, SIZE)
            if data:
                connection.sendall(data)
            else:
                connection.shutdown(socket.SHUT_WR)
                watched.remove(STDIN)


if __name__ == "__main__":
    _file, name, address, port = sys.argv
    try:
        main(address, int(port))
    except OSError as error:
        sys.exit(f"{name} ({address}) port {port}: {error}")
