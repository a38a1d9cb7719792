# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of iptables-save and of ``iptables -S``, read as rules. Pure."""

from __future__ import annotations

import shlex
import typing as t

from .packet_rule import ACCEPT, DROP, RETURN, TRANSLATE, Chains, Rule, matches_name

VERDICTS: t.Mapping[str, str] = {"ACCEPT": ACCEPT, "RETURN": RETURN, "SNAT": TRANSLATE, "NETMAP": TRANSLATE}
# Targets that let a packet go on to the next rule (iptables-extensions(8)), and those of NAT.
PASSING = frozenset(
    "AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DNAT DSCP ECN HL HMARK IDLETIMER LED LOG MARK MASQUERADE "
    "NFLOG RATEEST REDIRECT SECMARK SET TCPMSS TCPOPTSTRIP TEE TOS TRACE TTL ULOG".split()
)
IGNORED = {"-m": 1, "--comment": 1}  # options that restrict nothing, and how many words follow
INTERFACES = ("-i", "-o")


def table_of(text: str, table: str, interface: str) -> dict[str, tuple[Rule, ...]] | None:
    """The chains of one table in what iptables-save printed, by name.

    None if the text does not hold that table as a whole: a table that does not exist yet, or one
    that iptables cannot print, for which it writes a comment and exits with 0.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if f"*{table}" not in lines:
        return None
    lines = lines[lines.index(f"*{table}") + 1 :]
    if "COMMIT" not in lines:
        return None
    return chains_of(lines[: lines.index("COMMIT")], interface)


def chains_of(lines: t.Iterable[str], interface: str) -> dict[str, tuple[Rule, ...]]:
    """The chains of lines as iptables-save and ``iptables -S`` print them, by name.

    Chains without rules are among them.
    """
    found: dict[str, list[Rule]] = {}
    declared: list[str] = []
    for line in lines:
        if line.startswith(":") or line[:3] in ("-N ", "-P "):
            declared.append(line[1:].split()[0] if line.startswith(":") else line.split()[1])
        elif line.startswith("-A "):
            found.setdefault(line.split()[1], []).append(_parsed(line, interface))
    names = {*declared, *found}
    return {name: tuple(_with_jumps(rule, names) for rule in found.get(name, ())) for name in sorted(names)}


def jump(built_in: str, own: str) -> str:
    """The rule that leads from a built-in chain to one of this product."""
    return f"-A {built_in} -j {own}"


def copies(chains: Chains, built_in: str, text: str) -> int:
    """How often a chain holds the rule with this text."""
    return sum(rule.text == text for rule in chains.get(built_in, ()))


def _parsed(line: str, interface: str) -> Rule:
    words = _words(line)[2:]
    possible, certain, negated = True, True, False
    while words:
        word = words.pop(0)
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g") and words:
            target = words[0]
            return Rule(line, _verdict(target), (target,), word == "-g", possible, certain)
        if word in INTERFACES and words:
            fits = matches_name(words.pop(0), interface) != negated
            possible, certain = possible and fits, certain and fits
        elif word in IGNORED:
            del words[: IGNORED[word]]
        else:
            certain = False
        negated = False
    return Rule(line, "", (), False, possible, certain)


def _verdict(target: str) -> str:
    return VERDICTS.get(target, "" if target in PASSING else DROP)


def _with_jumps(rule: Rule, chains: t.Collection[str]) -> Rule:
    """A target is a chain of its own, or else an extension: the chains of the table tell."""
    if rule.jumps and rule.jumps[0] in chains:
        return rule._replace(verdict="")
    return rule._replace(jumps=(), goto=False)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote without its end
        return line.split()
