# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heartbeats over UDP and ICMP echo with all peers: what was received when.

It does not judge silence.

``codec`` makes and authenticates the packets, ``session`` refuses replays, ``icmp`` keeps the echo
requests, ``admission`` tells the kernel the peers' addresses, and the runtime owns the sockets.
Send errors are counted, never raised. IPv4 only.
"""

from __future__ import annotations

import errno
import logging
import typing as t
from collections import Counter
from dataclasses import replace

from ..errors import NatFailoverError, PortTaken
from ..model.evidence import Heard, Report
from ..runtime.base import Datagrams, Receiver, Runtime
from .admission import Admission
from .codec import ANSWER, BEAT, PROBE, Codec, Packet, Rejected
from .icmp import Echo
from .session import Session

LOG = logging.getLogger("nat-failover")
GREET_EVERY = 0.05  # seconds: an unbound peer is probed back at most this often


class _Peer:
    """One peer's traffic."""

    def __init__(self, address: str, boot_id: str) -> None:
        self.address = address
        self.origins: t.Collection[str] = ()  # the addresses that its instance may send from, () = any
        self.session = Session(boot_id)
        self.heartbeat_at: float | None = None
        self.icmp_at: float | None = None
        self.report: Report | None = None
        self.reported_by = ""  # the boot id that ``report`` came from
        self.unanswered = 0
        self.probed = False  # by UDP, since the last packet of the peer: this node suspects it
        self.greeted = float("-inf")
        self.leapt_at: float | None = None

    def evidence(self) -> Heard:
        boot_id, leapt = self.session.peer_boot, (self.leapt_at, *self.session.leapt)
        return Heard(self.heartbeat_at, self.icmp_at, self.report, boot_id, self.unanswered, *leapt)


class HeartbeatTransport:
    """Sends to and receives from all peers of one node.

    ``codec`` may be replaced at any time (a reload does).
    """

    def __init__(
        self,
        codec: Codec,
        runtime: Runtime,
        *,
        self_name: str,
        boot_id: str,
        port: int,
        bind: str = "0.0.0.0",
    ) -> None:
        self.codec = codec
        self.self_name = self_name
        self.boot_id = boot_id
        # Called for every fresh packet, with the name of the peer
        self.on_packet: t.Callable[[str], None] = lambda name: None
        # Called after a packet that changes the evidence of a peer
        self.wake: t.Callable[[], None] = lambda: None
        # Called for an authentic packet of a peer from an address that its instance does not have
        self.on_stranger: t.Callable[[str, str], None] = lambda name, address: None
        # Called after all datagrams that had arrived
        self.on_all_read: t.Callable[[], None] = lambda: None
        self.counters: t.Counter[str] = Counter()
        self.icmp_available = False
        self.admission = Admission(runtime, port)  # of source addresses, by the kernel
        self._bind, self._port = bind, port
        self._runtime = runtime
        self._peers: dict[str, _Peer] = {}
        self._report: Report | None = None  # packets carry none before the first self check
        self._udp: Datagrams | None = None
        self._icmp: Datagrams | None = None
        self._echo = Echo(raw=False)

    async def open(self) -> None:
        """Open the sockets.

        Raises ``PortTaken`` if another process has the UDP port, and ``NatFailoverError`` if it
        cannot be bound for another reason. ICMP may be missing.
        """
        try:
            self._udp = self._runtime.open_udp(
                self._bind, self._port, Receiver(self.take, self._read, self._receive_failed)
            )
        except OSError as error:
            kind = PortTaken if error.errno == errno.EADDRINUSE else NatFailoverError
            raise kind(
                f"heartbeat.port: UDP {self._bind}:{self._port} cannot be bound ({error.strerror}); is another "
                "nat-failover running here?"
            ) from None
        self.admission.open(self._udp)
        self._icmp = self._runtime.open_icmp(self._bind, Receiver(self._take_icmp, self._read, self._receive_failed))
        self.icmp_available = self._icmp is not None
        if self._icmp is not None:
            self._echo = Echo(raw=self._icmp.raw)
        else:
            LOG.warning(
                "icmp: this process may not send ICMP echo requests; peers are probed over UDP only. Give it "
                "CAP_NET_RAW or widen net.ipv4.ping_group_range"
            )

    def close(self) -> None:
        """Close the sockets. Harmless when they are closed already."""
        for datagrams in (self._udp, self._icmp):
            if datagrams is not None:
                datagrams.close()
        self._udp = self._icmp = None
        self.admission.close()

    def set_peers(self, addresses: t.Mapping[str, str]) -> None:
        """The peers: name -> IPv4 address.

        A peer that moved keeps its session, one that is gone is forgotten.
        """
        for name in set(self._peers) - set(addresses):
            del self._peers[name]
        for name, address in addresses.items():
            if name == self.self_name:
                continue
            peer = self._peers.setdefault(name, _Peer(address, self.boot_id))
            peer.address = address
        self._admit()

    def _admit(self) -> None:
        peers = self._peers.values()
        self.admission.admit(each for peer in peers for each in (peer.address, *peer.origins))

    def set_origins(self, origins: t.Mapping[str, t.Collection[str]]) -> None:
        """The addresses of each peer's instance, by EC2. An empty collection: not known, so any."""
        for name, peer in self._peers.items():
            peer.origins = origins.get(name, ())
        self._admit()

    def renew(self, name: str) -> None:
        """Another machine has this name now.

        Evidence of its predecessor is dropped, and its later packets are refused.
        """
        old = self._peers.get(name)
        if old is not None:
            self._peers[name] = _Peer(old.address, self.boot_id)
            self._peers[name].session = old.session  # the sequence numbers of this node only grow
            old.session.renew()

    def set_report(self, report: Report) -> None:
        """The report about this node that all further packets carry."""
        # The same object while it says the same: the codec caches the body by identity
        if report != self._report:
            self._report = report

    def heard(self) -> dict[str, Heard]:
        """The evidence of each peer so far, by name. Times: ``Runtime.now``."""
        return {name: peer.evidence() for name, peer in self._peers.items()}

    def heartbeats(self) -> dict[str, float]:
        """Peer -> when its newest heartbeat came. Peers without one are left out."""
        return {name: peer.heartbeat_at for name, peer in self._peers.items() if peer.heartbeat_at is not None}

    # --- sending ----------------------------------------------------------------------------------

    def beat(self, name: str) -> None:
        """Send one heartbeat over UDP. The peer does not answer it."""
        self._send(name, BEAT)

    def probe(self, name: str) -> None:
        """Send one UDP probe, which the peer answers at once, and one ICMP echo request."""
        peer = self._peers.get(name)
        if peer is not None and self._send(name, PROBE):
            peer.unanswered += 1
            peer.probed = True
        self.ping(name)

    def ping(self, name: str) -> None:
        """Send one ICMP echo request."""
        peer = self._peers.get(name)
        if peer is None or self._icmp is None:
            return
        try:
            self._icmp.send(self._echo.request(name, peer.address, self._runtime.now()), peer.address, 0)
            peer.unanswered += 1
            self.counters["pinged"] += 1
        except OSError as error:
            self.counters[f"send_error_{error.errno or 0}"] += 1

    def _send(self, name: str, kind: str, at_most: int = 0) -> bool:
        """Returns whether it left.

        A packet longer than ``at_most`` bytes (0: no limit) is sent without the report.
        """
        peer = self._peers.get(name)
        if peer is None or self._udp is None:
            return False
        now = self._runtime.now()
        seq, echo = peer.session.next_seq(now), peer.session.echo(now)
        data = self.codec.encode(kind, self.boot_id, seq, *echo, self._report, name)
        if 0 < at_most < len(data):
            data = self.codec.encode(kind, self.boot_id, seq, *echo, None, name)
        try:
            self._udp.send(data, peer.address, self._port)
        except OSError as error:  # ENETUNREACH, EPERM (a firewall rule), ENOBUFS ...
            self.counters[f"send_error_{error.errno or 0}"] += 1
            return False
        self.counters["sent"] += 1
        return True

    # --- receiving --------------------------------------------------------------------------------

    def _read(self) -> None:
        self.on_all_read()

    def _receive_failed(self, error: OSError) -> None:
        self.counters[f"receive_error_{error.errno or 0}"] += 1

    def take(self, data: bytes, address: str = "") -> None:
        """One datagram and the address of its sender.

        Unless it is authentic and fresh it moves a counter and nothing else.
        """
        packet = self.codec.decode(data)
        if isinstance(packet, Rejected):
            self.counters[packet.reason] += 1
            return
        peer = self._peers.get(packet.sender)
        if peer is None:
            self.counters["unknown_sender"] += 1
            return
        # A bound peer has proven that it receives at the address that EC2 shows for it. Another
        # machine in its name does not even begin to bind.
        if peer.origins and address not in peer.origins and not peer.session.knows(packet.boot_id):
            self.counters["unbound"] += 1
            self.on_stranger(packet.sender, address)
            return
        now = self._runtime.now()
        refused = peer.session.accept(packet, now)
        if not refused:
            self._take_fresh(packet, peer, now)
            return
        self.counters[refused] += 1
        if refused == "leapt":
            peer.leapt_at = now
            self.wake()
        if refused in ("unbound", "late", "leapt") and now - peer.greeted >= GREET_EVERY:
            peer.greeted = now
            # To the known address: a forger gains no amplifier
            self._send(packet.sender, PROBE, at_most=len(data))

    def _take_fresh(self, packet: Packet, peer: _Peer, now: float) -> None:
        self.counters["received"] += 1
        changed = (
            peer.heartbeat_at is None or peer.probed or (packet.report is not None and packet.report != peer.report)
        )
        peer.unanswered, peer.probed = 0, False
        if packet.report is not None:
            peer.report, peer.reported_by = packet.report, packet.boot_id
        elif peer.report is not None and peer.reported_by != packet.boot_id and not peer.report.seals:
            # The number of an earlier run of the peer's service, which counted from 1
            peer.report = replace(peer.report, signs=0)
        # A packet of a run that sent no report yet is no heartbeat: it would be judged by a report
        # of the run before.
        if peer.reported_by == packet.boot_id:
            peer.heartbeat_at = now
        if packet.kind == PROBE:
            self._send(packet.sender, ANSWER)
        self.on_packet(packet.sender)
        if changed:
            self.wake()

    def _take_icmp(self, data: bytes, address: str) -> None:
        now = self._runtime.now()
        name, refused = self._echo.reply(data, address, now)
        if refused:
            self.counters[refused] += 1
        peer = self._peers.get(name) if name else None
        if peer is None:
            return
        self.counters["echoed"] += 1
        changed, peer.icmp_at, peer.unanswered, peer.probed = peer.probed, now, 0, False
        if changed:
            self.wake()
