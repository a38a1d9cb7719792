# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of botocore's data files only what this product uses: a third of a service's memory would be descriptions of calls that it never makes.

boto3 stays the client library, and the data its own. The files are walked and never held as objects as a whole, or their memory would stay
with the process. Whatever is not as expected (another version, a file of the operator's) is loaded as botocore does it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import typing as t
import zlib

try:
    from botocore.loaders import JSONFileLoader
except ImportError:
    JSONFileLoader = object

OPERATIONS = frozenset(
    (
        "CreateRoute",
        "CreateTags",
        "DeleteTags",
        "DescribeInstances",
        "DescribeRouteTables",
        "ModifyNetworkInterfaceAttribute",
        "RebootInstances",
        "ReplaceRoute",
        "StartInstances",
        "StopInstances",
    )
)
# Of each service whose model is thinned out.
USED = {"ec2": OPERATIONS, "dynamodb": frozenset(("DeleteItem", "PutItem", "Query"))}
# Whose regional peculiarities are kept; the others serve an operator's profile that gets its credentials by them.
SERVICES = frozenset(("ec2", "dynamodb", "sts", "oidc", "portal.sso"))
UNEXPECTED = (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError)
SPACE = re.compile(r"[ \t\r\n]*")


def apply(session: t.Any) -> None:
    """Let this botocore session load no more than what is used; one that loads in a way of its own is left alone."""
    loader = session.get_component("data_loader")
    # pylint: disable-next=unidiomatic-typecheck
    if type(getattr(loader, "file_loader", None)) is JSONFileLoader:  # not a subclass: whoever made that had a reason
        loader.file_loader = Lean()


class Lean(JSONFileLoader):
    """Loads botocore's files, some of them in part."""

    def load_file(self, file_path: str) -> t.Any:
        """The data of a file, given without its extension; None if there is none."""
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
    """The file's bytes as characters: half as large as its text, and of the same syntax."""
    if os.path.isfile(file_path + ".json"):
        with open(file_path + ".json", "rb") as plain:
            return plain.read().decode("latin-1")
    with gzip.open(file_path + ".json.gz", "rb") as packed:
        return packed.read().decode("latin-1")


def model(text: str, used: t.FrozenSet[str] = OPERATIONS) -> t.Dict[str, t.Any]:
    """A service's model with our operations and the shapes that they refer to. Raises one of ``UNEXPECTED``."""
    walk, shapes = Walk(text), {}
    found: t.Dict[str, t.Any] = {"operations": {}, "shapes": {}}
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


def endpoints(text: str) -> t.Dict[str, t.Any]:
    """The list of partitions and regions with our services. Raises one of ``UNEXPECTED``."""
    walk = Walk(text)
    found: t.Dict[str, t.Any] = {}
    for key in walk.keys():
        if key == "partitions":
            found[key] = [_partition(walk) for _partition_number in walk.items()]
        else:
            found[key] = walk.value()
    if not found["partitions"] or not all("ec2" in each["services"] for each in found["partitions"][:1]):
        raise ValueError("not a list of endpoints that this was written for")
    return found


def _partition(walk: "Walk") -> t.Dict[str, t.Any]:
    found: t.Dict[str, t.Any] = {}
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
    """A cursor in a JSON text. Who is given a key or an item by it moves it on: with ``value``, ``skip``, ``keys`` or ``items``."""

    def __init__(self, text: str) -> None:
        self.at = 0
        self._text = text
        self._skipping = json.JSONDecoder()
        self._keeping = json.JSONDecoder(object_pairs_hook=_undocumented)

    def keys(self) -> t.Iterator[str]:
        """Of the object under the cursor."""
        for _number in self._series("{", "}"):
            key = self.value()
            self._step(":")
            yield key

    def items(self) -> t.Iterator[int]:
        """Of the array under the cursor: their numbers."""
        return self._series("[", "]")

    def value(self) -> t.Any:
        """What is under the cursor."""
        start = self._next()
        self.skip()
        return self._keeping.decode(self._text[start : self.at].encode("latin-1").decode("utf-8"))

    def skip(self) -> None:
        """Leave it out."""
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
            raise ValueError("no %r at %d" % (expected, self.at))
        self.at += 1

    def _next(self) -> int:
        """The cursor, moved over white space."""
        space = SPACE.match(self._text, self.at)
        self.at = space.end() if space is not None else self.at
        return self.at


def _undocumented(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    """An object without its documentation, which nobody reads in a service. (A member may have that name too; it is no text.)"""
    return {key: value for key, value in pairs if not (key == "documentation" and isinstance(value, str))}
