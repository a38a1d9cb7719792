# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the lab's router: sends frames to a node's interface, as many as the node forwards, and counts those that come back.

The job is JSON on stdin, the result JSON on stdout. At most ``WINDOW`` frames are on their way, so no queue
overflows: heartbeats pass, and no frame is lost that a slower sender would have brought through.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

UDP, TCP, NEW = "UDP", "TCP", "new"
CLIENT, SERVER = "10.0.10.200", "198.18.0.1"  # RFC 2544 gives 198.18.0.0/15 to benchmarks
CLIENTS = 200  # addresses from 10.0.20.1 on: a new connection each in turn
SYN, ACK = 0x02, 0x10
FIRST_PORT, SERVICE = 10000, 443
WINDOW, BATCH = 256, 64  # the kernel's queue has room for 1000 (netdev_max_backlog)
STALL_S, LOOK_S = 0.05, 2.0
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(protocol: int, source: str, target: str, body: bytes) -> bytes:
    """An IPv4 packet."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0x4000, 64, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """A packet that makes the smallest frame, 64 bytes on a wire. Checksum 0: none (RFC 768)."""
    body = struct.pack("!HHHH", source[1], target[1], 26, 0) + b"\0" * 18
    return packet(socket.IPPROTO_UDP, source[0], target[0], body)


def tcp(source: tuple[str, int], target: tuple[str, int], flags: int, numbers: tuple[int, int] = (0, 0)) -> bytes:
    """A segment without data. ``numbers``: sequence and acknowledgement."""
    body = struct.pack("!HHIIBBHHH", source[1], target[1], *numbers, 0x50, flags, 0xFFFF, 0, 0)
    ends = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    sum_ = checksum(ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(body)) + body)
    return packet(socket.IPPROTO_TCP, source[0], target[0], body[:16] + struct.pack("!H", sum_) + body[18:])


def frames(kind: str, count: int, answered: str, number: int = 0) -> tuple[list[bytes], list[bytes]]:
    """The packets that open the flows, and those that are measured: of each flow one outward and one answer.

    ``answered``: the address that answers go to. ``number``: new connections of another number are others.
    """
    server = (SERVER, SERVICE)
    opening: list[bytes] = []
    measured: list[bytes] = []
    for flow in range(count):
        if kind == NEW:
            flow += number * count
            client = (f"10.0.20.{1 + flow % CLIENTS}", FIRST_PORT + flow // CLIENTS % 50000)
            measured.append(tcp(client, (f"198.19.{flow % 256}.1", SERVICE), SYN))
            continue
        client, seen = (CLIENT, FIRST_PORT + flow), (answered, FIRST_PORT + flow)
        if kind == UDP:
            opening += [udp(client, server), udp(server, seen)]
            measured += [udp(client, server), udp(server, seen)]
        else:
            opening += [tcp(client, server, SYN, (0, 0)), tcp(server, seen, SYN | ACK, (0, 1))]
            opening.append(tcp(client, server, ACK, (1, 1)))
            measured += [tcp(client, server, ACK, (1, 1)), tcp(server, seen, ACK, (1, 1))]
    return opening, measured


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct mmsghdr of sendmmsg(2)."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    ]


class Batches:
    """Frames in memory as sendmmsg(2) takes them, in batches of ``BATCH``; the few of a short list come again and again."""

    def __init__(self, head: bytes, packets: Sequence[bytes], once: bool = False) -> None:
        whole = [head + each for each in packets]
        if not once:
            whole = whole * -(-BATCH // len(whole))
        self._memory = ctypes.create_string_buffer(b"".join(whole))
        self._vectors = (_Vector * len(whole))()
        self._messages = (_Message * len(whole))()
        at, size = ctypes.addressof(self._memory), ctypes.sizeof(_Vector)
        for number, frame in enumerate(whole):
            self._vectors[number].base, self._vectors[number].length = at, len(frame)
            self._messages[number].vector = ctypes.addressof(self._vectors) + number * size
            self._messages[number].vectors = 1
            at += len(frame)
        self.count = len(whole)

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """(where in memory, how many) of each batch, once through all."""
        size = ctypes.sizeof(_Message)
        for first in range(0, self.count, BATCH):
            yield ctypes.c_void_p(ctypes.addressof(self._messages) + first * size), min(BATCH, self.count - first)


class Line:
    """The router's end of a node's link."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((device, 0))  # protocol 0: nothing is received
        self._counter = os.open(f"/sys/class/net/{device}/statistics/rx_packets", os.O_RDONLY)
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg

    def returned(self) -> int:
        """Packets that have come from the node."""
        return int(os.pread(self._counter, 32, 0))

    def send(self, where: Any, count: int) -> int:
        """How many of these were sent."""
        sent: int = self._send(self._socket.fileno(), where, count, 0)
        return max(0, sent)

    def pump(self, batches: Batches, seconds: float | None, returns: bool = True) -> dict[str, Any]:
        """Send for so long (None: each frame once): how many were sent and came back, and the CPU time of that in ns.

        Without ``returns`` nothing is expected to come back.
        """
        spent = time.thread_time_ns()
        base, sent, lost = self.returned(), 0, 0
        began = moved = time.monotonic()
        back = 0
        over = False
        while not over:
            for where, count in batches:
                while returns:
                    now, found = time.monotonic(), self.returned() - base
                    if found != back:
                        back, moved = found, now
                    if sent - lost - back <= WINDOW - BATCH:
                        break
                    if now - moved > STALL_S:
                        lost, moved = sent - back, now
                sent += self.send(where, count)
                if seconds is not None and time.monotonic() - began >= seconds:
                    over = True
                    break
            over = over or seconds is None
        spent = time.thread_time_ns() - spent
        while returns and back < sent and time.monotonic() - moved < STALL_S:
            found = self.returned() - base
            if found != back:
                back, moved = found, time.monotonic()
        # Heartbeats and the like come back as well: a few in a second.
        return {"sent": sent, "returned": min(back, sent) if returns else sent, "cpu_ns": spent}


def look(device: str, frame: bytes, target: str) -> str:
    """Send one frame until a packet for ``target`` comes back; its source address. Raises ``TimeoutError``."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.bind((device, ETH_P_ALL))
        wire.settimeout(0.2)
        end = time.monotonic() + LOOK_S
        while time.monotonic() < end:
            wire.send(frame)
            try:
                while True:
                    found, address = wire.recvfrom(2048)
                    incoming = address[1] == ETH_P_IP and address[2] == socket.PACKET_HOST
                    if incoming and found[30:34] == socket.inet_aton(target):
                        return socket.inet_ntoa(found[26:30])
            except TimeoutError:
                continue
    raise TimeoutError(f"no packet for {target} has come back by {device}")


def main() -> None:
    """Do the job."""
    job = json.load(sys.stdin)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.setpriority(os.PRIO_PROCESS, 0, -20)  # the machine may have other work
    head = bytes.fromhex(job["target_mac"] + job["source_mac"]) + struct.pack("!H", ETH_P_IP)
    opening, measured = frames(job["kind"], job["count"], job["answered"], job["number"])
    told: dict[str, Any] = {}
    if opening and job["returns"]:
        told["seen"] = [
            look(job["device"], head + opening[0], SERVER),
            look(job["device"], head + opening[1], CLIENT),
        ]
    line = Line(job["device"])
    if opening:
        line.pump(Batches(head, opening, once=True), None, job["returns"])
    once = job["kind"] == NEW
    told.update(line.pump(Batches(head, measured, once=once), None if once else job["seconds"], job["returns"]))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
