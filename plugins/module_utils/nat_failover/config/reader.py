# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a parsed JSON object.

A value of a wrong type or form is refused with its key, the value and the remedy.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import ConfigError

SHAPE = "see docs/architecture.md for the shape"


class Form(t.NamedTuple):
    """The form of a text: a pattern for this program, and a remedy for the operator."""

    noun: str  # "invalid <noun> 'value'"
    pattern: str
    remedy: str

    def check(self, key: str, value: str) -> None:
        """Raise ``ConfigError`` for a value of another form."""
        if not re.fullmatch(self.pattern, value):
            raise ConfigError(key, value, f"invalid {self.noun} {value!r}", self.remedy, shown=True)


class Reader:
    """Reads one JSON object key by key, and remembers the keys that were read.

    Each method returns the value of a key, or ``default`` for a key that is missing or null. A key
    without a default is required. Each method raises ``ConfigError`` for a value that does not fit.
    """

    def __init__(self, path: str, raw: t.Any) -> None:
        """``path``: the place of the object in the file, such as ``nodes[0].``, for errors."""
        if not isinstance(raw, dict):
            raise ConfigError(path.rstrip(".") or "config", raw, "must be an object", SHAPE)
        self._path = path
        self._raw = raw
        self._known: set[str] = set()

    @property
    def empty(self) -> bool:
        """Whether the object has no key."""
        return not self._raw

    def _get(self, key: str, default: t.Any) -> t.Any:
        self._known.add(key)
        value = self._raw.get(key)
        if value is None:
            value = default
        if value is None:
            raise ConfigError(self._path + key, None, "is missing", "set it")
        return value

    def text(self, key: str, default: str | None = None, form: Form | None = None) -> str:
        """A string. A default need not have the form."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise ConfigError(self._path + key, value, "must be a string", "put it in quotes")
        if form is not None and value != default:
            form.check(self._path + key, value)
        return value

    def texts(self, key: str, default: list[str] | None, form: Form | None = None) -> list[str]:
        """A list of strings."""
        value = self._get(key, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(self._path + key, value, "must be a list of strings", 'write ["..."]')
        if form is not None:
            for item in value:
                form.check(self._path + key, item)
        return value

    def items(self, key: str, default: list[t.Any] | None = None) -> list[t.Any]:
        """A list of anything."""
        value = self._get(key, default)
        if not isinstance(value, list):
            raise ConfigError(self._path + key, value, "must be a list", SHAPE)
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of ``choices``."""
        value = self._get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise ConfigError(self._path + key, value, "is unknown", f"choose one of: {', '.join(choices)}")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """A number from ``least`` to ``most``, in the unit of the key."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(self._path + key, value, "must be a number", "write it without quotes")
        if not least <= value <= most:
            raise ConfigError(self._path + key, value, "is out of range", f"choose {least} to {most}")
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``, in the unit of the key."""
        value = self.number(key, default, least, most)
        if value != int(value):
            raise ConfigError(self._path + key, value, "must be a whole number", "write it without a fraction")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise ConfigError(self._path + key, value, "must be true or false", "write it without quotes")
        return value

    def path(self, key: str, default: str | None, example: str = "") -> str:
        """An absolute path. ``example`` stands in the remedy if there is no default."""
        value = self.text(key, default)
        if not os.path.isabs(value):
            # The service, the modules and the command do not share a working directory.
            raise ConfigError(self._path + key, value, "is not an absolute path", f"write e.g. {example or default}")
        return value

    def table(self, key: str) -> dict[str, str]:
        """An object of strings. A missing one is empty."""
        value = self._get(key, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise ConfigError(self._path + key, value, "must be an object of strings", 'write {"name": "..."}')
        return dict(value)

    def section(self, key: str) -> Reader:
        """The reader of the object under ``key``. A missing one is empty."""
        return Reader(self._path + key + ".", self._get(key, {}))

    def refuse_unknown(self) -> None:
        """Raise ``ConfigError`` for a key that was not read. Call this after the last key."""
        for key in sorted(set(self._raw) - self._known):
            known = f"known here: {', '.join(sorted(self._known))}"
            raise ConfigError(self._path + key, self._raw[key], "is unknown", known)


def refuse_duplicates(key: str, values: t.Sequence[t.Any], remedy: str) -> None:
    """Raise ``ConfigError`` for the first value that is there a second time."""
    seen = set()
    for value in values:
        if value in seen:
            raise ConfigError(key, value, "appears twice", remedy)
        seen.add(value)


def refuse_empty(key: str, values: t.Sequence[t.Any], remedy: str) -> None:
    """Raise ``ConfigError`` if there is no value."""
    if not values:
        raise ConfigError(key, [], "is empty", remedy)
