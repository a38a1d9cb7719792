# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heir's rewriting of a synchronised identity, a table of nftables.

Flows that come from the home are translated to the home's egress address, which is not an address
of the heir. So outside of connection tracking that address becomes the waiting address of the heir,
and the waiting address becomes the egress address on the way in, also inside of ICMP errors. The
rewriting knows no flows. It is in place at rest, where no packet has either address.
"""

from __future__ import annotations

import hashlib
import socket
import typing as t

from ..model.nat import Nat
from . import nft_batch
from .nft_batch import NETWORK, TRANSPORT, Message
from .nft_table import OwnTable
from .rule_tables import Runner

Send = t.Callable[[t.Sequence[Message]], None]

TABLE = "nat_failover_identities"
OURS = OwnTable("ip", TABLE)
LIST = OURS.listing
IN, OUT = "inward", "outward"
# Before connection tracking (-200) and after its defragmentation (-400), and after the translation
# of sources (100). linux/netfilter_ipv4.h
BEFORE, AFTER = -310, 400
PROTOCOL, SOURCE, DESTINATION, CHECKSUM = 9, 12, 16, 10  # offsets in an IPv4 header (RFC 791)
ICMP = b"\x01"
ERRORS = (3, 11, 12)  # unreachable and too big, time exceeded, parameter problem (RFC 792)
INNER = 8  # offset of the header inside of an ICMP error (RFC 792)


class MapRule(t.NamedTuple):
    """One rule: its chain, its expressions as the kernel reads them."""

    chain: str
    expressions: bytes


def rules(nat: Nat) -> tuple[MapRule, ...]:
    """The wanted rules, in order. Empty unless an identity is synchronised."""
    return tuple(
        each
        for identity in nat.identities
        if identity.synced
        for each in _of(nat.interface, socket.inet_aton(identity.synced), socket.inet_aton(identity.address))
    )


def _of(interface: str, egress: bytes, waiting: bytes) -> t.Iterator[MapRule]:
    inward, outward = (nft_batch.by_interface(key, interface) for key in (nft_batch.IN_NAME, nft_batch.OUT_NAME))
    yield MapRule(IN, inward + _swap(DESTINATION, waiting, egress))
    yield MapRule(OUT, outward + _swap(SOURCE, egress, waiting))
    for kind in ERRORS:
        about = nft_batch.holds(NETWORK, PROTOCOL, ICMP) + nft_batch.holds(TRANSPORT, 0, bytes((kind,)))
        yield MapRule(IN, inward + about + _swap_inside(SOURCE, waiting, egress))
        yield MapRule(OUT, outward + about + _swap_inside(DESTINATION, egress, waiting))


def _swap(offset: int, old: bytes, new: bytes) -> bytes:
    return nft_batch.holds(NETWORK, offset, old) + nft_batch.write(NETWORK, offset, new, CHECKSUM, pseudo=True)


def _swap_inside(offset: int, old: bytes, new: bytes) -> bytes:
    """The same in the header that an ICMP error is about.

    The checksum of that header follows. The sum over header and checksum together is the same as
    before, so the checksum of the ICMP error stays right as it is.
    """
    match = nft_batch.holds(TRANSPORT, INNER + offset, old)
    return match + nft_batch.write(TRANSPORT, INNER + offset, new, INNER + CHECKSUM)


def messages(nat: Nat) -> tuple[Message, ...]:
    """The transaction that replaces the table."""
    wanted, mark = rules(nat), _mark(nat)
    return (
        # A table that is declared again is there, and can be deleted in the same transaction.
        nft_batch.table(nft_batch.NEW_TABLE, TABLE),
        nft_batch.table(nft_batch.DELETE_TABLE, TABLE),
        nft_batch.table(nft_batch.NEW_TABLE, TABLE),
        nft_batch.chain(TABLE, IN, nft_batch.PREROUTING, BEFORE),
        nft_batch.chain(TABLE, OUT, nft_batch.POSTROUTING, AFTER),
        *(nft_batch.rule(TABLE, each.chain, each.expressions, mark) for each in wanted),
    )


def differences(nat: Nat, runner: Runner) -> list[str]:
    """The changes that ``apply`` would make, in words."""
    return OURS.difference(OURS.marks(runner), _marks_of(nat), "rewrites other addresses")


def apply(nat: Nat, runner: Runner, send: Send = nft_batch.transact) -> bool:
    """Put the table of a synchronised identity in place at once. Returns whether anything was changed.

    Raises ``NatFailoverError``.
    """
    if not differences(nat, runner):
        return False
    send(messages(nat))
    return True


def remove(runner: Runner) -> bool:
    """Remove the table. Returns whether it was there. Raises ``NatFailoverError``."""
    return OURS.remove(runner)


def _mark(nat: Nat) -> str:
    text = b"".join(each.chain.encode() + each.expressions for each in rules(nat))
    return hashlib.sha256(text).hexdigest()[:16]


def _marks_of(nat: Nat) -> dict[str, list[str]] | None:
    wanted, mark = rules(nat), _mark(nat)
    found: dict[str, list[str]] = {IN: [], OUT: []}
    for each in wanted:
        found[each.chain].append(mark)
    return found if wanted else None
