# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of one or several proxies (comma between): a request every so often, HTTP and HTTPS by turns.

Standard library only, run as a file on a host of the lab.

Each line of its output is JSON: when the request began and ended (monotonic), its scheme, the status or 0, and the page or the error.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import sys
import threading
import time

LIMIT_S = 1.0


def connected(names: list[str], port: int) -> socket.socket:
    """A connection to the first proxy of a list that takes one, at any address that its name has now."""
    for number, name in enumerate(names, 1):
        try:
            places = [each[4] for each in socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)]
            return socket.create_connection(random.choice(places)[:2], LIMIT_S)
        except OSError:
            if number == len(names):
                raise
    raise OSError("no proxy is named")


def request(names: list[str], port: int, scheme: str, url: str, context: ssl.SSLContext) -> tuple[int, str]:
    """One request through a proxy."""
    host = url.partition("/")[0]
    try:
        connection = connected(names, port)
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


def main(name: str, port: int, authority: str, interval_s: float, urls: list[str]) -> None:
    """Go on until the standard input closes."""
    context = ssl.create_default_context(cafile=authority)
    lock, ended = threading.Lock(), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

    def one(scheme: str, url: str) -> None:
        begun = time.monotonic()
        status, text = request(name.split(","), port, scheme, url, context)
        with lock:
            print(json.dumps([begun, time.monotonic(), scheme, status, text]), flush=True)

    number, due, pending = 0, time.monotonic(), []
    while not ended.wait(max(0.0, due - time.monotonic())):
        scheme, url = ("http", "https")[number % 2], urls[number // 2 % len(urls)]
        pending.append(threading.Thread(target=one, args=(scheme, url), daemon=True))
        pending[-1].start()
        number, due = number + 1, due + interval_s
    end = time.monotonic() + 4 * LIMIT_S
    for thread in pending:
        thread.join(max(0.0, end - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5:])
