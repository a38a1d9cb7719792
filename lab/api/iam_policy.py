# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation of identity-based IAM policies: actions, resource ARNs and conditions. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Values = Mapping[str, list[str]]

ALLOWED, DENIED, IMPLICIT = "allowed", "explicitly denied", "not allowed"


class Unsupported(Exception):
    """A condition that this evaluation does not model. Said aloud, since guessing either way would prove nothing."""


def evaluate(
    policies: Iterable[Mapping[str, Any]],
    action: str,
    resource: str,
    context: Values,
    known: Callable[[str], bool] = lambda _key: True,
) -> str:
    """``ALLOWED``, ``DENIED`` (an explicit deny wins) or ``IMPLICIT``. ``context`` maps condition keys, in lower case, to their values.

    A condition on a key that is not ``known`` raises ``Unsupported``.
    """
    verdict = IMPLICIT
    for policy in policies:
        for statement in _list(policy.get("Statement", [])):
            if not _applies(statement, action, resource, context):
                continue
            _refuse_unknown(statement, known)
            if not _conditions_hold(statement, context):
                continue
            if statement.get("Effect") == "Deny":
                return DENIED
            verdict = ALLOWED
    return verdict


def _applies(statement: Mapping[str, Any], action: str, resource: str, context: Values) -> bool:
    if "Action" in statement:
        if not any(_like(action.lower(), str(pattern).lower()) for pattern in _list(statement["Action"])):
            return False
    elif any(_like(action.lower(), str(pattern).lower()) for pattern in _list(statement.get("NotAction", ["*"]))):
        return False
    if "Resource" in statement:
        if not any(_like(resource, _substitute(str(pattern), context)) for pattern in _list(statement["Resource"])):
            return False
    elif any(
        _like(resource, _substitute(str(pattern), context)) for pattern in _list(statement.get("NotResource", ["*"]))
    ):
        return False
    return True


def _refuse_unknown(statement: Mapping[str, Any], known: Callable[[str], bool]) -> None:
    for block in statement.get("Condition", {}).values():
        for key in block:
            if not known(key):
                raise Unsupported(f"condition key {key}")


def _conditions_hold(statement: Mapping[str, Any], context: Values) -> bool:
    return all(
        _condition(operator, key, [_substitute(str(each), context) for each in _list(wanted)], context)
        for operator, block in statement.get("Condition", {}).items()
        for key, wanted in block.items()
    )


def _condition(operator: str, key: str, wanted: list[str], context: Values) -> bool:
    quantifier, _colon, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    values = context.get(key.lower())
    if name == "Null":
        return (not values) == (wanted[0].lower() == "true")
    negated = name in (
        "StringNotEquals",
        "StringNotLike",
        "StringNotEqualsIgnoreCase",
        "ArnNotLike",
        "ArnNotEquals",
        "NotIpAddress",
    )

    def one(value: str) -> bool:
        return any(_test(name, value, each) for each in wanted) != negated

    if quantifier == "ForAllValues":
        return all(one(value) for value in values or [])  # AWS: true for a key that is absent
    if quantifier == "ForAnyValue":
        return any(one(value) for value in values or [])
    if quantifier:
        raise Unsupported(f"condition operator {operator}")
    if not values:
        _test(name, "", "")  # an unknown operator is to be noticed in any case
        return if_exists or negated
    return one(values[0])


def _test(name: str, value: str, wanted: str) -> bool:
    if name in ("StringEquals", "StringNotEquals"):
        return value == wanted
    if name in ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "Bool"):
        return value.lower() == wanted.lower()
    if name in ("StringLike", "StringNotLike", "ArnLike", "ArnNotLike", "ArnEquals", "ArnNotEquals"):
        return _like(value, wanted)
    if name in ("IpAddress", "NotIpAddress"):
        return bool(value) and ipaddress.ip_address(value) in ipaddress.ip_network(wanted)
    raise Unsupported(f"condition operator {name}")


def _like(value: str, pattern: str) -> bool:
    """``*`` and ``?`` only; brackets mean themselves."""
    return (
        re.fullmatch("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern), value, re.DOTALL)
        is not None
    )


def _substitute(text: str, context: Values) -> str:
    """Policy variables such as ``${aws:userid}``. One that has no value matches nothing."""

    def value(match: re.Match[str]) -> str:
        found = context.get(match[1].lower())
        return found[0] if found else "\0"

    return re.sub(r"\$\{([^}]+)\}", value, text) if "${" in text else text


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
