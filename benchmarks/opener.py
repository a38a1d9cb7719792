# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a client of the lab: opens TCP connections at a rate, each of which the server ends. ``opener.py SECONDS RATE ADDRESS PORT``.

Prints how many came to their end, how many did not, and in how many seconds.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

THREADS = 8
PATIENCE_S = 2.0


class Worker(threading.Thread):
    """Its share of the rate, one connection after the other."""

    def __init__(self, end: float, every_s: float, target: tuple[str, int]) -> None:
        super().__init__()
        self.done = self.failed = 0
        self._end, self._every_s, self._target = end, every_s, target

    def run(self) -> None:
        due = time.monotonic()
        while due < self._end and time.monotonic() < self._end:
            try:
                with socket.create_connection(self._target, PATIENCE_S) as sock:
                    while sock.recv(256):
                        pass
                self.done += 1
            except OSError:
                self.failed += 1
            due += self._every_s
            time.sleep(max(0.0, due - time.monotonic()))


def main(seconds: float, rate: float, address: str, port: int) -> None:
    """Until the time is over."""
    began = time.monotonic()
    workers = [Worker(began + seconds, THREADS / rate, (address, port)) for _number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts = {"done": sum(each.done for each in workers), "failed": sum(each.failed for each in workers)}
    print(json.dumps({**counts, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
