# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The radio: heartbeats over UDP and ICMP echo, both at once. It knows what was heard when, not what silence means.

Packets are made and judged in ``packets.py``, echo requests in ``icmp.py``; here are the sockets. Each wake-up empties them, so
that after a late loop no packet waits behind a decision. Send errors are counted, never raised. Only IPv4 sockets are opened.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import typing as t
from collections import Counter
from dataclasses import replace

from ..errors import NatFailoverError
from ..model.cluster import Heard, Report
from .codec import ANSWER, BEAT, BIND_WITHIN, LONGEST, PROBE, Codec, Packet, Rejected, Session, new_boot_id
from .icmp import Echo, open_socket

__all__ = [
    "ANSWER",
    "BEAT",
    "BIND_WITHIN",
    "LONGEST",
    "PROBE",
    "Codec",
    "Packet",
    "Radio",
    "Rejected",
    "Session",
    "new_boot_id",
]

LOG = logging.getLogger("nat-failover")
GREET_EVERY = 0.05  # seconds: at most this often an unbound peer is probed back
AT_ONCE = 1024  # datagrams read per wake-up: more than the kernel queues by default, yet a flood cannot stop the loop


class _Peer:
    """One peer's traffic."""

    def __init__(self, address: str, boot_id: str) -> None:
        self.address = address
        self.session = Session(boot_id)
        self.heartbeat_at: t.Optional[float] = None
        self.icmp_at: t.Optional[float] = None
        self.report: t.Optional[Report] = None
        self.reported_by = ""  # the boot id that ``report`` came from
        self.unanswered = 0
        self.probed = False  # by UDP, since anything was heard: somebody suspects it
        self.greeted = float("-inf")

    def heard(self) -> Heard:
        return Heard(self.heartbeat_at, self.icmp_at, self.report, self.session.peer_boot, self.unanswered)


class Radio:
    """Sends to and hears all peers of one node. ``codec``, ``on_news`` may be replaced at any time (a reload does)."""

    def __init__(
        self,
        codec: Codec,
        *,
        self_name: str,
        boot_id: str,
        port: int,
        bind: str = "0.0.0.0",
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.codec = codec
        self.self_name = self_name
        self.boot_id = boot_id
        self.on_news: t.Callable[[str], None] = lambda name: None
        self.on_read: t.Callable[[], None] = lambda: None  # what had arrived has been read, and told by the other two
        self.on_heard: t.Callable[[str], None] = lambda name: None  # every fresh packet, also one that says nothing new
        self.counters: t.Counter[str] = Counter()
        self.icmp_available = False
        self._bind, self._port = bind, port
        self._clock = clock
        self._peers: t.Dict[str, _Peer] = {}
        self._report: t.Optional[Report] = None  # nothing to say yet
        self._udp: t.Optional[socket.socket] = None
        self._icmp: t.Optional[socket.socket] = None
        self._echo = Echo(raw=False)

    async def open(self) -> None:
        """Bind the sockets; raises ``NatFailoverError`` if the port is taken."""
        loop = asyncio.get_running_loop()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setblocking(False)
        try:
            udp.bind((self._bind, self._port))
        except OSError as error:
            udp.close()
            raise NatFailoverError(
                "heartbeat.port: UDP %s:%d cannot be bound (%s); is another nat-failover running here?"
                % (self._bind, self._port, error.strerror)
            ) from None
        self._udp = udp
        loop.add_reader(udp, self._read_udp)
        self._icmp = open_socket(self._bind)
        self.icmp_available = self._icmp is not None
        if self._icmp is not None:
            self._echo = Echo(raw=self._icmp.type == socket.SOCK_RAW)
            loop.add_reader(self._icmp, self._read_icmp)
        else:
            LOG.warning(
                "icmp: not permitted, going on with UDP only; give CAP_NET_RAW or widen net.ipv4.ping_group_range"
            )

    def close(self) -> None:
        """Close the sockets; harmless when they are closed already."""
        for sock in (self._udp, self._icmp):
            if sock is not None:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()
        self._udp = self._icmp = None

    def set_peers(self, addresses: t.Mapping[str, str]) -> None:
        """Who to talk to, and where (name -> IPv4 address). A peer that moved keeps its session, one that is gone is forgotten."""
        for name in set(self._peers) - set(addresses):
            del self._peers[name]
        for name, address in addresses.items():
            if name == self.self_name:
                continue
            peer = self._peers.setdefault(name, _Peer(address, self.boot_id))
            peer.address = address

    def renew(self, name: str) -> None:
        """Another machine answers to this name now: what its predecessor said counts no more, and what it still says neither."""
        old = self._peers.get(name)
        if old is not None:
            self._peers[name] = _Peer(old.address, self.boot_id)
            self._peers[name].session = old.session  # my own numbers only grow
            old.session.renew()

    def set_report(self, report: Report) -> None:
        """What all further packets say about this node."""
        if report != self._report:  # the same object as long as it says the same: the codec knows it again
            self._report = report

    def heard(self) -> t.Dict[str, Heard]:
        """What has been heard from each peer so far."""
        return {name: peer.heard() for name, peer in self._peers.items()}

    def heartbeats(self) -> t.Dict[str, float]:
        """When the newest heartbeat of each peer came, of those that were heard."""
        return {name: peer.heartbeat_at for name, peer in self._peers.items() if peer.heartbeat_at is not None}

    # --- sending -------------------------------------------------------------------------------------------------------

    def beat(self, name: str) -> None:
        """One heartbeat over UDP; it is not answered."""
        self._send(name, BEAT)

    def probe(self, name: str) -> None:
        """One UDP probe, which the peer answers at once, and one ICMP echo request."""
        peer = self._peers.get(name)
        if peer is not None and self._send(name, PROBE):
            peer.unanswered += 1
            peer.probed = True
        self.ping(name)

    def ping(self, name: str) -> None:
        """One ICMP echo request."""
        peer = self._peers.get(name)
        if peer is None or self._icmp is None:
            return
        try:
            self._icmp.sendto(self._echo.request(name, peer.address, self._clock()), (peer.address, 0))
            peer.unanswered += 1
            self.counters["pinged"] += 1
        except OSError as error:
            self.counters["send_error_%d" % (error.errno or 0)] += 1

    def _send(self, name: str, kind: str, at_most: int = 0) -> bool:
        """Returns whether it left. What would be longer than ``at_most`` bytes (0: any length will do) leaves without a report."""
        peer = self._peers.get(name)
        if peer is None or self._udp is None:
            return False
        seq = peer.session.next_seq(self._clock())
        data = self.codec.encode(kind, self.boot_id, seq, *peer.session.heard, self._report, name)
        if 0 < at_most < len(data):
            data = self.codec.encode(kind, self.boot_id, seq, *peer.session.heard, None, name)
        try:
            self._udp.sendto(data, (peer.address, self._port))
        except OSError as error:  # ENETUNREACH, EPERM (a firewall rule), ENOBUFS ...
            self.counters["send_error_%d" % (error.errno or 0)] += 1
            return False
        self.counters["sent"] += 1
        return True

    # --- hearing -------------------------------------------------------------------------------------------------------

    def _read_udp(self) -> None:
        self._drain(self._udp, self.take)
        self.on_read()

    def _read_icmp(self) -> None:
        self._drain(self._icmp, self._take_icmp)
        self.on_read()

    def _drain(self, sock: t.Optional[socket.socket], take: t.Callable[[bytes, str], None]) -> None:
        for _datagram in range(AT_ONCE):
            if sock is None or sock.fileno() < 0:
                return  # closed by what a packet brought about
            try:
                data, (address, _port) = sock.recvfrom(LONGEST + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.counters["receive_error_%d" % (error.errno or 0)] += 1
                continue
            take(data, address)

    def take(self, data: bytes, address: str = "") -> None:
        """One datagram; what is not authentic and fresh moves a counter and nothing else."""
        packet = self.codec.decode(data)
        if isinstance(packet, Rejected):
            self.counters[packet.reason] += 1
            return
        peer = self._peers.get(packet.sender)
        if peer is None:
            self.counters["unknown_sender"] += 1
            return
        now = self._clock()
        refused = peer.session.accept(packet, now)
        if not refused:
            self._take_fresh(packet, peer, now)
            return
        self.counters[refused] += 1
        if refused in ("unbound", "late") and now - peer.greeted >= GREET_EVERY:
            peer.greeted = now
            self._send(packet.sender, PROBE, at_most=len(data))  # to the known address: a forger gains no amplifier

    def _take_fresh(self, packet: Packet, peer: _Peer, now: float) -> None:
        self.counters["received"] += 1
        news = peer.heartbeat_at is None or peer.probed or packet.report is not None and packet.report != peer.report
        peer.unanswered, peer.probed = 0, False
        if packet.report is not None:
            peer.report, peer.reported_by = packet.report, packet.boot_id
        elif peer.report is not None and peer.reported_by != packet.boot_id:
            peer.report = replace(peer.report, signs=0)  # they were another run's
        if (
            peer.reported_by == packet.boot_id
        ):  # life without a word yet is no heartbeat: it would be judged by an old report
            peer.heartbeat_at = now
        if packet.kind == PROBE:
            self._send(packet.sender, ANSWER)
        self.on_heard(packet.sender)
        if news:
            self.on_news(packet.sender)

    def _take_icmp(self, data: bytes, address: str) -> None:
        now = self._clock()
        name, refused = self._echo.reply(data, address, now)
        if refused:
            self.counters[refused] += 1
        peer = self._peers.get(name) if name else None
        if peer is None:
            return
        self.counters["echoed"] += 1
        news, peer.icmp_at, peer.unanswered, peer.probed = peer.probed, now, 0, False
        if news:
            self.on_news(name)
