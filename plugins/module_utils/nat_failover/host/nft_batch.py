# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a table of nf_tables over netlink, in one transaction.

The command nft has no words for a write into the header inside an ICMP error that keeps a checksum
right: it sends a raw write without any. The kernel takes one (``NFTA_PAYLOAD_CSUM_*``). Sources:
linux/netfilter/nf_tables.h, nfnetlink.h, netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import typing as t

from ..errors import NatFailoverError

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES = 12, 10
BATCH_BEGIN, BATCH_END, NLMSG_ERROR = 16, 17, 2
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
REQUEST, ACK, CREATE, APPEND, NESTED = 0x1, 0x4, 0x400, 0x800, 0x8000
FAMILY_IPV4 = 2
PREROUTING, POSTROUTING = 0, 4  # NF_INET_PRE_ROUTING, NF_INET_POST_ROUTING
NETWORK, TRANSPORT = 1, 2  # headers: NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER
IN_NAME, OUT_NAME = 6, 7  # NFT_META_IIFNAME, NFT_META_OIFNAME
REGISTER = 1
NAME_LENGTH = 16  # IFNAMSIZ
COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT of libnftnl, which nft prints
HEADER = struct.Struct("=IHHII")  # nlmsghdr
WITHIN = 5.0  # seconds for the answers of the kernel


class Message(t.NamedTuple):
    """A message of a batch, without its number."""

    kind: int
    flags: int
    body: bytes


# --- attributes -----------------------------------------------------------------------------------


def _attribute(kind: int, value: bytes, nested: bool = False) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("=HH", len(value) + 4, kind | (NESTED if nested else 0)) + value + padding


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode("ascii") + b"\0")


def _data(kind: int, value: bytes) -> bytes:
    return _attribute(kind, _attribute(1, value), nested=True)


# --- expressions of a rule ------------------------------------------------------------------------


def _expression(name: str, body: bytes) -> bytes:
    return _attribute(1, _text(1, name) + _attribute(2, body, nested=True), nested=True)


def _equals(value: bytes) -> bytes:
    return _expression("cmp", _number(1, REGISTER) + _number(2, 0) + _data(3, value))


def by_interface(key: int, name: str) -> bytes:
    """The match of an interface. ``key``: ``IN_NAME`` or ``OUT_NAME``."""
    value = name.encode("ascii").ljust(NAME_LENGTH, b"\0")
    return _expression("meta", _number(1, REGISTER) + _number(2, key)) + _equals(value)


def holds(header: int, offset: int, value: bytes) -> bytes:
    """The match of bytes of a header."""
    where = _number(2, header) + _number(3, offset) + _number(4, len(value))
    return _expression("payload", _number(1, REGISTER) + where) + _equals(value)


def write(header: int, offset: int, value: bytes, checksum: int, pseudo: bool = False) -> bytes:
    """The write of bytes into a header.

    ``checksum``: the offset, in the same header, of the checksum that covers them. ``pseudo``: the
    checksum of the transport header covers them, too.
    """
    value_in = _expression("immediate", _number(1, REGISTER) + _data(2, value))
    where = _number(5, REGISTER) + _number(2, header) + _number(3, offset) + _number(4, len(value))
    return value_in + _expression("payload", where + _number(6, 1) + _number(7, checksum) + _number(8, int(pseudo)))


# --- messages -------------------------------------------------------------------------------------


def table(kind: int, name: str) -> Message:
    """``kind``: ``NEW_TABLE`` or ``DELETE_TABLE``. A new one may be there already."""
    return Message(kind, CREATE if kind == NEW_TABLE else 0, _text(1, name))


def chain(table_name: str, name: str, hook: int, priority: int) -> Message:
    """A base chain of the type filter that accepts what none of its rules drops."""
    at = _attribute(4, _number(1, hook) + _number(2, priority), nested=True)
    return Message(NEW_CHAIN, CREATE, _text(1, table_name) + _text(3, name) + at + _number(5, 1) + _text(7, "filter"))


def rule(table_name: str, chain_name: str, expressions: bytes, comment: str) -> Message:
    """A rule at the end of a chain. ``comment``: at most 127 ASCII characters."""
    told = comment.encode("ascii") + b"\0"
    body = _text(1, table_name) + _text(2, chain_name) + _attribute(4, expressions, nested=True)
    return Message(NEW_RULE, CREATE | APPEND, body + _attribute(7, bytes((COMMENT, len(told))) + told))


def encode(messages: t.Sequence[Message]) -> bytes:
    """The batch as one datagram. Its messages are numbered from 1."""
    parts = [_framed(BATCH_BEGIN, 0, 0, b"", 0, NFNL_SUBSYS_NFTABLES)]
    for number, each in enumerate(messages, 1):
        parts.append(_framed(NFNL_SUBSYS_NFTABLES << 8 | each.kind, each.flags | ACK, number, each.body, FAMILY_IPV4))
    parts.append(_framed(BATCH_END, 0, len(messages) + 1, b"", 0, NFNL_SUBSYS_NFTABLES))
    return b"".join(parts)


def _framed(kind: int, flags: int, number: int, body: bytes, family: int, resource: int = 0) -> bytes:
    packed = struct.pack("!BBH", family, 0, resource) + body
    return HEADER.pack(HEADER.size + len(packed), kind, flags | REQUEST, number, 0) + packed


def transact(messages: t.Sequence[Message]) -> None:
    """Send a batch to the kernel, which carries out all of it or nothing.

    Raises ``NatFailoverError``.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            kernel.settimeout(WITHIN)
            kernel.bind((0, 0))
            kernel.send(encode(messages))
            missing = set(range(1, len(messages) + 1))
            while missing:
                missing -= _answered(kernel.recv(65536))
    except OSError as error:
        known = {errno.EOPNOTSUPP: "the kernel lacks a part of nf_tables", errno.EPERM: "run this as root"}
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = known.get(error.errno or 0, "nft list ruleset shows what is there")
        raise NatFailoverError(f"nf_tables refused a table of this product: {reason}; {remedy}") from None


def _answered(data: bytes) -> set[int]:
    """The numbers of the messages that the kernel confirms.

    Raises ``OSError`` for one that it refuses.
    """
    found, at = set(), 0
    while at + HEADER.size <= len(data):
        length, kind, _flags, number, _port = HEADER.unpack_from(data, at)
        if kind == NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", data, at + HEADER.size)
            if code:
                raise OSError(-code, os.strerror(-code))
            found.add(number)
        at += max(HEADER.size, (length + 3) & ~3)
    return found
