# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast path of nftables for established flows (a flow table).

Its packets pass no chain of FORWARD any more. The first packets of each flow pass them all, and a
flow enters only after its answer has. Source: the kernel's
Documentation/networking/nf_flowtable.rst.
"""

from __future__ import annotations

import hashlib

from ..errors import NatFailoverError
from ..model.nat import Nat
from .nft_table import OwnTable
from .rule_tables import Runner, run

TABLE = "nat_failover"
OURS = OwnTable("inet", TABLE)
LIST = OURS.listing


def script(nat: Nat) -> str:
    """The table as nft reads it. The chain comes after those of iptables, which may refuse a packet."""
    way = f'iifname "{nat.interface}" oifname "{nat.interface}" meta l4proto {{ tcp, udp }} ct state established'
    flows = [
        f"{way} {family} saddr {{ {', '.join(sources)} }} flow add @fast"
        for family, sources in (("ip", nat.of_family(False)), ("ip6", nat.of_family(True)))
        if sources
    ]
    mark = hashlib.sha256("\n".join(flows).encode()).hexdigest()[:16]
    lines = [
        f"table inet {TABLE} {{",
        f'flowtable fast {{ hook ingress priority 0; devices = {{ "{nat.interface}" }}; }}',
        "chain forward { type filter hook forward priority 10; policy accept;",
        *(f'{flow} comment "{mark}"' for flow in flows),
        "} }",
    ]
    return "\n".join(lines) + "\n"


def differences(nat: Nat, runner: Runner) -> list[str]:
    """The changes that ``apply`` would make, in words."""
    return OURS.difference(_marks(runner), _marks_of(nat), "holds other flows")


def apply(nat: Nat, runner: Runner) -> bool:
    """Put the table in place at once, or remove it. Returns whether anything was changed.

    Raises ``NatFailoverError``.
    """
    if not differences(nat, runner):
        return False
    if not nat.flowtable:
        return remove(runner)
    # A table that is declared again is there, and can be deleted in the same transaction.
    text = f"table inet {TABLE}\ndelete table inet {TABLE}\n{script(nat)}"
    try:
        run(["nft", "-f", "-"], runner, stdin=text)
    except NatFailoverError as error:
        raise NatFailoverError(
            f"acceleration.flowtable (got true): {error}; without flow tables in the kernel (CONFIG_NF_FLOW_TABLE) "
            "leave it out"
        ) from None
    return True


def remove(runner: Runner) -> bool:
    """Remove the table. Returns whether it was there. Raises ``NatFailoverError``."""
    return OURS.remove(runner)


def _marks_of(nat: Nat) -> tuple[str, ...] | None:
    if not nat.flowtable:
        return None
    return tuple(line.rpartition('comment "')[2].rstrip('"') for line in script(nat).splitlines() if "comment" in line)


def _marks(runner: Runner) -> tuple[str, ...] | None:
    """The comments of the rules that are there. None: there is no such table, or no nft."""
    found = OURS.marks(runner)
    return None if found is None else tuple(mark for marks in found.values() for mark in marks)
