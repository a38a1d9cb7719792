# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a parsed JSON object and refuses what is not as it must be, naming the key, the value and the remedy."""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import ConfigError


class Reader:
    """Reads one JSON object key by key and knows which keys nobody asked for."""

    def __init__(self, path: str, raw: t.Any) -> None:
        if not isinstance(raw, dict):
            raise ConfigError(
                path.rstrip(".") or "config", raw, "must be an object", "see docs/architecture.md for the shape"
            )
        self._path = path
        self._raw = raw
        self._asked: t.Set[str] = set()

    @property
    def empty(self) -> bool:
        return not self._raw

    def _get(self, key: str, default: t.Any) -> t.Any:
        self._asked.add(key)
        value = self._raw.get(key)
        if value is None:
            value = default
        if value is None:
            raise ConfigError(self._path + key, None, "is missing", "set it")
        return value

    def text(self, key: str, default: t.Optional[str] = None, pattern: str = "") -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise ConfigError(self._path + key, value, "must be a string", "put it in quotes")
        if pattern and not re.fullmatch(pattern, value):
            raise ConfigError(self._path + key, value, "does not look right", "it must match %s" % pattern)
        return value

    def texts(self, key: str, default: t.Optional[t.List[str]], pattern: str = "") -> t.List[str]:
        value = self._get(key, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(self._path + key, value, "must be a list of strings", 'write ["..."]')
        for item in value:
            if pattern and not re.fullmatch(pattern, item):
                raise ConfigError(self._path + key, item, "does not look right", "it must match %s" % pattern)
        return value

    def items(self, key: str) -> t.List[t.Any]:
        value = self._get(key, None)
        if not isinstance(value, list):
            raise ConfigError(self._path + key, value, "must be a list", "see docs/architecture.md for the shape")
        return value

    def choice(self, key: str, choices: t.Tuple[str, ...], default: str) -> str:
        value = self._get(key, default)
        if value not in choices:
            raise ConfigError(self._path + key, value, "is unknown", "choose one of: %s" % ", ".join(choices))
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(self._path + key, value, "must be a number", "write it without quotes")
        if not least <= value <= most:
            raise ConfigError(self._path + key, value, "is out of range", "choose %s to %s" % (least, most))
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.number(key, default, least, most)
        if value != int(value):
            raise ConfigError(self._path + key, value, "must be a whole number", "write it without a fraction")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise ConfigError(self._path + key, value, "must be true or false", "write it without quotes")
        return value

    def path(self, key: str, default: t.Optional[str], example: str = "") -> str:
        value = self.text(key, default)
        if not os.path.isabs(value):
            # The service, the modules and the command do not share a working directory.
            raise ConfigError(
                self._path + key, value, "is not an absolute path", "write e.g. %s" % (example or default)
            )
        return value

    def section(self, key: str) -> "Reader":
        return Reader(self._path + key + ".", self._get(key, {}))

    def refuse_unknown(self) -> None:
        for key in sorted(set(self._raw) - self._asked):
            raise ConfigError(
                self._path + key, self._raw[key], "is unknown", "known here: %s" % ", ".join(sorted(self._asked))
            )


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
