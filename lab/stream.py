# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady stream of requests from a client to the internet, which shows to the millisecond when there is no way out.

``Stream`` starts this file as a process of its own in the client's namespace: nothing in the lab's process delays it. All that was sent and
received goes into a file, one line each: ``s <number> <monotonic time>`` and ``r <number> <monotonic time>``. The monotonic clock is one
for the whole machine, so these times compare with those of the call log and of faults. The process needs the standard library only.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

UDP, TCP = "udp", "tcp"
INTERVAL_S = {UDP: 0.005, TCP: 0.05}
PORTS = {UDP: 7, TCP: 443}
TCP_TIMEOUT_S = 1.0
LINGER_S = 0.3
_NUMBER = struct.Struct("!Q")


@dataclass(frozen=True)
class Result:
    """The observations of a stream. Times are monotonic seconds; the number of a request is its key."""

    sent: dict[int, float]
    received: dict[int, float]
    end: float

    @property
    def packets_lost(self) -> int:
        """Requests that got no answer, without those still on their way."""
        return sum(1 for number, at in self.sent.items() if number not in self.received and at < self.end - LINGER_S)

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """(begin, length in seconds) of every time between two answers that follow each other, and after the last one."""
        times = sorted(self.received.values())
        if not times:
            begin = min(self.sent.values(), default=self.end)
            return [(begin, self.end - begin)]
        return [(one, two - one) for one, two in zip(times, [*times[1:], self.end], strict=True)]

    def outage_ms(self, since: float = 0.0, until: float = float("inf")) -> float:
        """The longest time without an answer, among those that reach into the period: one stream interval when nothing happened."""
        lengths = [length for begin, length in self.gaps if begin + length > since and begin < until]
        return max(lengths, default=0.0) * 1000

    def lost(self, since: float = 0.0, until: float = float("inf")) -> int:
        """Requests sent in the period that got no answer."""
        return sum(1 for number, at in self.sent.items() if since <= at < until and number not in self.received)

    @property
    def timeline(self) -> list[tuple[float, float | None]]:
        """(sent, milliseconds until the answer or None) of each request, in order."""
        return [
            (at, (self.received[number] - at) * 1000 if number in self.received else None)
            for number, at in sorted(self.sent.items())
        ]


class Stream:
    """A running stream. ``spawn`` starts a command in the client's namespace (``Host.popen``)."""

    def __init__(
        self,
        spawn: Callable[..., Any],
        folder: Path,
        *,
        kind: str = UDP,
        server: str = "198.51.100.10",
        port: int | None = None,
        interval_s: float | None = None,
    ) -> None:
        self.kind = kind
        self._file = folder / f"stream-{time.monotonic_ns()}"
        arguments = [kind, server, str(port or PORTS[kind]), str(interval_s or INTERVAL_S[kind]), str(self._file)]
        self._file.touch()
        self._process = spawn([sys.executable, str(Path(__file__)), *arguments], stdin=subprocess.PIPE)
        self._result: Result | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    def result(self) -> Result:
        """The observations so far, or all of them once stopped."""
        return self._result or self._read(time.monotonic())

    def wait_for_answer(self, limit_s: float = 5.0, *, since: float | None = None) -> float:
        """Wait until a request that was sent from now on (or ``since``) is answered; returns when it was. ``TimeoutError`` if none is."""
        begin = time.monotonic()
        since = begin if since is None else since
        while time.monotonic() < begin + limit_s:
            seen = self._read(time.monotonic())
            times = [at for number, at in seen.received.items() if seen.sent.get(number, 0.0) >= since]
            if times:
                return min(times)
            time.sleep(0.01)
        raise TimeoutError(f"no answer for {limit_s} s")

    def wait_for_silence(self, quiet_s: float = 0.2, limit_s: float = 5.0) -> None:
        """Wait until nothing has been answered for ``quiet_s``."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            now = time.monotonic()
            seen = self._read(now)
            if seen.sent and now - max([*seen.received.values(), min(seen.sent.values())]) >= quiet_s:
                return
            time.sleep(0.01)
        raise TimeoutError(f"still answered after {limit_s} s")

    def stop(self) -> Result:
        """End the stream; late answers are waited for briefly."""
        if self._result is None:
            end = time.monotonic()
            try:
                self._process.stdin.close()
                self._process.wait(timeout=TCP_TIMEOUT_S + 2)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
            self._result = self._read(end)
            self._file.unlink(missing_ok=True)
        return self._result

    def _read(self, end: float) -> Result:
        sent: dict[int, float] = {}
        received: dict[int, float] = {}
        for line in self._file.read_text(encoding="ascii").splitlines(keepends=True):
            if line.endswith("\n"):
                word, number, at = line.split()
                (sent if word == "s" else received)[int(number)] = float(at)
        return Result(sent, received, max([end, *received.values()]))


def _main(arguments: Sequence[str]) -> None:
    kind, server, port, interval, file = arguments
    try:
        os.nice(-10)  # a measurement should not wait for what it measures
    except OSError:
        pass
    with Path(file).open("a", buffering=1, encoding="ascii") as out:
        (_udp if kind == UDP else _tcp)((server, int(port)), float(interval), out)


def _family(server: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def _udp(server: tuple[str, int], interval_s: float, out: TextIO) -> None:
    sock = socket.socket(_family(server), socket.SOCK_DGRAM)
    sock.setblocking(False)
    number, due, end = 0, time.monotonic(), float("inf")
    while (now := time.monotonic()) < end + LINGER_S:
        if now >= due and end == float("inf"):
            number += 1
            # Written down first: nobody may find an answer to a request that was not sent.
            out.write(f"s {number} {now:.6f}\n")
            try:
                sock.sendto(_NUMBER.pack(number), server)
            except OSError:
                pass  # no route, or refused: this one is lost
            due = max(due + interval_s, now - interval_s)
        watched: list[socket.socket | int] = [sock, 0] if end == float("inf") else [sock]
        ready, _writable, _failed = select.select(watched, [], [], max(0.0, min(due - time.monotonic(), 0.05)))
        if sock in ready:
            _take(sock, out)
        if 0 in ready:
            end, due = time.monotonic(), float("inf")


def _take(sock: socket.socket, out: TextIO) -> None:
    while True:
        try:
            data = sock.recv(64)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error of an earlier packet
        out.write(f"r {_NUMBER.unpack(data)[0]} {time.monotonic():.6f}\n")


def _tcp(server: tuple[str, int], interval_s: float, out: TextIO) -> None:
    """A connection every interval, each given up after a second; they overlap, so a dead way does not slow the rate."""
    number, due = 0, time.monotonic()
    pending: dict[socket.socket, tuple[int, float]] = {}
    while True:
        now = time.monotonic()
        if now >= due:
            number += 1
            out.write(f"s {number} {now:.6f}\n")
            sock = socket.socket(_family(server), socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.connect_ex(server)
            pending[sock] = number, now
            due = max(due + interval_s, now - interval_s)
        wait = max(0.0, min(due - time.monotonic(), 0.05))
        stopped, writable, _failed = select.select([0], list(pending), [], wait)
        for sock in writable:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                out.write(f"r {pending[sock][0]} {time.monotonic():.6f}\n")
            sock.close()
            del pending[sock]
        for sock in [each for each, (_number, begun) in pending.items() if time.monotonic() - begun > TCP_TIMEOUT_S]:
            sock.close()
            del pending[sock]
        if stopped:
            return


if __name__ == "__main__":
    _main(sys.argv[1:])
