# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web process: the live page, the status, metrics and health by path, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import signal
import typing as t

from ..errors import NatFailoverError
from ..model.text import plain
from . import exposition, health, metrics, page
from .exposition import COUNTER, Family
from .server import HttpServer, Page
from .settings import WebSettings
from .snapshot import StatusReader

LOG = logging.getLogger("nat-failover")
JSON = "application/json"
REASONS = (
    *("answered", "not_allowed", "too_many", "rate", "slow", "oversized"),
    *("malformed", "host", "method", "gone", "failed"),
)


class Web:
    """The pages of one node. Reads the status, changes nothing."""

    def __init__(self, settings: WebSettings, socket: str, cluster: str, node: str) -> None:
        """``socket``: the service's socket for readers. ``cluster``, ``node``: labels of all metrics."""
        self.server = HttpServer(settings, self.page)
        self._reader = StatusReader(socket)
        self._labels = {"cluster": cluster, "node": node}
        self._pages: t.Mapping[str, t.Callable[[], t.Awaitable[Page]]] = {
            "/": self._live,
            "/metrics": self._metrics,
            "/status.json": self._status,
        }

    async def page(self, path: str) -> Page:
        """The answer to a path. Raises nothing."""
        try:
            if path in self._pages:
                return await self._pages[path]()
            if path in health.CHECKS:
                code, text = health.CHECKS[path](await self._reader.read())
                return Page(code, plain(text) + "\n")
        except Exception:  # pylint: disable=broad-except  # a defect must not end the process, and is counted
            LOG.exception("web: unexpected, %s", path)
            self.server.counters["failed"] += 1
            return Page(500, "unexpected; read `journalctl -u nat-failover-web`\n")
        return Page(404, f"served here: {', '.join((*self._pages, *health.CHECKS))}\n")

    async def _live(self) -> Page:
        # As secrets.token_urlsafe does it, which loads 4 MiB of OpenSSL.
        nonce = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        text = page.render(await self._reader.read(), self._labels["node"], nonce)
        return Page(200, text, page.CONTENT_TYPE, page.policy(nonce))

    async def _metrics(self) -> Page:
        made = [*metrics.families(await self._reader.read()), own_family(self.server.counters)]
        return Page(200, exposition.render(made, self._labels), exposition.CONTENT_TYPE)

    async def _status(self) -> Page:
        snapshot = await self._reader.read()
        if snapshot.status is None:
            return Page(503, json.dumps({"level": "unknown", "error": snapshot.problem}) + "\n", JSON)
        return Page(200, json.dumps(snapshot.status) + "\n", JSON)


def own_family(counters: t.Mapping[str, int]) -> Family:
    """The requests to this process by their outcome. ``counters``: those of ``HttpServer``."""
    own = Family("nat_failover_web_requests_total", COUNTER, "HTTP requests to this exporter, by their outcome.")
    for reason in REASONS:
        own.add(counters.get(reason, 0), outcome=reason)
    return own


async def serve(web: Web, settings: WebSettings, ready: t.Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    ``ready`` gets systemd's message once clients are served. Raises ``NatFailoverError`` if the
    address cannot be bound.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        port = await web.server.open()
    except OSError as error:
        raise NatFailoverError(
            f"{settings.listen} port {settings.port} cannot be bound ({error.strerror or error}); is it an address of "
            "this node, and does another program listen there?"
        ) from None
    ready(f"READY=1\nSTATUS=serves metrics on {settings.listen} port {port}")
    try:
        await stopping.wait()
    finally:
        web.server.close()
