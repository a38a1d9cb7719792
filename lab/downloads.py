# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of one or several proxies (comma between): a request every so often, HTTP and HTTPS by turns.

``Downloads`` starts this file as a process of its own on a host of the lab. Each line of its output is JSON: when the request began and
ended (monotonic), its scheme, the status or 0, and the page or the error. The process needs the standard library only.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PORT = "3128"
INTERVAL_S, LIMIT_S = 0.1, 1.0


class Download(NamedTuple):
    """A line of the output."""

    begun: float
    ended: float
    scheme: str
    status: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether the page came."""
        return self.status == 200


def command(
    proxies: str, authority: str, *names: str, interval_s: float = INTERVAL_S, limit_s: float = LIMIT_S
) -> list[str]:
    """The command of a client that loads pages of these servers. ``authority``: the file of the certificate that all of theirs hang on."""
    return [sys.executable, str(Path(__file__)), proxies, PORT, authority, str(interval_s), str(limit_s), *names]


def outage_ms(seen: Sequence[Download], since: float) -> float | None:
    """Milliseconds from a fault to the first of the answers that no failure follows; 0 without a failure, None without such an answer."""
    after = [each for each in seen if each.ended > since]
    failed = [each.begun for each in after if not each.ok]
    back = [each.ended for each in after if each.ok and each.begun > max(failed, default=since)]
    if not back:
        return None
    return (min(back) - since) * 1000 if failed else 0.0


class Downloads:
    """A running client. ``spawn`` starts a command on the client's host (``Host.popen``)."""

    def __init__(self, spawn: Callable[..., Any], folder: Path, proxies: str, authority: str, name: str) -> None:
        self._file = folder / f"downloads-{time.monotonic_ns()}"
        with self._file.open("wb") as out:
            self._process = spawn(command(proxies, authority, name), stdin=subprocess.PIPE, stdout=out)

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    def seen(self) -> list[Download]:
        """The requests so far that have ended, in the order in which they began."""
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        return sorted(Download(*json.loads(line)) for line in lines if line.endswith("\n"))

    def wait_for_answer(self, limit_s: float, since: float) -> float:
        """Wait until a request that was begun since then is answered; returns when it was. ``TimeoutError`` if none is."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            times = [each.ended for each in self.seen() if each.ok and each.begun >= since]
            if times:
                return min(times)
            time.sleep(0.02)
        raise TimeoutError(f"no download for {limit_s} s")

    def stop(self) -> None:
        """End the client; requests on their way are waited for."""
        if self._process.poll() is None:
            try:
                self._process.stdin.close()
                self._process.wait(timeout=8 * LIMIT_S)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()


def connected(names: list[str], port: int, limit_s: float) -> socket.socket:
    """A connection to the first proxy of a list that takes one, at any address that its name has now."""
    for number, name in enumerate(names, 1):
        try:
            places = [str(each[4][0]) for each in socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)]
            return socket.create_connection((random.choice(places), port), limit_s)
        except OSError:
            if number == len(names):
                raise
    raise OSError("no proxy is named")


def request(
    names: list[str], port: int, scheme: str, url: str, context: ssl.SSLContext, limit_s: float
) -> tuple[int, str]:
    """One request through a proxy."""
    host = url.partition("/")[0]
    try:
        connection = connected(names, port, limit_s)
        with connection:
            if scheme == "https":
                connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
                answer = http.client.HTTPResponse(connection, method="CONNECT")
                answer.begin()
                if answer.status != 200:
                    return answer.status, "no tunnel"
                connection = context.wrap_socket(connection, server_hostname=host)
            target = f"http://{url}" if scheme == "http" else "/"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.read().decode("latin-1").strip()[:80]
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"


def main(name: str, port: int, authority: str, interval_s: float, limit_s: float, urls: list[str]) -> None:
    """Go on until the standard input closes."""
    context = ssl.create_default_context(cafile=authority)
    lock, ended = threading.Lock(), threading.Event()

    def until_told() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_told, daemon=True).start()

    def one(scheme: str, url: str) -> None:
        begun = time.monotonic()
        status, text = request(name.split(","), port, scheme, url, context, limit_s)
        with lock:
            print(json.dumps([begun, time.monotonic(), scheme, status, text]), flush=True)

    number, due, pending = 0, time.monotonic(), list[threading.Thread]()
    while not ended.wait(max(0.0, due - time.monotonic())):
        scheme, url = ("http", "https")[number % 2], urls[number // 2 % len(urls)]
        pending.append(threading.Thread(target=one, args=(scheme, url), daemon=True))
        pending[-1].start()
        number, due = number + 1, due + interval_s
    end = time.monotonic() + 4 * limit_s
    for thread in pending:
        thread.join(max(0.0, end - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5]), sys.argv[6:])
