# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificates, as strict clients take them."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

from lab import authority


def test_a_client_that_verifies_strictly_by_rfc_5280_trusts_the_web_server(tmp_path: Path) -> None:
    """Python does so by default from 3.13 on (ssl.create_default_context)."""
    web = authority.make(tmp_path, ["web.example", "*.web.example"])
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(web)
    trusting = ssl.create_default_context(cafile=str(tmp_path / authority.CA))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with serving.wrap_socket(theirs, server_side=True) as server:
            server.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with trusting.wrap_socket(ours, server_hostname="web.example") as client:
        assert client.recv(5) == b"hello"
    thread.join()
