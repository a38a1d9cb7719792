# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of the journal with fields, so that ``journalctl NAT_PEER=nat-b`` finds them.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import logging
import os
import socket
import typing as t
import uuid

SOCKET = "/run/systemd/journal/socket"
WITHIN = 1.0  # seconds in which the journal must take an entry
IDENTIFIER = "nat-failover"
# The kinds of events have fixed ids below this one, as names in the sense of RFC 4122.
NAMESPACE = uuid.UUID("6f1b0c1e-6a55-4f0e-9a5b-1d0a6f7f6f43")
LEFT_OUT = ("kind", "text", "at", "monotonic")  # the entry's own text and times

Scalar = t.Union[str, int, float, bool]


def message_id(kind: str) -> str:
    """The MESSAGE_ID of a kind of event: 32 hexadecimal digits, the same in all versions."""
    return uuid.uuid5(NAMESPACE, kind).hex


def fields_of(event: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The fields of an event: NAT_EVENT for its kind, and NAT_ with its name for each scalar."""
    found = {"MESSAGE_ID": message_id(str(event.get("kind"))), "NAT_EVENT": str(event.get("kind"))}
    for key, value in event.items():
        if key not in LEFT_OUT and isinstance(value, (str, int, float)) and key.isidentifier() and key.isascii():
            found[f"NAT_{key.upper()}"] = str(value)
    return found


def encode(fields: t.Mapping[str, str]) -> bytes:
    """One entry as a datagram. A value of several lines has its length before it."""
    parts = []
    for key, text in fields.items():
        value = text.encode("utf-8", "replace")
        if b"\n" in value:
            parts.append(key.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
        else:
            parts.append(key.encode() + b"=" + value + b"\n")
    return b"".join(parts)


class JournalSocket(logging.Handler):
    """Sends records to the journal. ``otherwise`` gets those that it cannot take.

    A journal that hangs costs the lines of that time. Standard error leads to the same journal, and
    would block for as long as it hangs.
    """

    def __init__(
        self, otherwise: logging.Handler, priorities: t.Mapping[int, int], fields: t.Mapping[str, str]
    ) -> None:
        """``fields``: those of every entry. Raises ``OSError`` without a journal on this host."""
        super().__init__()
        self._otherwise = otherwise
        self._priorities = priorities
        self._fields = {"SYSLOG_IDENTIFIER": IDENTIFIER, **fields}
        self.lost = 0  # lines
        self._lost_before = 0  # lines, at the begin of this hang
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            os.stat(SOCKET)
            self._socket.settimeout(WITHIN)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        priority = str(self._priorities.get(record.levelno, 6))
        entry = {"MESSAGE": self.format(record), "PRIORITY": priority, **self._fields}
        if hasattr(record, "event"):
            entry.update(fields_of(record.event))
        try:
            # Not connected: journald makes a new socket when it restarts.
            self._socket.sendto(encode(entry), SOCKET)
        except (socket.timeout, BlockingIOError):
            self.lost += 1
            self._socket.setblocking(False)  # the next lines do not wait for a journal that hangs
        except OSError:  # no journal now, or an entry too long for a datagram
            self._otherwise.handle(record)
        else:
            self._told()

    def _told(self) -> None:
        """The journal takes entries: it gets the number of those that it did not take."""
        missing, self._lost_before = self.lost - self._lost_before, self.lost
        if missing:
            self._socket.settimeout(WITHIN)
            text = f"log: the journal took nothing for a while: {missing} lines are missing before this one"
            record = logging.makeLogRecord({"name": "nat-failover", "levelno": logging.WARNING, "msg": text})
            self.emit(record)

    def close(self) -> None:
        self._socket.close()
        super().close()
