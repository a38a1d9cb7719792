# SPDX-License-Identifier: GPL-3.0-or-later
"""Many idle connections: ``python -m lab.traffic.held ADDRESS COUNT``.

Each line of its input, a rate, makes all of them send once, so many a second. A line of JSON says on how many the echo came. Ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import cast

from .words import ECHO

AT_ONCE, PATIENCE_S = 100, 15.0


class Idle(asyncio.Protocol):
    """``answered``: how long the last echo took, in seconds; -1 before it came."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.greeted = asyncio.get_running_loop().create_future()
        self.answered = -1.0
        self.error = ""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.greeted.done():
            self.greeted.set_result(None)
        elif self._sent:
            self.answered = time.monotonic() - self._sent

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = type(exc).__name__ if exc else "closed"
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(self.error))

    def send(self) -> None:
        """One octet; its echo is awaited from now on."""
        self.answered, self._sent = -1.0, time.monotonic()
        if not self.error:
            self.transport.write(b"x")


async def main(address: str, count: int) -> None:
    """Until the standard input ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    idle: list[Idle] = []
    while len(idle) < count:
        some = min(AT_ONCE, count - len(idle))
        made = await asyncio.gather(*(loop.create_connection(Idle, address, ECHO) for _each in range(some)))
        await asyncio.gather(*(each.greeted for _transport, each in made))
        idle += [each for _transport, each in made]
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _ask(idle, float(line))), flush=True)


async def _ask(idle: list[Idle], rate: float) -> dict[str, float]:
    began = time.monotonic()
    for number, each in enumerate(idle):
        each.send()
        ahead = number / rate - (time.monotonic() - began)
        if ahead > 0.005:
            await asyncio.sleep(ahead)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and any(each.answered < 0 and not each.error for each in idle):
        await asyncio.sleep(0.05)
    alive = [each.answered for each in idle if each.answered >= 0]
    lost = sum(bool(each.error) for each in idle)
    return {
        "count": len(idle),
        "alive": len(alive),
        "reset": lost,
        "longest_ms": round(max(alive, default=0.0) * 1000, 1),
    }


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
