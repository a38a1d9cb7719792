# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of a drill: asks the internet steadily, and shows to the millisecond when it does not answer.

``python3 drill_client.py start FOLDER SECONDS INTERVAL_MS TARGET...`` begins in the background.
``python3 drill_client.py report FOLDER`` ends it and prints one JSON object. A run that nobody ends
stops after SECONDS and removes FOLDER. A target is ``dns://1.1.1.1:53``, ``udp://HOST:PORT`` (an
echo server), ``tcp://HOST:PORT`` or ``http://HOST/PATH``. Standard library only, no rights needed.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from urllib.parse import urlsplit

PORTS = {"dns": 53, "udp": 7, "tcp": 443, "http": 80}
SLOWEST = {"dns": 0.005, "udp": 0.005, "tcp": 0.05, "http": 0.2}  # seconds: no protocol is asked more often
PATIENCE = 1.0  # seconds in which a request must be answered
LEAST_GAP = 0.03  # seconds: shorter times without an answer are the machine's, not the network's
ADDRESS = re.compile(rb"\r\n\r\n\s*([0-9a-fA-F.:]{3,45})\s*$")


class Target:
    """One address that is asked again and again. All times are monotonic seconds."""

    def __init__(self, url, interval):
        parts = urlsplit(url)
        self.url, self.kind = url, parts.scheme
        if self.kind not in PORTS or not parts.hostname:
            raise SystemExit(f"{url}: no target; write dns://, udp://, tcp:// or http:// and a host")
        self.interval = max(interval, SLOWEST[self.kind])
        port = parts.port or PORTS[self.kind]
        kind = socket.SOCK_DGRAM if self.kind in ("dns", "udp") else socket.SOCK_STREAM
        # Asked once: a name server is not what is measured
        found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, kind)
        self.family, _type, _protocol, _name, self.address = found[0]
        host, path = parts.netloc, parts.path or "/"
        self.request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii")
        self.sent, self.answered, self.seen = {}, {}, []
        self.number, self.due, self.pending = 0, 0.0, {}
        self.socket = None
        if kind == socket.SOCK_DGRAM:
            self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
            self.socket.setblocking(False)

    def ask(self, now):
        """Send the next request, if it is time."""
        if now < self.due:
            return
        self.number += 1
        self.sent[self.number] = now
        self.due = max(self.due + self.interval, now)
        try:
            if self.socket is not None:
                self.socket.sendto(self._datagram(), self.address)
                return
            sock = socket.socket(self.family, socket.SOCK_STREAM)
            sock.setblocking(False)
            self.pending[sock] = [self.number, now, b"", False]
            sock.connect_ex(self.address)
        except OSError:
            pass  # no route, or refused: this one is lost

    def _datagram(self):
        if self.kind == "udp":
            return struct.pack("!Q", self.number)
        # A question for the name servers of the root, under the number of the request
        return struct.pack("!HHHHHH", self.number & 0xFFFF, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!HH", 2, 1)

    def sockets(self):
        """(to read, to write)."""
        if self.socket is not None:
            return [self.socket], []
        return [s for s, state in self.pending.items() if state[3]], [
            s for s, state in self.pending.items() if not state[3]
        ]

    def take_datagrams(self):
        """Read all answers that are there."""
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an earlier packet
            now = time.monotonic()
            if self.kind == "udp" and len(data) == 8:
                self._answer(struct.unpack("!Q", data)[0], now)
            elif self.kind == "dns" and len(data) >= 12:
                low = struct.unpack("!H", data[:2])[0]
                self._answer(self.number - ((self.number - low) & 0xFFFF), now)

    def _answer(self, number, now):
        if number in self.sent and now - self.sent[number] <= PATIENCE:
            self.answered.setdefault(number, now)

    def connected(self, sock):
        """A connection has come about, or has failed."""
        state = self.pending[sock]
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self._close(sock)
        elif self.kind == "tcp":
            self._answer(state[0], time.monotonic())
            self._close(sock)
        else:
            try:
                sock.send(self.request)
                state[3] = True
            except OSError:
                self._close(sock)

    def read(self, sock):
        """A part of an answer by HTTP."""
        state, now = self.pending[sock], time.monotonic()
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        state[2] += data
        if re.match(rb"HTTP/1\.[01] [23]", state[2]):
            self._answer(state[0], now)
        found = ADDRESS.search(state[2])
        if found and not data:
            address = found.group(1).decode("ascii")
            if not self.seen or self.seen[-1][1] != address:
                self.seen.append([state[1], address])
        if not data or len(state[2]) > 65536:
            self._close(sock)

    def give_up(self, now):
        """Close the connections that take too long."""
        for sock in [sock for sock, state in self.pending.items() if now - state[1] > PATIENCE]:
            self._close(sock)

    def _close(self, sock):
        self.pending.pop(sock, None)
        sock.close()

    def result(self, began, ended, wall):
        """What was seen, in types that JSON has; times in seconds since 1970. ``wall``: to add to a monotonic time."""
        times = sorted(self.answered.values())
        least = max(LEAST_GAP, 3 * self.interval)
        gaps, since = [], began
        for until in [*times, ended]:
            if until - since >= least:
                gaps.append([since, until - since])
            since = until
        late = ended - PATIENCE
        judged = {number: at for number, at in self.sent.items() if at < late}
        seconds = {}
        for number, at in judged.items():
            row = seconds.setdefault(int(at - began), [0, 0, 0.0])
            row[0] += 1
            if number in self.answered:
                row[1] += 1
                row[2] = max(row[2], (self.answered[number] - at) * 1000)
        return {
            "target": self.url,
            "kind": self.kind,
            "interval_s": self.interval,
            "began": round(began + wall, 4),
            "ended": round(ended + wall, 4),
            "sent": len(judged),
            "answered": sum(1 for number in judged if number in self.answered),
            "lost": [round(at + wall, 4) for number, at in judged.items() if number not in self.answered],
            "gaps": [[round(begin + wall, 4), round(length, 4)] for begin, length in gaps],
            "seconds": [[second, row[0], row[1], round(row[2], 1)] for second, row in sorted(seconds.items())],
            "addresses": [[round(at + wall, 4), address] for at, address in self.seen],
        }


def run(folder, seconds, interval, urls):
    """Measure until the file ``stop`` is there, then leave ``result.json``."""
    targets = [Target(url, interval) for url in urls]
    began, wall = time.monotonic(), time.time() - time.monotonic()
    stop, looked = os.path.join(folder, "stop"), 0.0
    ended = None
    while ended is None or time.monotonic() < ended + PATIENCE:
        now = time.monotonic()
        if now - began > seconds:
            shutil.rmtree(folder, ignore_errors=True)
            return
        if ended is None and now - looked > 0.2:
            looked = now
            ended = now if os.path.exists(stop) or not os.path.isdir(folder) else None
        for target in targets:
            if ended is None:
                target.ask(now)
            target.give_up(now)
        _wait(targets, now)
    result = {"targets": [target.result(began, ended, wall) for target in targets]}
    part = os.path.join(folder, "result.part")
    with open(part, "w", encoding="ascii") as out:
        json.dump(result, out)
    os.replace(part, os.path.join(folder, "result.json"))


def _wait(targets, now):
    """Take what comes until the next request is due."""
    reads, writes = {}, {}
    for target in targets:
        readable, writable = target.sockets()
        reads.update(dict.fromkeys(readable, target))
        writes.update(dict.fromkeys(writable, target))
    due = min(target.due for target in targets)
    ready, open_, _failed = select.select(list(reads), list(writes), [], max(0.0, min(due - now, 0.02)))
    for sock in ready:
        reads[sock].take_datagrams() if reads[sock].socket is sock else reads[sock].read(sock)
    for sock in open_:
        writes[sock].connected(sock)


def start(folder, words):
    """Begin in the background, after the targets were read once."""
    for url in words[2:]:
        Target(url, 1.0)
    nowhere = subprocess.DEVNULL
    argv = [sys.executable, os.path.abspath(__file__), "run", folder, *words]
    subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)


def report(folder):
    """End the measurement and print its result."""
    path = os.path.join(folder, "result.json")
    with open(os.path.join(folder, "stop"), "w", encoding="ascii"):
        pass
    end = time.monotonic() + PATIENCE + 10
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise SystemExit(f"{path}: no result; the client does not run any more")
        time.sleep(0.05)
    with open(path, encoding="ascii") as result:
        sys.stdout.write(result.read() + "\n")


def main(argv):
    """``start``, ``run`` (used by start) or ``report``."""
    verb, folder, words = argv[0], argv[1], argv[2:]
    if verb == "start":
        start(folder, words)
    elif verb == "run":
        run(folder, float(words[0]), float(words[1]) / 1000, words[2:])
    elif verb == "report":
        report(folder)
    else:
        raise SystemExit(f"unknown word {verb!r}; write start or report")


if __name__ == "__main__":
    main(sys.argv[1:])
