# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that does not speak the protocol of its client."""

from __future__ import annotations

import contextlib
import socket
import threading


@contextlib.contextmanager
def says(words):
    """Its port. It takes one connection, reads once, says some bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            connection, _peer = server.accept()
            connection.recv(1000)
            connection.sendall(words)
            connection.close()

        thread = threading.Thread(target=speak)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
