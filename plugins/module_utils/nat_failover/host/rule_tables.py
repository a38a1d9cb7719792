# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads tables of the packet filter with iptables, and with nft what iptables cannot print."""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError
from . import iptables_text, nft_json
from .packet_rule import Rule
from .wanted_rules import Chain

Runner = t.Callable[..., tuple[int, str, str]]
Table = t.Mapping[str, t.Sequence[Rule]]  # chain -> its rules; a chain that does not exist is missing

TIMEOUT = 5.0  # seconds for one command
ABSENT = 1  # the exit code of iptables for a chain or rule that is not there (and no other failure)
FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}  # command -> family of nftables


def read(command: str, table: str, chains: t.Sequence[Chain], interface: str, runner: Runner) -> Table:
    """One table, at least its ``chains`` of this product and their built-in ones.

    iptables-save prints no table that holds a rule in nftables' own words, in any of its chains.
    Such a table is read chain by chain. Raises ``NatFailoverError`` for a table that cannot be
    read.
    """
    whole = iptables_text.table_of(run([f"{command}-save", "-t", table], runner), table, interface)
    if whole is not None:
        return whole
    found: dict[str, t.Sequence[Rule]] = {}
    for chain in chains:
        listed = _listed(command, table, chain.name, interface, runner)
        if listed is not None:
            found[chain.name] = listed
        if chain.built_in not in found:
            found[chain.built_in] = _built_in(command, chain, interface, runner)
    return found


def _built_in(command: str, chain: Chain, interface: str, runner: Runner) -> t.Sequence[Rule]:
    listed = _listed(command, chain.table, chain.built_in, interface, runner)
    if listed is not None:
        return listed
    try:
        return _by_nft(FAMILIES[command], chain, interface, runner)
    except NatFailoverError:
        # Without nft the other rules of the chain stay unknown.
        there = answer([command, *WAIT, "-t", chain.table, "-C", *chain.jump.split()[1:]], runner)
        return (Rule(chain.jump),) if there else ()


WAIT = ("--wait", "5")  # seconds for the lock of the legacy backend


def _listed(command: str, table: str, name: str, interface: str, runner: Runner) -> t.Sequence[Rule] | None:
    """The rules of one chain. None if it does not exist, or holds a rule that iptables cannot print."""
    code, out, err = runner([command, *WAIT, "-t", table, "-S", name], timeout=TIMEOUT)
    if code == ABSENT:
        return None
    if code:
        raise failed([command], code, out, err)
    return iptables_text.chains_of(out.splitlines(), interface).get(name, ())


def _by_nft(family: str, chain: Chain, interface: str, runner: Runner) -> t.Sequence[Rule]:
    """A built-in chain of iptables that holds a rule in nftables' own words.

    The jump to the chain of this product gets its text as iptables prints it.
    """
    text = run(["nft", "--json", "list", "chain", family, chain.table, chain.built_in], runner)
    found = nft_json.ruleset(text, interface, family == "ip6").chains
    prefix = f"{family} {chain.table} "
    plain = [
        rule._replace(jumps=tuple(target[len(prefix) :] for target in rule.jumps))
        for rule in found.get(prefix + chain.built_in, ())
    ]
    ours = (chain.name,)
    return [rule._replace(text=chain.jump) if rule.certain and rule.jumps == ours else rule for rule in plain]


def answer(argv: list[str], runner: Runner) -> bool:
    """Whether what a command of iptables names is there. Raises ``NatFailoverError``."""
    code, out, err = runner(argv, timeout=TIMEOUT)
    if code not in (0, ABSENT):
        raise failed(argv, code, out, err)
    return not code


def run(argv: list[str], runner: Runner, stdin: str = "") -> str:
    """The output of a command. Raises ``NatFailoverError``."""
    code, out, err = runner(argv, timeout=TIMEOUT, stdin=stdin)
    if code:
        raise failed(argv, code, out, err)
    return out


def failed(argv: t.Sequence[str], code: int, out: str, err: str) -> NatFailoverError:
    """The error of a command that did not do what it should."""
    remedy = f"is {argv[0]} installed, and does this user have CAP_NET_ADMIN?"
    return NatFailoverError(f"{argv[0]} failed ({code}): {' '.join((err or out).split())[:300]}; {remedy}")
