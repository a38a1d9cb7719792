# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes of one target over TCP, UDP (a DNS question) or ICMP.

A reset or an ICMP error is no answer: a firewall of this very host could have sent it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
import typing as t

from ..errors import NatFailoverError
from ..model.settings import ICMP, UDP, Target
from ..runtime.real import open_icmp_socket
from . import icmp

Reach = t.Callable[[Target, float], t.Awaitable[str]]
# A DNS message (RFC 1035) with one question that any resolver answers from its cache: the name
# servers of the root.
# Id, flags, counts of questions, answers, authorities and additional records
DNS_HEADER = struct.Struct("!HHHHHH")
RECURSION, RESPONSE = 0x0100, 0x8000
ROOT_NS = b"\0" + struct.pack("!HH", 2, 1)  # the empty name, type NS, class IN


class ProbeImpossible(NatFailoverError):
    """This process cannot probe at all, which is no evidence against the target."""


class Prober:
    """Probes targets. Timeouts in seconds."""

    def __init__(self, ping: socket.socket | None = None, now: t.Callable[[], float] = time.monotonic) -> None:
        """``ping``: an ICMP socket that was opened before the process gave up its privileges.

        Without it, one is opened with the first ICMP target. ``now``: monotonic seconds.
        """
        self._ping = ping
        self._now = now
        self._echo: icmp.Echo | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._count = 0

    def close(self) -> None:
        """Close the ICMP socket. No ICMP target may be probed after this."""
        if self._ping is not None:
            self._ping.close()
            self._ping = None

    async def reach(self, target: Target, timeout: float) -> str:
        """Probe a target.

        Returns "" when it answered, else the reason in words. Raises ``ProbeImpossible``.
        """
        ask = {UDP: _question, ICMP: self._echo_request}.get(target.kind, _connect)
        try:
            await asyncio.wait_for(ask(target), timeout)
        except asyncio.TimeoutError:
            return f"{target}: no answer within {int(timeout * 1000)} ms"
        except socket.gaierror as error:
            return f"{target}: {error.strerror}"
        except OSError as error:
            # asyncio replaces the kernel's text by its own ("Connect call failed")
            return f"{target}: {os.strerror(error.errno) if error.errno else error}"
        return ""

    # --- ICMP -------------------------------------------------------------------------------------

    async def _echo_request(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        ping, echo = self._open()
        found = await loop.getaddrinfo(target.host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        address = str(found[0][4][0])
        self._count += 1
        name, answered = str(self._count), loop.create_future()
        if not self._waiting:
            loop.add_reader(ping, self._take, ping, echo)
        self._waiting[name] = answered
        try:
            ping.sendto(echo.request(name, address, self._now()), (address, 0))
            await answered
        finally:
            del self._waiting[name]
            if not self._waiting:
                loop.remove_reader(ping)

    def _open(self) -> tuple[socket.socket, icmp.Echo]:
        if self._ping is None:
            self._ping = open_icmp_socket("0.0.0.0")
        if self._ping is None:
            raise ProbeImpossible(
                "no ICMP socket: this needs CAP_NET_RAW, which the units of the role nat_instance have"
            )
        if self._echo is None:
            self._echo = icmp.Echo(self._ping.type == socket.SOCK_RAW)
        return self._ping, self._echo

    def _take(self, ping: socket.socket, echo: icmp.Echo) -> None:
        for _count in range(64):
            try:
                data, sender = ping.recvfrom(2048)
            except OSError:
                return  # nothing more; an ICMP error is no answer
            name, _counter = echo.reply(data, sender[0], self._now())
            waiting = self._waiting.get(name)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


# --- TCP and UDP ----------------------------------------------------------------------------------


async def _connect(target: Target) -> None:
    _reader, writer = await asyncio.open_connection(target.host, target.port)
    writer.close()


async def _question(target: Target) -> None:
    loop = asyncio.get_running_loop()
    answered = loop.create_future()
    transport, _protocol = await loop.create_datagram_endpoint(
        lambda: _Asking(struct.unpack("!H", os.urandom(2))[0], answered), remote_addr=(target.host, target.port)
    )
    try:
        await answered
    finally:
        transport.close()


def dns_question(number: int) -> bytes:
    """The DNS message (RFC 1035) that asks for the name servers of the root, with this message id."""
    return DNS_HEADER.pack(number, RECURSION, 1, 0, 0, 0) + ROOT_NS


def dns_answers(data: bytes, number: int) -> bool:
    """Whether a datagram answers the question with this message id.

    A refusal counts: a resolver has read the question.
    """
    if len(data) < DNS_HEADER.size + len(ROOT_NS):
        return False
    found, flags, questions = DNS_HEADER.unpack_from(data)[:3]
    return found == number and bool(flags & RESPONSE) and questions == 1 and data[DNS_HEADER.size :].startswith(ROOT_NS)


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, number: int, answered: asyncio.Future[None]) -> None:
        self._number = number
        self._answered = answered

    def connection_made(self, transport: t.Any) -> None:
        transport.sendto(dns_question(self._number))

    def datagram_received(self, data: bytes, addr: t.Any) -> None:
        if dns_answers(data, self._number) and not self._answered.done():
            self._answered.set_result(None)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)
