# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables as an operator gives them, brought to the types of a role's argument specification.

An INI inventory and ``-e name=value`` give text where YAML gives a boolean or a number. Both mean
the same. Nothing here knows a certain role. Bad input is an ``ArgumentError``: one line that names
the variable, the value and the remedy.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import typing as t

from ansible.module_utils.common.validation import check_type_bool, check_type_dict, check_type_list

Options = t.Mapping[str, t.Mapping[str, t.Any]]
# Two names that share at least this part of their characters are taken for one name and its
# misspelling.
ALIKE = 0.6
# A name without the prefix of the role may be the operator's own: only a near miss is taken for a
# misspelling.
NEARLY_EQUAL = 0.9


class ArgumentError(ValueError):
    """A variable that is refused; ``str()`` is fit to be shown to an operator."""


def arguments(given: t.Mapping[str, t.Any], options: Options) -> dict[str, t.Any]:
    """The values of all options that are given or have a default, typed as ``options`` says.

    The result holds only options, in the order of ``options``; within a dictionary the operator's
    order stays. A number that is typed already stays as it is. Raises ``ArgumentError`` for the
    first value that does not fit.
    """
    result: dict[str, t.Any] = {}
    for name, option in options.items():
        value = given.get(name)
        if value is None:
            value = option.get("default")
        if value is None or (name not in given and "{{" in str(value)):
            continue  # a default that is a template is known to Ansible only
        result[name] = _typed(name, value, option)
    return result


def problem(
    names: t.Iterable[str],
    given: t.Mapping[str, t.Any],
    specs: t.Mapping[str, t.Mapping[str, t.Any]],
    prefix: str,
    known: t.Collection[str] = (),
    partial: bool = False,
) -> str:
    """The first reason, in one line, for which variables are refused; empty: none.

    ``names`` are all variables that there are, ``given`` the values of those that ``specs`` names.
    ``specs`` are argument specifications by entry point; ``known`` are names that other
    specifications document. Which entry point is meant is not known, so variables that one of them
    takes are enough; with ``partial`` none is required.
    """
    entries = [t.cast(Options, spec.get("options") or {}) for spec in specs.values()]
    documented = {name for options in entries for name in options} | set(known)
    for name, near in misspelled(names, documented, prefix):
        return explain_unknown(name, near)
    lacking = [(_missing(given, options), options) for options in entries]
    if not partial and lacking and all(absent for absent, _options in lacking):
        absent, options = lacking[0]
        return "{} is missing; set it in the inventory ({})".format(
            absent[0],
            _first_sentence(options[absent[0]].get("description", "")),
        )
    try:
        for options in entries:
            arguments(given, options)
    except ArgumentError as error:
        return str(error)
    return ""


def _missing(given: t.Mapping[str, t.Any], options: Options) -> list[str]:
    return [name for name, option in options.items() if option.get("required") and given.get(name) in (None, "")]


def misspelled(names: t.Iterable[str], known: t.Collection[str], prefix: str) -> t.Iterator[tuple[str, str]]:
    """(name, nearest known name or empty) of each of ``names`` that is no known one but was meant
    to be.

    Each unknown name that begins with ``prefix`` is one, and each other name that is nearly a known
    one.
    """
    ends = [name[len(prefix) :] for name in known if name.startswith(prefix)]
    for name in sorted(set(names) - set(known)):
        if name.startswith(prefix):
            # Without the prefix, which alone would make any two names alike.
            near = nearest(name[len(prefix) :], ends)
            yield name, prefix + near if near else ""
        else:
            close = difflib.get_close_matches(name, known, n=1, cutoff=NEARLY_EQUAL)
            if close:
                yield name, close[0]


def nearest(name: str, known: t.Collection[str]) -> str:
    """The known name that resembles ``name`` most; empty when none does."""
    return "".join(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE))


def explain_unknown(name: str, near: str) -> str:
    """One line about an unknown name.

    Its value is not shown, since it may be a key whose name is misspelled.
    """
    return "{} is not known; {}".format(name, f"did you mean {near}?" if near else "correct its name or remove it")


def _typed(name: str, value: t.Any, option: t.Mapping[str, t.Any]) -> t.Any:
    secret = bool(option.get("no_log"))
    kind = option.get("type", "str")
    try:
        result = _CONVERTERS[kind](value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        raise ArgumentError(_refusal(name, value, _WANTED[kind], secret)) from None
    if kind == "list":
        element = {**option, "type": option.get("elements", "raw")}
        result = [_typed(f"{name}[{index}]", each, element) for index, each in enumerate(result)]
    elif kind == "dict" and option.get("options") is not None:
        result = _section(name, result, option["options"])
    choices = option.get("choices")
    if choices is not None and kind != "list" and result not in choices:
        near = nearest(str(result), [str(each) for each in choices])
        wanted = "one of {}".format(", ".join(str(each) for each in choices))
        raise ArgumentError(_refusal(name, value, wanted, secret) + (f", perhaps {near}" if near else ""))
    return result


def _section(name: str, value: t.Mapping[str, t.Any], options: Options) -> dict[str, t.Any]:
    """The keys that the operator gives, in his order; what he leaves out, or empties, stays out."""
    for key in value:
        if key not in options:
            near = nearest(str(key), list(options))
            line = explain_unknown(f"{name}.{key}", near and f"{name}.{near}")
            raise ArgumentError("{} Its keys are: {}".format(line if near else line + ".", ", ".join(options)))
    return {key: _typed(f"{name}.{key}", each, options[key]) for key, each in value.items() if each is not None}


def _text(value: t.Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(value)
    return str(value)


def _number(value: t.Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(value)
    if isinstance(value, str):
        text = value.strip()
        # Not int(text) for all: Python reads 1_000 and other forms that no configuration has.
        value = int(text) if text.lstrip("+-").isdecimal() else float(text)
        if "_" in text:
            raise ValueError(text)
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _whole(value: t.Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _boolean(value: t.Any) -> bool:
    return bool(check_type_bool(value.strip() if isinstance(value, str) else value))


def _sequence(value: t.Any) -> list[t.Any]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            return list(_literal(text))
        return [each.strip() for each in text.split(",") if each.strip()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    return list(check_type_list(value))


def _mapping(value: t.Any) -> dict[str, t.Any]:
    if isinstance(value, str) and value.strip().startswith("{"):
        value = _literal(value.strip())
    return dict(check_type_dict(value))


def _literal(text: str) -> t.Any:
    """A list or dictionary in the form of JSON, or of Python as INI inventories have it."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


_CONVERTERS: t.Mapping[str, t.Callable[[t.Any], t.Any]] = {
    "str": _text,
    "path": _text,
    "bool": _boolean,
    "int": _whole,
    "float": _number,
    "list": _sequence,
    "dict": _mapping,
    "raw": lambda value: value,
}
_WANTED: t.Mapping[str, str] = {
    "str": "text; put it in quotes",
    "path": "a path",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list, e.g. [one, two]",
    "dict": "a dictionary, e.g. {key: value}",
    "raw": "anything",
}


def _refusal(name: str, value: t.Any, wanted: str, secret: bool) -> str:
    shown = "" if secret else f" (got {_plain(value)!r})"
    return f"{name}{shown} must be {wanted}"


def _plain(value: t.Any) -> t.Any:
    """Text without Ansible's marks, which ``repr`` of a subclass might show."""
    return str(value) if isinstance(value, str) else value


def _first_sentence(description: t.Any) -> str:
    text = description if isinstance(description, str) else " ".join(description)
    return text.partition(". ")[0].rstrip(".")
