# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON of ``nft --json list``, read as rules (libnftables-json(5)). Pure."""

from __future__ import annotations

import json
import typing as t

from ..errors import NatFailoverError
from .iptables_text import PASSING, VERDICTS
from .packet_rule import ACCEPT, DROP, RETURN, TRANSLATE, Chains, Rule, matches_name

LONGEST = 8 * 1024 * 1024  # characters; a larger answer is not read
HOOKS = ("ingress", "prerouting", "forward", "postrouting")  # on the way of a forwarded packet
FINAL: t.Mapping[str, str] = {
    "accept": ACCEPT,
    "return": RETURN,
    "snat": TRANSLATE,
    **dict.fromkeys(("drop", "reject", "queue"), DROP),
}
# A packet that is not tracked is not translated.
UNTRACKED = "notrack"
INTERFACES = ("iif", "oif", "iifname", "oifname")
SILENT = ("counter", "comment", "log", "meter")  # statements that restrict nothing, left out of the text


class BaseChain(t.NamedTuple):
    """A chain that the kernel calls."""

    key: str  # "FAMILY TABLE CHAIN", as in the command ``nft list chain``
    policy: str  # accept | drop
    device: str  # of a chain of the family netdev; "": not named


class Ruleset(t.NamedTuple):
    """The chains of all tables by their keys, and the base chains that forwarded packets pass."""

    chains: Chains
    bases: tuple[BaseChain, ...]


def ruleset(text: str, interface: str, ipv6: bool) -> Ruleset:
    """Read an answer of nft.

    ``ipv6``: clients have IPv6 addresses, too. Raises ``NatFailoverError`` for an answer that is
    too long or no answer of nft.
    """
    chains: dict[str, list[Rule]] = {}
    bases: list[BaseChain] = []
    for kind, item in items(text):
        if kind == "chain":
            key = _key(item, "name")
            chains.setdefault(key, [])
            if item.get("hook") in HOOKS and (ipv6 or item.get("family") != "ip6"):
                device = item.get("dev", "")
                bases.append(
                    BaseChain(key, str(item.get("policy", "accept")), device if isinstance(device, str) else "")
                )
        elif kind == "rule":
            chains.setdefault(_key(item, "chain"), []).append(_Reader(item, interface, ipv6).rule())
    return Ruleset(chains, tuple(each for each in bases if each.device in ("", interface)))


def items(text: str) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """The parts of an answer of nft, each with its kind. Raises ``NatFailoverError``."""
    if len(text) > LONGEST:
        raise NatFailoverError(f"nft printed {len(text)} characters, more than {LONGEST} are not read")
    try:
        listed = json.loads(text)["nftables"]
        pairs = [pair for each in listed for pair in each.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NatFailoverError(f"nft printed no JSON of its kind: {text[:80]!r}") from None
    return ((kind, item) for kind, item in pairs if isinstance(item, dict))


def _key(item: t.Mapping[str, t.Any], name: str) -> str:
    return " ".join(str(item.get(part, "")) for part in ("family", "table", name))


class _Reader:
    """Reads the statements of one rule."""

    def __init__(self, item: t.Mapping[str, t.Any], interface: str, ipv6: bool) -> None:
        self._item, self._interface, self._ipv6 = item, interface, ipv6
        self._possible, self._certain = True, True
        self._verdict, self._goto = "", False
        self._jumps: list[str] = []

    def rule(self) -> Rule:
        """The rule. Statements that are not known make it uncertain."""
        listed = self._item.get("expr")
        statements = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        for statement in statements:
            for kind, value in statement.items():
                self._statement(kind, value)
        return Rule(
            " ".join(filter(None, map(text_of, statements))),
            self._verdict,
            tuple(self._jumps),
            self._goto,
            self._possible,
            self._certain,
        )

    def _statement(self, kind: str, value: t.Any) -> None:
        if kind in FINAL or kind == UNTRACKED:
            self._verdict = FINAL.get(kind, DROP)
        elif kind in ("jump", "goto"):
            self._lead(kind, value)
        elif kind == "match" and isinstance(value, dict):
            self._restrict(self._fits(value.get("left"), value.get("op"), value.get("right")))
        elif kind == "vmap" and isinstance(value, dict):
            self._map(value)
        elif kind == "xt" and isinstance(value, dict) and value.get("type") == "target":
            name = str(value.get("name"))
            self._verdict = VERDICTS.get(name, "" if name in PASSING and name != "CT" else DROP)
        elif kind not in SILENT:
            self._certain = False

    def _lead(self, kind: str, value: t.Any) -> None:
        if isinstance(value, dict):
            self._goto = self._goto or kind == "goto"
            self._jumps.append(_key({**self._item, "chain": value.get("target")}, "chain"))

    def _restrict(self, fits: bool | None) -> None:
        self._possible = self._possible and fits is not False
        self._certain = self._certain and fits is True

    def _map(self, value: t.Mapping[str, t.Any]) -> None:
        """A map of verdicts. The elements of a named one are not listed."""
        data = value.get("data")
        elements = data.get("set") if isinstance(data, dict) else None
        self._certain = False
        for element in elements if isinstance(elements, list) else ():
            if not (isinstance(element, list) and len(element) == 2 and isinstance(element[1], dict)):
                continue
            if self._fits(value.get("key"), "==", element[0]) is False:
                continue
            for kind, target in element[1].items():
                if kind in ("jump", "goto"):
                    self._lead(kind, target)
                elif FINAL.get(kind) == DROP:
                    self._verdict = DROP

    def _fits(self, left: t.Any, op: t.Any, right: t.Any) -> bool | None:
        """Whether packets of clients match: True for all, False for none, None for some perhaps."""
        fits = self._equal(left, right)
        if fits is None or op not in ("==", "!="):
            return None
        return fits if op == "==" else not fits

    def _equal(self, left: t.Any, right: t.Any) -> bool | None:
        meta, payload = (left.get(kind) if isinstance(left, dict) else None for kind in ("meta", "payload"))
        values = right.get("set") if isinstance(right, dict) else [right]
        if isinstance(payload, dict) and str(payload.get("protocol")).startswith(("ip6", "icmpv6")):
            return None if self._ipv6 else False
        if not isinstance(meta, dict) or not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            return None
        if meta.get("key") in INTERFACES:
            return any(matches_name(value, self._interface) for value in values)
        if meta.get("key") == "nfproto":
            fits = [("ipv6" if value == "ipv6" else "ipv4") for value in values]
            return "ipv4" in fits if not self._ipv6 else (True if set(fits) == {"ipv4", "ipv6"} else None)
        return None


def text_of(statement: t.Mapping[str, t.Any]) -> str:
    """A statement in words close to nft's own."""
    kind, value = next(iter(statement.items()), ("", None))
    if kind in SILENT:
        return ""
    if kind == "match" and isinstance(value, dict):
        op = {"==": "", "in": ""}.get(str(value.get("op")), str(value.get("op")))
        return " ".join(filter(None, (_expression(value.get("left")), op, _expression(value.get("right")))))
    if kind == "vmap" and isinstance(value, dict):
        return f"{_expression(value.get('key'))} vmap {_expression(value.get('data'))}"
    if kind in ("jump", "goto") and isinstance(value, dict):
        return f"{kind} {value.get('target')}"
    if kind == "xt" and isinstance(value, dict):
        return f"xt {value.get('type')} {value.get('name')}"
    if kind == "reject" and isinstance(value, dict):
        return " ".join(filter(None, ("reject with", str(value.get("type", "")), str(value.get("expr", "")))))
    return kind if value is None else f"{kind} {_expression(value)}"


def _expression(value: t.Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_expression, value))
    if not isinstance(value, dict):
        return json.dumps(value) if isinstance(value, bool) else str(value)
    kind, inner = next(iter(value.items()), ("", None))
    if kind == "set":
        return f"{{ {_expression(inner)} }}"
    if kind == "concat" and isinstance(inner, list):
        return " . ".join(map(_expression, inner))
    if kind == "prefix" and isinstance(inner, dict):
        return f"{inner.get('addr')}/{inner.get('len')}"
    if kind == "payload" and isinstance(inner, dict):
        return " ".join(str(inner[part]) for part in ("protocol", "field") if part in inner)
    if kind in ("meta", "ct") and isinstance(inner, dict):
        key = str(inner.get("key"))
        return key if key in INTERFACES else f"{kind} {key}"
    if kind == "range" and isinstance(inner, list):
        return "-".join(map(_expression, inner))
    return json.dumps(value)
