# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GET /healthz: what load balancers and ``proxy-health status`` learn about the proxy of this node.

A part of ``proxy_health``, which says what the answer is.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
import typing as t

ANSWER_S = 2.0  # seconds that either side of a connection may take
MOST_CLIENTS, REQUEST_LIMIT = 32, 4096


class Answer(t.NamedTuple):
    """The answer of /healthz."""

    code: int
    state: str
    reason: str


class Server:
    """GET /healthz for the load balancer; a slow client costs a thread for two seconds at most."""

    def __init__(self, port: int, state: t.Callable[[], Answer], sources: t.Sequence[str]) -> None:
        self.state = state
        self.sources = [ipaddress.ip_network(each) for each in (*sources, "127.0.0.0/8")]
        self.room = threading.BoundedSemaphore(MOST_CLIENTS)
        self.listener = _listen(port)

    def forever(self) -> None:
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                time.sleep(0.1)  # no descriptors left; others close theirs
                continue
            if not self._welcome(peer[0]) or not self.room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _welcome(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address.version == each.version and address in each for each in self.sources)

    def _serve(self, connection: socket.socket) -> None:
        try:
            end = time.monotonic() + ANSWER_S
            with connection:
                line = status_line(connection, end)
                connection.settimeout(ANSWER_S)
                connection.sendall(response(line, self.state()))
        except OSError:
            pass  # the client's affair
        finally:
            self.room.release()


def response(request_line: str, found: Answer) -> bytes:
    """The whole HTTP response to the first line of a request."""
    words = request_line.split()
    known = len(words) == 3 and words[0] in ("GET", "HEAD") and words[1] == "/healthz"
    code = found.code if known else 404
    body = (
        json.dumps({"state": found.state, "reason": found.reason}) + "\n"
        if known
        else "only GET /healthz is known here\n"
    )
    name = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[code]
    kind = "application/json" if known else "text/plain"
    head = "\r\n".join(
        (
            f"HTTP/1.1 {code} {name}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body.encode())}",
            "Connection: close",
            "\r\n",
        )
    )
    return (head + ("" if words[:1] == ["HEAD"] else body)).encode()


def _listen(port: int) -> socket.socket:
    """Both families on one socket where there is IPv6."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    except (OSError, ValueError):
        return socket.create_server(("0.0.0.0", port), backlog=64)


def status_line(connection: socket.socket, end: float) -> str:
    """The first line that the other side sends before ``end`` (monotonic seconds)."""
    received = b""
    while b"\n" not in received and len(received) < REQUEST_LIMIT:
        connection.settimeout(max(0.01, end - time.monotonic()))
        part = connection.recv(512)
        if not part:
            break
        received += part
    return received.partition(b"\n")[0].decode("ascii", "replace").strip()
