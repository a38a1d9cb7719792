# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heartbeat packets: pure encoding, authentication and replay protection (law L12). No sockets, no clocks.

A packet is a fixed header (magic, version, kind, boot id, sequence number, echo), a compact JSON body (cluster, sender,
receiver, report) and an HMAC-SHA256 (RFC 2104, whole digest) over all of that. So it can be neither forged, nor reflected,
nor carried into another cluster that uses the same key.

Freshness needs no clocks. Within one boot of the sender, sequence numbers only grow. A boot id not known yet is bound only
by a packet that echoes *my* boot id and a sequence number that I sent within the last seconds: a recording cannot do that.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
import typing as t
from collections import deque

from ..model.cluster import Report

HEADER = struct.Struct(
    "!4sBc8sQ8sQ"
)  # magic, version, kind, boot id, sequence number, echoed boot id and sequence number
MAGIC, VERSION = b"NATF", 1
DIGEST = hashlib.sha256().digest_size
LONGEST = 1200  # bytes; below any MTU on the way, so nothing is ever fragmented
LONGEST_FACT = 200  # characters
REMEMBERED = 64  # bodies: two of each peer in a large cluster
NO_BOOT = bytes(8)
BEAT, PROBE, ANSWER = "b", "p", "a"
BIND_WITHIN = 5.0  # seconds: how old my packet may be that binds a new boot id of a peer
REASONS = ("bad_mac", "malformed", "wrong_cluster", "not_for_me", "unknown_sender", "replayed", "unbound", "late")


def new_boot_id() -> str:
    """Random per start of the service: 16 hexadecimal digits."""
    return os.urandom(8).hex()


class Packet(t.NamedTuple):
    """One authentic packet, addressed to me, by a node of my cluster. ``report`` is None in a bare probe."""

    kind: str
    sender: str
    boot_id: str
    seq: int
    echo_boot: str  # "" = the sender has heard nothing from me yet
    echo_seq: int
    report: t.Optional[Report]


class Rejected(t.NamedTuple):
    """Why a datagram counts for nothing: the name of the counter that it moves."""

    reason: str


class Codec:
    """Encodes with the first key, accepts any of them (so that a key can be rotated)."""

    def __init__(self, keys: t.Union[bytes, t.Sequence[bytes]], cluster: str, self_name: str) -> None:
        self._keys = (keys,) if isinstance(keys, bytes) else tuple(keys)
        self._cluster = cluster
        self._self = self_name
        if not self._keys or not all(self._keys):
            raise ValueError("a heartbeat key is empty or missing")
        # Nearly every packet says what the one before it said: only the header differs.
        self._made: t.Dict[str, t.Tuple[t.Optional[Report], bytes]] = {}  # receiver -> the last body for it
        self._read: t.Dict[bytes, t.Tuple[t.Any, t.Any, t.Any, t.Optional[Report]]] = {}  # authentic bodies

    def encode(
        self, kind: str, boot_id: str, seq: int, echo_boot: str, echo_seq: int, report: t.Optional[Report], to: str
    ) -> bytes:
        """The datagram for one receiver. What of a report does not fit is left out: first its fact, then views of peers."""
        header = HEADER.pack(
            MAGIC, VERSION, kind.encode(), bytes.fromhex(boot_id), seq, bytes.fromhex(echo_boot), echo_seq
        )
        made = self._made.get(to)
        if made is None or made[0] is not report:
            room = LONGEST - HEADER.size - DIGEST
            made = self._made[to] = report, next(body for body in self._bodies(report, to) if len(body) <= room)
        data = header + made[1]
        return data + hmac.digest(self._keys[0], data, "sha256")

    def _bodies(self, report: t.Optional[Report], to: str) -> t.Iterator[bytes]:
        """The body, then ever shorter ones; the last is short whatever the report says."""
        names: t.List[t.Any] = [self._cluster, self._self, to]
        if report is not None:
            views = dict(report.views)
            for fact in (report.fact[:LONGEST_FACT], ""):
                yield _json([*names, report.state, int(report.forwarding), fact, views, report.signs])
            while views:
                views.popitem()
                yield _json([*names, report.state, int(report.forwarding), "", views, report.signs])
        yield _json(names)

    def decode(self, data: bytes) -> t.Union[Packet, Rejected]:
        """Never raises, whatever arrives."""
        if not HEADER.size + DIGEST < len(data) <= LONGEST or data[:5] != MAGIC + bytes((VERSION,)):
            return Rejected("malformed")
        signed, mac = data[:-DIGEST], data[-DIGEST:]
        if not any(hmac.compare_digest(mac, hmac.digest(key, signed, "sha256")) for key in self._keys):
            return Rejected("bad_mac")
        _magic, _version, kind, boot, seq, echo_boot, echo_seq = HEADER.unpack_from(signed)
        try:
            cluster, sender, to, report = self._understand(signed[HEADER.size :])
            kind = {b"b": BEAT, b"p": PROBE, b"a": ANSWER}[kind]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return Rejected("malformed")
        if cluster != self._cluster:
            return Rejected("wrong_cluster")
        if to != self._self or sender == self._self or not isinstance(sender, str):
            return Rejected("not_for_me")
        return Packet(kind, sender, boot.hex(), seq, "" if echo_boot == NO_BOOT else echo_boot.hex(), echo_seq, report)

    def _understand(self, body: bytes) -> t.Tuple[t.Any, t.Any, t.Any, t.Optional[Report]]:
        """Cluster, sender, receiver and report of an authentic packet."""
        known = self._read.get(body)
        if known is None:
            cluster, sender, to, *rest = json.loads(body)
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            known = self._read[body] = cluster, sender, to, _report(*rest) if rest else None
        return known


def _json(body: t.List[t.Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _report(state: t.Any, forwarding: t.Any, fact: t.Any, views: t.Any, signs: t.Any = 0, *_later: t.Any) -> Report:
    """``_later``: what a newer release may add; nodes of both understand each other while one after the other is upgraded."""
    verdicts = {str(peer): str(verdict) for peer, verdict in views.items()}
    if not isinstance(signs, int):
        raise TypeError("signs: a number is expected")
    return Report(str(state), bool(forwarding), str(fact), verdicts, signs)


class Session:
    """What I sent to and accepted from one peer; decides whether an authentic packet is fresh. Times: seconds of my clock."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self.seq = 0
        self.peer_boot = ""
        self.peer_seq = 0
        self.heard: t.Tuple[str, int] = ("", 0)  # newest (boot id, seq) received, bound or not: what my packets echo
        self._sent: t.Deque[t.Tuple[float, int]] = deque(maxlen=1024)  # at a probe every 5 ms, still 5 s
        self._retired: t.Deque[str] = deque(maxlen=32)  # boot ids that were bound before: never again

    def next_seq(self, now: float) -> int:
        """The sequence number of the packet being sent now."""
        self.seq += 1
        self._sent.append((now, self.seq))
        return self.seq

    def renew(self) -> None:
        """Another machine answers to this name: only who hears what I send from here on may bind."""
        self.peer_boot, self.peer_seq, self.heard = "", 0, ("", 0)
        self._sent.clear()

    def accept(self, packet: Packet, now: float) -> str:
        """Empty if the packet is fresh (it then counts as life), else the name of the counter that it moves."""
        if packet.boot_id == self.peer_boot:
            if packet.seq <= self.peer_seq:
                return "replayed"
        elif packet.boot_id in self._retired:
            return "replayed"
        else:
            refused = self._refuse_binding(packet, now)
            if refused:
                self.heard = (packet.boot_id, packet.seq)
                return refused
            if self.peer_boot:
                self._retired.append(self.peer_boot)
        self.peer_boot, self.peer_seq = self.heard = packet.boot_id, packet.seq
        return ""

    def _refuse_binding(self, packet: Packet, now: float) -> str:
        if packet.echo_boot != self._boot_id or not 0 < packet.echo_seq <= self.seq:
            return "unbound"
        while self._sent and now - self._sent[0][0] > BIND_WITHIN:
            self._sent.popleft()
        return "" if self._sent and packet.echo_seq >= self._sent[0][1] else "late"
