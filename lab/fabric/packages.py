# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's archive in the lab's internet: a server that fetches from this machine's own archive, so that a role installs packages as on EC2.

apt checks signatures in the lab too. Packages never change under their names, nor do lists under their checksums: they are kept in the
lab's cache.
"""

from __future__ import annotations

import http.server
import logging
import os
import shutil
import socket
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from ..archive import Mirror, mirror
from .names import CACHE

log = logging.getLogger(__name__)

PREFIX, POOL, BY_HASH = "/debian/", "pool/", "/by-hash/"
LIMIT_S = 60
MAIN = "deb [signed-by={keyring}] http://deb.debian.org/debian {suite} main\n"
KEYRING = "etc/apt/keyrings/lab"


def sources(root: Path, suite: str) -> None:
    """Let a machine use the archive: the line, and the key ring of this machine's archive."""
    key = Path(mirror().keyring)
    target = (root / KEYRING).with_suffix(key.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(key, target)
    text = MAIN.format(keyring=f"/{target.relative_to(root)}", suite=suite)
    (root / "etc/apt/sources.list").write_text(text, encoding="ascii")


class Archive:
    """The server. It asks the machine's archive when a host of the lab asks it, and not before."""

    def __init__(self, listener: socket.socket) -> None:
        self._server = _Server(listener)
        self._thread = threading.Thread(target=self._server.serve_forever, name="lab-packages", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.source: Mirror = mirror()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.removeprefix(PREFIX)
        if path == self.path or ".." in path:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            data = self._kept(path) if path.startswith(POOL) or BY_HASH in path else self._fetch(path)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        except OSError as error:
            log.warning("the machine's archive does not answer for %s: %s", path, error)
            self.send_error(HTTPStatus.BAD_GATEWAY)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: each package would be a line."""

    def _fetch(self, path: str) -> bytes:
        source = self.server.source
        proxies = {source.url.partition(":")[0]: source.proxy} if source.proxy else {}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        with opener.open(f"{source.url.rstrip('/')}/{path}", timeout=LIMIT_S) as answer:
            data: bytes = answer.read()
            return data

    def _kept(self, path: str) -> bytes:
        kept = CACHE / path
        if kept.is_file():
            return kept.read_bytes()
        data = self._fetch(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f".{kept.name}-{os.getpid()}-{threading.get_ident()}")
        draft.write_bytes(data)
        draft.rename(kept)
        return data
