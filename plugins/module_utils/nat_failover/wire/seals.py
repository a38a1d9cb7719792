# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seals of what nodes write into AWS for their peers: a MAC over tags and items.

Everyone with ``ec2:CreateTags`` or ``dynamodb:PutItem`` can write these, so only the MAC shows that
a node wrote them. It is HMAC-SHA256 (RFC 2104), cut to 128 bits (RFC 2104, section 5), under a key
that is derived from the heartbeat key with a label. Pure: no clocks, no I/O.
"""

from __future__ import annotations

import hmac
import json
import re
import typing as t

from ..model.evidence import FORGED, UNSIGNED, VALID, Mark, Sign

LABEL = b"nat-failover: seals of tags and items, version 1"
LENGTH = 32  # hexadecimal digits of a MAC
REMEMBERED = 256  # values: a flare and an item of each node in a large cluster
FLARE, ITEM, LOCK = "flare", "item", "lock"  # kinds of signs. One kind cannot stand for the other
# Boot id, number, and the MAC, which older versions do not write.
MARK = "fence"
# Fencer, and in newer versions the time and the MAC, and the stage at the end, where older versions
# look for it.
_MARK = re.compile(r"(.{1,64}?)(?::([0-9]{1,18}):([0-9a-f]{32}))?:([a-z]{1,16})")
_SIGN = re.compile(r"([^:]{1,64}):([0-9]{1,18})(?::([0-9a-f]{32}))?")


class Seals:
    """Seals with the first key and accepts any of them, so that a key can be rotated.

    Raises ``ValueError`` if a key is empty or none is given.
    """

    def __init__(self, keys: t.Sequence[bytes], cluster: str) -> None:
        self._cluster = cluster
        self._read: dict[tuple[str, ...], Sign] = {}
        self.rekey(keys)

    def rekey(self, keys: t.Sequence[bytes]) -> None:
        """Use other keys from now on."""
        if not keys or not all(keys):
            raise ValueError("a heartbeat key is empty or missing")
        self._keys = tuple(hmac.digest(key, LABEL, "sha256") for key in keys)
        self._read.clear()

    # --- any text ---------------------------------------------------------------------------------

    def seal(self, *parts: str) -> str:
        """The MAC over the cluster and these parts: 32 hexadecimal digits."""
        return self._mac(self._keys[0], parts)

    def holds(self, mac: str, *parts: str) -> bool:
        """Whether a node of this cluster made this MAC over these parts."""
        return any(hmac.compare_digest(mac, self._mac(key, parts)) for key in self._keys)

    def _mac(self, key: bytes, parts: t.Sequence[str]) -> str:
        text = json.dumps([self._cluster, *parts], separators=(",", ":"))
        return hmac.digest(key, text.encode(), "sha256").hex()[:LENGTH]

    # --- signs of life ----------------------------------------------------------------------------

    def sign(self, kind: str, node: str, subject: str, boot_id: str, number: int) -> str:
        """The value of a flare, an item or the lock: ``BOOT:NUMBER:MAC``, at most 116 characters.

        ``subject``: the node's instance, or the peer that the lock is for.
        """
        mac = self.seal(kind, node, subject, boot_id, str(number))
        return f"{boot_id}:{number}:{mac}"

    def read(self, kind: str, node: str, subject: str, value: str) -> Sign:
        """A flare, an item or the lock as it was read, with the result of the check of its seal."""
        key = (kind, node, subject, value)
        known = self._read.get(key)
        if known is None:
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            known = self._read[key] = self._understand(*key)
        return known

    def _understand(self, kind: str, node: str, subject: str, value: str) -> Sign:
        found = _SIGN.fullmatch(value)
        if found is None:
            return Sign(value, "", 0, FORGED if value else UNSIGNED)
        boot_id, number, mac = found.groups()
        seal = UNSIGNED
        if mac is not None:
            seal = VALID if self.holds(mac, kind, node, subject, boot_id, number) else FORGED
        return Sign(value, boot_id, int(number), seal)

    # --- marks of fences --------------------------------------------------------------------------

    def mark(self, peer: str, instance_id: str, fencer: str, stage: str, written: float) -> str:
        """The value of the tag that marks a peer: ``FENCER:SECONDS:MAC:STAGE``.

        At most 180 characters. ``written``: seconds since 1970.
        """
        moment = str(int(written))
        return f"{fencer}:{moment}:{self.seal(MARK, peer, instance_id, fencer, moment, stage)}:{stage}"

    def read_mark(self, peer: str, instance_id: str, value: str) -> Mark:
        """A mark as it was read, with the result of the check of its seal."""
        found = _MARK.fullmatch(value)
        if found is None:
            return Mark(value, "", "", 0, FORGED)
        fencer, moment, mac, stage = found.groups()
        if mac is None:
            return Mark(value, fencer, stage)
        holds = self.holds(mac, MARK, peer, instance_id, fencer, moment, stage)
        return Mark(value, fencer, stage, int(moment), VALID if holds else FORGED)
