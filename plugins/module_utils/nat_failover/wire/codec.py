# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heartbeat packets: encoding and authentication (law L12).

Pure: no sockets, no clocks. ``session`` refuses replays.

A packet is a fixed header (magic, version, kind, boot id, sequence number, echo), a compact JSON
body (cluster, sender, receiver, report) and an HMAC-SHA256 (RFC 2104, whole digest) over both. So
it can be neither forged, nor reflected, nor carried into another cluster that uses the same key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
import typing as t

from ..model.evidence import Report
from ..model.text import plain

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
REASONS = (
    "bad_mac",
    "malformed",
    "wrong_cluster",
    "not_for_me",
    "unknown_sender",
    "replayed",
    "unbound",
    "late",
    "leapt",
)


def new_boot_id() -> str:
    """A random name of one run of the service: 16 hexadecimal digits."""
    return os.urandom(8).hex()


class Packet(t.NamedTuple):
    """An authentic packet of a node of this cluster, addressed to this node.

    ``report`` is None in a bare probe.
    """

    kind: str
    sender: str
    boot_id: str
    seq: int
    echo_boot: str  # "": the sender has received nothing from this node yet
    echo_seq: int
    report: Report | None


class Rejected(t.NamedTuple):
    """A datagram that is refused.

    ``reason``: the name of the counter that it moves, one of ``REASONS``.
    """

    reason: str


class Codec:
    """Encodes with the first key and accepts any of them, so that a key can be rotated.

    Raises ``ValueError`` if a key is empty or none is given.
    """

    def __init__(self, keys: bytes | t.Sequence[bytes], cluster: str, self_name: str) -> None:
        self._keys = (keys,) if isinstance(keys, bytes) else tuple(keys)
        self._cluster = cluster
        self._self = self_name
        if not self._keys or not all(self._keys):
            raise ValueError("a heartbeat key is empty or missing")
        # Most packets differ from the one before only in the header, so bodies are cached.
        self._made: dict[str, tuple[Report | None, bytes]] = {}  # receiver -> the last body for it
        self._read: dict[bytes, tuple[t.Any, t.Any, t.Any, Report | None]] = {}  # authentic bodies

    def encode(
        self, kind: str, boot_id: str, seq: int, echo_boot: str, echo_seq: int, report: Report | None, to: str
    ) -> bytes:
        """The datagram for one receiver, at most ``LONGEST`` bytes.

        A report that does not fit loses first its fact, then its views of peers.
        """
        header = HEADER.pack(
            MAGIC, VERSION, kind.encode(), bytes.fromhex(boot_id), seq, bytes.fromhex(echo_boot), echo_seq
        )
        made = self._made.get(to)
        if made is None or made[0] is not report:
            room = LONGEST - HEADER.size - DIGEST
            made = self._made[to] = report, next(body for body in self._bodies(report, to) if len(body) <= room)
        data = header + made[1]
        return data + hmac.digest(self._keys[0], data, "sha256")

    def _bodies(self, report: Report | None, to: str) -> t.Iterator[bytes]:
        """The body, then ever shorter ones. The last one has no report and always fits."""
        names: list[t.Any] = [self._cluster, self._self, to]
        if report is not None:
            views = dict(report.views)
            more: list[t.Any] = [int(report.seals), sorted(report.unwell), dict(report.flows), report.hindrance]
            while more and not more[-1]:  # an older release knows the first ones only
                more.pop()
            for fact in (report.fact[:LONGEST_FACT], ""):
                yield _json([*names, report.state, int(report.forwarding), fact, views, report.signs, *more])
            while views:
                views.popitem()
                yield _json([*names, report.state, int(report.forwarding), "", views, report.signs, *more])
        yield _json(names)

    def decode(self, data: bytes) -> Packet | Rejected:
        """The packet in a datagram, or the reason why it is refused. Never raises."""
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

    def _understand(self, body: bytes) -> tuple[t.Any, t.Any, t.Any, Report | None]:
        """Cluster, sender, receiver and report of an authentic packet."""
        known = self._read.get(body)
        if known is None:
            cluster, sender, to, *rest = json.loads(body)
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            known = self._read[body] = cluster, sender, to, _report(*rest) if rest else None
        return known


def _json(body: list[t.Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _report(
    state: t.Any,
    forwarding: t.Any,
    fact: t.Any,
    views: t.Any,
    signs: t.Any = 0,
    seals: t.Any = 0,
    unwell: t.Any = (),
    flows: t.Any = (),
    hindrance: t.Any = "",
    *_later: t.Any,
) -> Report:
    """``_later``: fields of a newer release, ignored.

    Both releases work together during a rolling upgrade.
    """
    verdicts = {plain(str(peer)): plain(str(verdict)) for peer, verdict in views.items()}
    if not isinstance(signs, int):
        raise TypeError("signs: a number is expected")
    ill = frozenset(plain(str(name)) for name in unwell) if isinstance(unwell, list) else frozenset()
    counts = flows if isinstance(flows, dict) else {}
    counted = {plain(str(name)): count for name, count in counts.items() if isinstance(count, int)}
    code = plain(str(hindrance))
    return Report(
        plain(str(state)), bool(forwarding), plain(str(fact)), verdicts, signs, seals == 1, ill, counted, code
    )
