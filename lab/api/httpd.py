# SPDX-License-Identifier: GPL-3.0-or-later
"""A small threaded HTTP/1.1 server for one WSGI app on sockets that someone else has bound.

Werkzeug's own server closes the connection after each answer; clients that keep a connection warm would never be tested.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LINE_MAX = 65536
HEADERS_MAX = 200


class DropConnection(Exception):
    """Raised by an app: close the connection without an answer."""


class HttpServer:
    """Serves ``app``; one thread per connection, kept alive until the peer or ``stop`` closes it."""

    def __init__(self, app: WsgiApp, name: str = "lab-http") -> None:
        self._app = app
        self._name = name
        self._guard = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._stopped = False

    def serve(self, listener: socket.socket) -> None:
        """Accept on an already bound and listening socket, in the background. The server owns it from now on."""
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener,), name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Close every listener and every connection."""
        with self._guard:
            self._stopped = True
            open_sockets = [*self._listeners, *self._connections]
        for sock in open_sockets:
            _close(sock)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                if not self._stopped:
                    log.exception("%s: no longer accepting", self._name)
                return
            with self._guard:
                if self._stopped:
                    _close(connection)
                    return
                self._connections.add(connection)
            threading.Thread(target=self._converse, args=(connection, peer), name=self._name, daemon=True).start()

    def _converse(self, connection: socket.socket, peer: Any) -> None:
        try:
            # Small answers must not wait for the peer's delayed acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = connection.getsockname()
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream, peer, server):
                    pass
        except (DropConnection, OSError, ValueError):
            pass  # dropped on purpose, gone, or not HTTP: closing is the answer
        finally:
            _close(connection)
            with self._guard:
                self._connections.discard(connection)

    def _exchange(self, connection: socket.socket, stream: io.BufferedReader, peer: Any, server: Any) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        line = stream.readline(LINE_MAX)
        if not line.strip():
            return False
        method, target, version = line.decode("latin-1").split()
        headers = _headers(stream)
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "transfer-encoding" in headers:
            connection.sendall(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        body = stream.read(int(headers.get("content-length") or 0))
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        status, answer_headers, answer = self._call(_environ(method, target, version, headers, body, peer, server))
        head = [
            f"HTTP/1.1 {status}",
            f"Content-Length: {len(answer)}",
            f"Connection: {'keep-alive' if keep else 'close'}",
        ]
        head += [
            f"{name}: {value}" for name, value in answer_headers if name.lower() not in ("content-length", "connection")
        ]
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else answer))
        return keep

    def _call(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        try:
            return call_wsgi(self._app, environ)
        except DropConnection:
            raise
        except Exception:
            log.exception("%s: %s %s", self._name, environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return (
                "500 Internal Server Error",
                [("Content-Type", "text/plain")],
                b"internal error of the lab; see its log\n",
            )


def call_wsgi(app: WsgiApp, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call a WSGI app and collect its whole answer."""
    started: list[Any] = []
    result = app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    try:
        body = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    return status, headers, body


def status_line(status: int) -> str:
    """``404`` -> ``404 Not Found``."""
    return f"{status} {http.client.responses.get(status, 'Unknown')}"


def _headers(stream: io.BufferedReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _header in range(HEADERS_MAX):
        line = stream.readline(LINE_MAX).decode("latin-1").rstrip("\r\n")
        if not line:
            return headers
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("too many headers")


def _environ(
    method: str, target: str, version: str, headers: dict[str, str], body: bytes, peer: Any, server: Any
) -> dict[str, Any]:
    path, _mark, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "SERVER_PROTOCOL": version,
        "REMOTE_ADDR": str(peer[0]) if peer else "",
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        if name not in ("content-type", "content-length"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _close(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that is blocked on this socket
    except OSError:
        pass
    sock.close()
