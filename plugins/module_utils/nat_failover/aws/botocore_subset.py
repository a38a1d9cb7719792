# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads only the parts of botocore's data files that describe ``calls``.

The rest would take a third of the service's memory.

boto3 stays the client library, and the data its own. The files are walked, and never held as
objects as a whole: that memory would stay with the process. Data of another shape (a later version,
a file of the operator's) is loaded as botocore does it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import typing as t
import zlib

from . import calls

try:
    from botocore.loaders import JSONFileLoader
except ImportError:
    JSONFileLoader = object

# Of each service whose model is thinned out.
USED = {service: calls.operations(service) for service in (calls.EC2, calls.DYNAMODB)}
# Services whose regional endpoints are kept. sts, oidc and portal.sso give credentials to an
# operator's profile.
SERVICES = frozenset(("ec2", "dynamodb", "sts", "oidc", "portal.sso"))
UNEXPECTED = (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError)
SPACE = re.compile(r"[ \t\r\n]*")


def apply(session: t.Any) -> None:
    """Let a botocore session load no more than what is used.

    A session with a loader of its own is left alone.
    """
    loader = session.get_component("data_loader")
    # A subclass was made on purpose.
    # pylint: disable-next=unidiomatic-typecheck
    if type(getattr(loader, "file_loader", None)) is JSONFileLoader:
        loader.file_loader = Lean()


class Lean(JSONFileLoader):
    """Loads botocore's data files, some of them in part."""

    def load_file(self, file_path: str) -> t.Any:
        """The data of a file, which is named without its extension. None if there is none."""
        name, service = os.path.basename(file_path), "".join(file_path.split(os.sep)[-3:-2])
        try:
            if name == "endpoints":
                return endpoints(_text(file_path))
            if name == "service-2" and service in USED:
                return model(_text(file_path), USED[service])
        except UNEXPECTED:
            pass
        return super().load_file(file_path)


def _text(file_path: str) -> str:
    """The bytes of a file as characters: half the size of its text, with the same syntax."""
    if os.path.isfile(file_path + ".json"):
        with open(file_path + ".json", "rb") as plain:
            return plain.read().decode("latin-1")
    with gzip.open(file_path + ".json.gz", "rb") as packed:
        return packed.read().decode("latin-1")


def model(text: str, used: frozenset[str] = USED[calls.EC2]) -> dict[str, t.Any]:
    """A service's model with the operations ``used`` and the shapes that they refer to.

    Raises one of ``UNEXPECTED``.
    """
    walk, shapes = Walk(text), {}
    found: dict[str, t.Any] = {"operations": {}, "shapes": {}}
    for key in walk.keys():
        if key == "operations":
            for name in walk.keys():
                if name in used:
                    found[key][name] = walk.value()
                else:
                    walk.skip()
        elif key == "shapes":
            for name in walk.keys():
                shapes[name] = walk.at
                walk.skip()
        else:
            found[key] = walk.value()
    if set(found["operations"]) != used or not found["metadata"]:
        raise ValueError("not a model that this was written for")
    missing = list(_references(found["operations"]))
    while missing:
        name = missing.pop()
        if name not in found["shapes"]:
            walk.at = shapes[name]
            found["shapes"][name] = walk.value()
            missing += _references(found["shapes"][name])
    return found


def endpoints(text: str) -> dict[str, t.Any]:
    """The list of partitions and regions with ``SERVICES``. Raises one of ``UNEXPECTED``."""
    walk = Walk(text)
    found: dict[str, t.Any] = {}
    for key in walk.keys():
        if key == "partitions":
            found[key] = [_partition(walk) for _partition_number in walk.items()]
        else:
            found[key] = walk.value()
    if not found["partitions"] or not all("ec2" in each["services"] for each in found["partitions"][:1]):
        raise ValueError("not a list of endpoints that this was written for")
    return found


def _partition(walk: Walk) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for key in walk.keys():
        if key != "services":
            found[key] = walk.value()
            continue
        found[key] = {}
        for name in walk.keys():
            if name in SERVICES:
                found[key][name] = walk.value()
            else:
                walk.skip()
    return found


def _references(value: t.Any) -> t.Iterator[str]:
    """The names of all shapes that a part of a model refers to."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "shape" and isinstance(each, str):
                yield each
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


class Walk:
    """A cursor in a JSON text.

    The caller moves it over each key or item: with ``value``, ``skip``, ``keys`` or ``items``.
    """

    def __init__(self, text: str) -> None:
        self.at = 0
        self._text = text
        self._skipping = json.JSONDecoder()
        self._keeping = json.JSONDecoder(object_pairs_hook=_undocumented)

    def keys(self) -> t.Iterator[str]:
        """The keys of the object under the cursor."""
        for _number in self._series("{", "}"):
            key = self.value()
            self._step(":")
            yield key

    def items(self) -> t.Iterator[int]:
        """The numbers of the items of the array under the cursor."""
        return self._series("[", "]")

    def value(self) -> t.Any:
        """The value under the cursor."""
        start = self._next()
        self.skip()
        return self._keeping.decode(self._text[start : self.at].encode("latin-1").decode("utf-8"))

    def skip(self) -> None:
        """Move over the value under the cursor."""
        _value, self.at = self._skipping.raw_decode(self._text, self._next())

    def _series(self, begin: str, end: str) -> t.Iterator[int]:
        self._step(begin)
        number = 0
        while self._text[self._next()] != end:
            if number:
                self._step(",")
            yield number
            number += 1
        self._step(end)

    def _step(self, expected: str) -> None:
        if self._text[self._next()] != expected:
            raise ValueError(f"no {expected!r} at {self.at}")
        self.at += 1

    def _next(self) -> int:
        """The cursor, moved over white space."""
        space = SPACE.match(self._text, self.at)
        self.at = space.end() if space is not None else self.at
        return self.at


def _undocumented(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """An object without its documentation. A member may have that name too, and is no text."""
    return {key: value for key, value in pairs if not (key == "documentation" and isinstance(value, str))}
