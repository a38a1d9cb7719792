# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the policy routing (ip-rule(8)) that drop packets of clients.

The canary has an address of its own, so a rule that names addresses of clients does not concern it.
"""

from __future__ import annotations

import ipaddress
import json
import typing as t

from ..errors import NatFailoverError
from ..model.nat import Nat
from .packet_rule import matches_name
from .rule_tables import Runner, run

LISTS = {False: ["ip", "-json", "rule", "show"], True: ["ip", "-6", "-json", "rule", "show"]}  # by: is it IPv6?
DROPPING = ("blackhole", "unreachable", "prohibit")
# Selectors that only some packets of a network match, or none of a client.
NARROW = ("fwmark", "dst", "oif", "tos", "ipproto", "sport", "sport_start", "dport", "dport_start", "uid_start")


def dropping(nat: Nat, runner: Runner) -> tuple[str, ...]:
    """The rules that drop each packet of clients in a network, in words.

    Raises ``NatFailoverError`` if they cannot be listed.
    """
    found: list[str] = []
    for ipv6, argv in LISTS.items():
        networks = nat.of_family(ipv6)
        if networks:
            found += _dropping(run(argv, runner), networks, nat.interface)
    return tuple(found)


def _dropping(text: str, networks: t.Sequence[str], interface: str) -> list[str]:
    try:
        rules = [rule for rule in json.loads(text or "[]") if isinstance(rule, dict)]
    except (ValueError, TypeError):
        raise NatFailoverError(f"ip printed no JSON of its kind: {text[:80]!r}") from None
    return [_words(rule) for rule in rules if _drops(rule, networks, interface)]


def _drops(rule: t.Mapping[str, t.Any], networks: t.Sequence[str], interface: str) -> bool:
    """Whether each packet of clients with an address in the rule's network is dropped by it."""
    way = str(rule.get("iif", interface))
    if rule.get("action") not in DROPPING or "not" in rule or any(key in rule for key in NARROW):
        return False
    return matches_name(way, interface) and any(_overlap(_source(rule), network) for network in networks)


def _source(rule: t.Mapping[str, t.Any]) -> str:
    source = str(rule.get("src", "all"))
    return f"{source}/{rule['srclen']}" if "srclen" in rule else source


def _overlap(source: str, network: str) -> bool:
    if source == "all":
        return True
    try:
        one, two = ipaddress.ip_network(source, strict=False), ipaddress.ip_network(network)
    except ValueError:
        return False
    return one.version == two.version and one.overlaps(two)


def _words(rule: t.Mapping[str, t.Any]) -> str:
    """As ip-rule(8) prints it."""
    way = f" iif {rule['iif']}" if "iif" in rule else ""
    return f"{rule.get('priority')}: from {_source(rule)}{way} {rule.get('action')}"
