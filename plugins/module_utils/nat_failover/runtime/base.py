# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to clocks, timers, threads, datagrams and chance.

``observe``, ``act``, ``wire`` and ``service`` reach these by a ``Runtime`` that is handed to them.
The service runs on ``runtime.real``. The simulation runs the same code on virtual time, with a
runtime of its own.
"""

from __future__ import annotations

import asyncio
import random
import typing as t

T = t.TypeVar("T")


class Receiver(t.NamedTuple):
    """The callbacks of a socket."""

    take: t.Callable[[bytes, str], None]  # one datagram and the address of its sender
    read: t.Callable[[], None]  # all datagrams that had arrived were taken
    failed: t.Callable[[OSError], None]  # the kernel reported an error in place of a datagram


class Timer(t.Protocol):
    """A call that has been put off."""

    def cancel(self) -> None:
        """Give the call up. Harmless after it was made."""


class Datagrams(t.Protocol):
    """An open socket for datagrams."""

    raw: bool  # received ICMP packets begin with their IP header

    def send(self, data: bytes, address: str, port: int) -> None:
        """Send one datagram. Raises ``OSError`` if the kernel refuses it."""

    def admit(self, addresses: t.Collection[str] | None) -> None:
        """Let the kernel drop all datagrams but those from these IPv4 addresses. None: drop none.

        Raises ``OSError`` if it cannot. Then it drops none.
        """

    def close(self) -> None:
        """Close the socket. Harmless when it is closed already."""


class Lines(t.Protocol):
    """A connection to a local server that answers each line with a line."""

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection."""

    async def ask(self, line: bytes) -> bytes:
        """Send a line and return the answer, both without their line end.

        ``b""``: the server closed the connection.

        Raises ``OSError``, and ``ValueError`` for an answer of more than 4096 bytes. Not for two
        questions at once.
        """

    def close(self) -> None:
        """Close the connection. Harmless when it is closed already."""


class Pool(t.Protocol):
    """A few threads of their own for calls that block."""

    def run(self, function: t.Callable[..., T], *arguments: t.Any) -> asyncio.Future[T]:
        """Start a call. The future has its result, or raises what it raised."""

    def close(self) -> None:
        """Start no further call. Calls under way are not waited for."""


class Runtime(t.Protocol):
    """Everything that a program cannot compute."""

    random: random.Random

    def now(self) -> float:
        """Monotonic seconds (law L10). Their zero has no meaning."""

    def wall_time(self) -> float:
        """Seconds since 1970 (UTC), for ends that operators and AWS write as a date.

        Never compared with ``now``.
        """

    def sleep(self, seconds: float) -> t.Awaitable[None]:
        """Done after so many seconds."""

    def later(self, seconds: float, callback: t.Callable[..., None], *arguments: t.Any) -> Timer:
        """Call back after so many seconds; 0: in the next round of the loop."""

    async def within(self, seconds: float, work: t.Awaitable[T]) -> T:
        """The result of ``work``.

        After so many seconds ``work`` is cancelled and ``asyncio.TimeoutError`` raised.
        """

    def pool(self, name: str, workers: int) -> Pool:
        """At most so many threads; those that are not needed are not made."""

    def open_udp(self, bind: str, port: int, receiver: Receiver) -> Datagrams:
        """A bound UDP socket. Raises ``OSError`` if the address cannot be bound."""

    def open_icmp(self, bind: str, receiver: Receiver) -> Datagrams | None:
        """An ICMP socket in the same way. None where this process may not have one."""

    def open_netlink(self, protocol: int, groups: int, receiver: Receiver) -> Datagrams | None:
        """A netlink(7) socket that is subscribed to multicast ``groups`` (bits).

        None where there is no such socket.

        Nothing can be sent on it, and its datagrams have no sender.
        """

    async def connect_unix(self, path: str) -> Lines:
        """A connection to the stream socket at ``path``.

        Raises ``OSError``, ``FileNotFoundError`` without a socket.
        """

    async def resolve(self, host: str) -> str:
        """The first IPv4 address of a name. Raises ``OSError``."""
