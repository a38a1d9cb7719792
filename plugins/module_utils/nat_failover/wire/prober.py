# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks one target and says why it did not answer. What a firewall of this very host could send is no answer: a reset, an ICMP error."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
import typing as t

from ..config.targets import ICMP, UDP, Target
from ..errors import NatFailoverError
from . import icmp

Reach = t.Callable[[Target, float], t.Awaitable[str]]
# A DNS message (RFC 1035): one question, which any resolver answers out of its memory: the name servers of the root.
DNS_HEADER = struct.Struct("!HHHHHH")  # id, flags, counts of questions, answers, authorities and additional records
RECURSION, RESPONSE = 0x0100, 0x8000
ROOT_NS = b"\0" + struct.pack("!HH", 2, 1)  # the empty name, type NS, class IN


class ProbeImpossible(NatFailoverError):
    """This process cannot ask at all. That proves nothing against anybody."""


class Prober:
    """Asks targets. ``ping``: an ICMP socket of before the process gave its privileges up; otherwise one is opened when needed."""

    def __init__(self, ping: t.Optional[socket.socket] = None) -> None:
        self._ping = ping
        self._echo: t.Optional[icmp.Echo] = None
        self._waiting: t.Dict[str, "asyncio.Future[None]"] = {}
        self._count = 0

    def close(self) -> None:
        """Nothing is asked after this."""
        if self._ping is not None:
            self._ping.close()
            self._ping = None

    async def reach(self, target: Target, timeout: float) -> str:
        """Why a target did not answer; empty when it did. Raises ``ProbeImpossible``."""
        ask = {UDP: _question, ICMP: self._echo_request}.get(target.kind, _connect)
        try:
            await asyncio.wait_for(ask(target), timeout)
        except asyncio.TimeoutError:
            return "%s: no answer within %d ms" % (target, timeout * 1000)
        except socket.gaierror as error:
            return "%s: %s" % (target, error.strerror)
        except OSError as error:
            # asyncio puts a text of its own ("Connect call failed") in the place of the kernel's
            return "%s: %s" % (target, os.strerror(error.errno) if error.errno else error)
        return ""

    # --- ICMP ------------------------------------------------------------------------------------------------------------------------

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
            ping.sendto(echo.request(name, address, time.monotonic()), (address, 0))
            await answered
        finally:
            del self._waiting[name]
            if not self._waiting:
                loop.remove_reader(ping)

    def _open(self) -> t.Tuple[socket.socket, icmp.Echo]:
        if self._ping is None:
            self._ping = icmp.open_socket("0.0.0.0")
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
            name, _counter = echo.reply(data, sender[0], time.monotonic())
            waiting = self._waiting.get(name)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


# --- TCP and UDP -----------------------------------------------------------------------------------------------------------------


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
    """The packet to send."""
    return DNS_HEADER.pack(number, RECURSION, 1, 0, 0, 0) + ROOT_NS


def dns_answers(data: bytes, number: int) -> bool:
    """Whether this is a resolver's answer to that question. A refusal is one too: somebody out there has read it."""
    if len(data) < DNS_HEADER.size + len(ROOT_NS):
        return False
    found, flags, questions = DNS_HEADER.unpack_from(data)[:3]
    return found == number and bool(flags & RESPONSE) and questions == 1 and data[DNS_HEADER.size :].startswith(ROOT_NS)


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, number: int, answered: "asyncio.Future[None]") -> None:
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
