# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server with narrow bounds: a client can slow down or exhaust nothing but itself.

One request per connection. Every bound has a counter.
"""

from __future__ import annotations

import asyncio
import time
import typing as t
from collections import Counter
from dataclasses import dataclass

from . import request as http
from .request import Refused
from .settings import WebSettings

MOST_CLIENTS = 16  # connections at the same time
REQUEST_WITHIN = 2.0  # seconds in which a client must send its request
ANSWER_WITHIN = 5.0  # seconds in which a client must have read its answer
MOST_A_SECOND = 20  # requests of one client address
TEXT = "text/plain; charset=utf-8"
NOTHING = "default-src 'none'"  # what a browser may load for an answer
PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class Page:
    """An answer."""

    code: int
    text: str
    content_type: str = TEXT
    policy: str = NOTHING


class HttpServer:
    """Serves pages. ``counters``: answered requests by ``answered``, refused ones by their reason."""

    def __init__(self, settings: WebSettings, page: t.Callable[[str], t.Awaitable[Page]]) -> None:
        """``page``: the answer to a path."""
        self.counters: t.Counter[str] = Counter()
        self._settings = settings
        self._page = page
        self._server: asyncio.AbstractServer | None = None
        self._clients = 0  # served now
        self._second, self._seen = 0, Counter[str]()  # requests by client in this second

    async def open(self) -> int:
        """Serve from now on. Returns the port. Raises ``OSError`` if the address cannot be bound."""
        settings = self._settings
        self._server = await asyncio.start_server(self._serve, settings.listen, settings.port, limit=http.LONGEST)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Serve no new client."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client. Raises nothing but a cancellation."""
        client = str((writer.get_extra_info("peername") or ("",))[0])
        self._clients += 1
        try:
            answer = await self._answer(reader, client)
            writer.write(answer)
            await asyncio.wait_for(writer.drain(), ANSWER_WITHIN)
        except asyncio.TimeoutError:  # before OSError, of which it is one since Python 3.11
            self.counters["slow"] += 1
            writer.transport.abort()
        except OSError:
            self.counters["gone"] += 1
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, client: str) -> bytes:
        """The bytes for a client: a page, or a refusal."""
        try:
            self._admit(client)
            asked = http.parse(await _head(reader), self._settings.names)
        except Refused as refusal:
            self.counters[refusal.reason] += 1
            return _bytes(Page(refusal.code, f"{refusal}\n"))
        page = await self._page(asked.path)
        self.counters["answered"] += 1
        return _bytes(page, head_only=asked.method == "HEAD")

    def _admit(self, client: str) -> None:
        """Raises ``Refused`` for a client that may not read, or that reads too much."""
        if not self._settings.allows(client):
            raise Refused(403, "not_allowed", "this address may not read; name it in nat_instance_web.allow")
        if self._clients > MOST_CLIENTS:
            raise Refused(503, "too_many", f"{MOST_CLIENTS} clients are being served; try again")
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._seen = second, Counter()
        self._seen[client] += 1
        if self._seen[client] > MOST_A_SECOND:
            raise Refused(429, "rate", f"more than {MOST_A_SECOND} requests a second")


async def _head(reader: asyncio.StreamReader) -> bytes:
    """A request up to its empty line. Raises ``Refused``, and ``OSError`` for a client that has gone."""
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_WITHIN)
    except asyncio.TimeoutError:
        raise Refused(408, "slow", f"no request within {REQUEST_WITHIN:.0f} s") from None
    except asyncio.LimitOverrunError:
        raise Refused(431, "oversized", f"a request has at most {http.LONGEST} bytes") from None
    except asyncio.IncompleteReadError:
        raise Refused(400, "malformed", "the request has no end") from None


def _bytes(page: Page, head_only: bool = False) -> bytes:
    body = page.text.encode()
    lines = [
        f"HTTP/1.1 {page.code} {PHRASES[page.code]}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Content-Security-Policy: {page.policy}",
        "Referrer-Policy: no-referrer",
        "Connection: close",
        *(["Allow: GET, HEAD"] if page.code == 405 else []),
    ]
    return "\r\n".join((*lines, "", "")).encode() + (b"" if head_only else body)
