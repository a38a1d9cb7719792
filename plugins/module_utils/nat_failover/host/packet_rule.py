# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet rule as the parsers of iptables' text and of nftables' JSON give it, and what rules of
others may do to the packets of clients.

Pure. The packets in question come in and go out by the same interface of this node.
"""

from __future__ import annotations

import typing as t

# Values of Rule.verdict. DROP: the packet does not go on as it is. TRANSLATE: it gets an address
# of the rule.
ACCEPT, DROP, RETURN, TRANSLATE = "accept", "drop", "return", "translate"


class Rule(t.NamedTuple):
    """One rule of a chain."""

    text: str  # as its tool prints it
    verdict: str = ""  # ACCEPT | DROP | RETURN | TRANSLATE, or "" for none
    jumps: tuple[str, ...] = ()  # the chains that it leads to
    goto: bool = False  # it does not come back from there
    possible: bool = True  # a client's packet may match
    certain: bool = False  # each packet of a client matches


Chains = t.Mapping[str, t.Sequence[Rule]]


def matches_name(pattern: str, interface: str) -> bool:
    """Whether an interface's name fits a pattern, in which a last ``+`` or ``*`` stands for any rest."""
    return interface.startswith(pattern[:-1]) if pattern[-1:] in ("+", "*") else interface == pattern


def hazards(
    chains: Chains, base: str, *, before: str = "", fatal: t.Collection[str] = (DROP,)
) -> tuple[tuple[str, Rule], ...]:
    """The rules on the way of a client's packet through the chain ``base``, each with its chain,
    that may drop it.

    With ``before``, the text of a rule of ``base``: those on the way to that rule only, and also
    rules that keep a packet from it. ``fatal`` are the verdicts that count as such everywhere.
    """
    return tuple(_Walk(chains, base, before, fatal).found)


def ends_in(chains: Chains, base: str) -> bool:
    """Whether each packet of a client meets a final verdict in the chain ``base``, so that its
    policy decides on none.
    """
    return _Walk(chains, base, "", ()).ended


class _Walk:
    def __init__(self, chains: Chains, base: str, before: str, fatal: t.Collection[str]) -> None:
        self.found: list[tuple[str, Rule]] = []
        self._chains, self._base, self._before, self._fatal = chains, base, before, fatal
        self._seen = {base}
        self.ended = self._chain(base)

    def _chain(self, name: str) -> bool:
        """Go through a chain. Returns whether no packet of a client comes out of it."""
        top = name == self._base
        for rule in self._chains.get(name, ()):
            if top and self._before and rule.text == self._before:
                return True
            if not rule.possible:
                continue
            # In a base chain, a return or a goto leaves the rest to the policy.
            passed_by = top and self._before and (rule.verdict == RETURN or (rule.goto and rule.jumps))
            if rule.verdict in self._fatal or passed_by:
                self.found.append((name, rule))
            ended = [self._chain(target) for target in rule.jumps if self._first(target)]
            if not rule.certain:
                continue
            if rule.verdict in (ACCEPT, DROP, TRANSLATE) or (ended and all(ended)):
                return True
            if rule.verdict == RETURN or (rule.goto and rule.jumps):
                return False
        return False

    def _first(self, chain: str) -> bool:
        first = chain not in self._seen
        self._seen.add(chain)
        return first
