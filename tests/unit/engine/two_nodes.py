# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes on the loopback network, with real sockets and a clock that a test sets."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from nat_failover.model.evidence import Report
from nat_failover.runtime import real
from nat_failover.wire.codec import Codec, new_boot_id
from nat_failover.wire.transport import HeartbeatTransport

KEY = b"k" * 32
ADDRESS = {"nat-a": "127.0.0.11", "nat-b": "127.0.0.12"}
ACTIVE = Report("active", True, "", {})
WITHIN = 5.0  # seconds; a slow machine makes these tests slow, not red


class Clock(real.AsyncioRuntime):
    """Real sockets, and a clock that a test sets."""

    def __init__(self):
        super().__init__()
        self.seconds = 100.0

    def now(self):
        return self.seconds


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def node(name, port, clock, key=KEY, cluster="prod", boot=None):
    made = HeartbeatTransport(
        Codec(key, cluster, name),
        clock,
        self_name=name,
        boot_id=boot or new_boot_id(),
        port=port,
        bind=ADDRESS[name],
    )
    made.set_peers(ADDRESS)
    made.set_report(ACTIVE)
    return made


async def until(condition):
    """Let the sockets work until it is so."""
    end = asyncio.get_running_loop().time() + WITHIN
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {WITHIN} s"
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def pair(clock, **of_b):
    port = free_port()
    a, b = node("nat-a", port, clock), node("nat-b", port, clock, **of_b)
    await a.open()
    await b.open()
    try:
        yield a, b
    finally:
        a.close()
        b.close()


async def bind(a, b):
    """Both know each other's boot id."""
    a.probe("nat-b")
    await until(lambda: a.heard()["nat-b"].heartbeat_at and b.heard()["nat-a"].heartbeat_at)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 30))


# --- nothing that is not authentic and fresh counts -------------------------------------------------------------------------------


def beat(a, b, codec=None, boot=None, seq=11, echo=("", 0), to="nat-a"):
    return (codec or b.codec).encode("b", boot or b.boot_id, seq, *echo, ACTIVE, to)


class Sent:
    """A socket that keeps what is sent, or fails."""

    def __init__(self, error=None):
        self.packets, self._error = [], error

    def send(self, data, address, port):
        if self._error:
            raise OSError(self._error, "no")
        self.packets.append((data, (address, port)))
