# SPDX-License-Identifier: GPL-3.0-or-later
"""One health check of a target by HTTP or TCP."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.api.health_checks import probe
from lab.api.target_health import Check


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(3.0 if self.path == "/slow" else 0.0)
        self.send_response(503 if self.path == "/drained" else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()


@pytest.mark.parametrize(
    ("check", "passes"),
    [
        (Check("TCP"), True),
        (Check("HTTP", path="/healthz", codes="200"), True),
        (Check("HTTP", path="/drained"), False),
        (Check("HTTP", path="/drained", codes="200,500-599"), True),
        (Check("HTTP", path="/slow", timeout_s=0.5), False),
    ],
)
def test_a_health_check_takes_what_the_matcher_names_within_the_timeout(port: int, check: Check, passes: bool) -> None:
    assert probe("127.0.0.1", port, check) is passes


def test_a_health_check_of_a_closed_port_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    assert not probe("127.0.0.1", closed, Check("TCP", timeout_s=1))
