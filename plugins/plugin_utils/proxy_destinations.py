# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations of the proxy: one grammar, its meaning, and how Squid and Tinyproxy are given it.

Pure: no Ansible, no network. Bad input is a ``ValueError`` with the key, the value and the
canonical form.

| written | means |
|---|---|
| ``a.b`` | the name a.b and no other |
| ``.a.b`` | a.b and each name below it |
| ``*.a.b`` | each name below a.b, but not a.b |
"""

from __future__ import annotations

import re
import typing as t

EXACT, TREE, BELOW = "", ".", "*."
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
LONGEST = 253  # RFC 1035: 255 octets on the wire
# The labels that may stand before a domain in a name below it. Both engines match in lower case.
LABELS = r"[a-z0-9_.-]+\."
ABSOLUTE = r"\.?$"  # "a.b." is the name "a.b", written absolutely (RFC 1034)


class Destination(t.NamedTuple):
    """One parsed entry: ``kind`` is EXACT, TREE or BELOW, ``name`` is in lower case and Punycode."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.kind + self.name

    def matches(self, host: str) -> bool:
        """Whether this entry means ``host``, a host name as a client writes it."""
        host = host.lower()
        host = host[:-1] if host.endswith(".") else host
        below = host.endswith("." + self.name) and len(host) > len(self.name) + 1
        return below if self.kind == BELOW else host == self.name or (self.kind == TREE and below)

    def covers(self, other: Destination) -> bool:
        """Whether each name that ``other`` means is meant by this entry as well."""
        if other.kind == EXACT:
            return self.matches(other.name)
        if self.kind == EXACT:
            return False
        if self.name == other.name:
            return self.kind == TREE or other.kind == BELOW
        return other.name.endswith("." + self.name)


def parse(key: str, text: t.Any) -> Destination:
    """One entry of the variable ``key``. Raises ``ValueError``."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{key}: {text!r} is no host name; write e.g. deb.debian.org or .debian.org")
    if _looks_like_an_address(text.strip()):
        raise ValueError(_address(key, text))
    kind, name = _split(text.strip())
    labels = _labels(name)
    canonical = kind + ".".join(labels)
    if not labels or not all(LABEL.fullmatch(label) for label in labels) or len(canonical) > LONGEST:
        raise ValueError(
            f"{key}: {text!r} is no host name; a name has letters, digits and hyphens between single dots, "
            "e.g. deb.debian.org, .debian.org (it and all below it) or *.debian.org (all below it)"
        )
    if labels[-1].isdigit():
        raise ValueError(_address(key, text))
    if kind == EXACT and len(labels) == 1:
        raise ValueError(f"{key}: {text!r} has no domain; write the full name, or .{labels[0]} for all names below it")
    if name.lower() != ".".join(labels) and name.isascii():
        raise ValueError(f"{key}: {text!r} is not written plainly; write {canonical}")
    return Destination(kind, ".".join(labels))


def _split(text: str) -> tuple[str, str]:
    kind = BELOW if text.startswith(BELOW) else TREE if text.startswith(TREE) else EXACT
    return kind, text[len(kind) :]


def _address(key: str, text: str) -> str:
    return (
        f"{key}: {text!r} is an address; a list of destinations holds names only, since an address goes round every name. "
        "For a private address use proxy_private_destinations"
    )


def _looks_like_an_address(text: str) -> bool:
    return bool(re.fullmatch(r"\[?[0-9a-fA-F]*:[0-9a-fA-F:.]*\]?", text))


def _labels(name: str) -> list[str]:
    """The labels of a name, after what people write around it is taken away; empty when it cannot
    be one.
    """
    name = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://", "", name)
    name = re.split(r"[/?#]", name)[0].rpartition("@")[2]
    name = re.sub(r":\d+$", "", name)
    labels = [label for label in name.replace("\u3002", ".").split(".") if label]
    try:
        return [_punycode(label) for label in labels]
    except UnicodeError:
        return []


def _punycode(label: str) -> str:
    """RFC 3490, as Python's standard library does it; plain ASCII only changes its case."""
    return label.lower() if label.isascii() else label.encode("idna").decode("ascii").lower()


def parse_all(key: str, texts: t.Sequence[t.Any]) -> tuple[Destination, ...]:
    """A whole variable, in its order.

    Raises ``ValueError`` also where one entry is contained in another.
    """
    found = [parse(key, text) for text in texts]
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            for wide, narrow in ((one, other), (other, one)):
                if wide.covers(narrow):
                    raise ValueError(f"{key}: {narrow} is contained in {wide}; leave {narrow} out")
    return tuple(found)


def matches_any(destinations: t.Iterable[Destination], host: str) -> bool:
    """Whether one of them means ``host``."""
    return any(each.matches(host) for each in destinations)


# --- renderings ----------------------------------------------------------------------------


def as_regex(destination: Destination) -> str:
    """A POSIX extended regular expression over a host name in lower case."""
    before = {EXACT: "", TREE: f"({LABELS})?", BELOW: LABELS}[destination.kind]
    return "^{}{}{}".format(before, destination.name.replace(".", r"\."), ABSOLUTE)


def for_squid(destinations: t.Sequence[Destination]) -> dict[str, list[str]]:
    """By the type of the access list.

    ``dstdomain`` is a search tree; only "below" needs ``dstdom_regex``.

    Squid's ``dstdomain`` takes ``a.b`` and ``.a.b`` as this grammar does
    (https://www.squid-cache.org/Doc/config/acl/).
    """
    return {
        "dstdomain": [str(each) for each in destinations if each.kind != BELOW],
        "dstdom_regex": [as_regex(each) for each in destinations if each.kind == BELOW],
    }


def for_tinyproxy(destinations: t.Sequence[Destination]) -> list[str]:
    """Lines of the filter file with ``FilterType ere`` (tinyproxy.conf(5), from 1.11.1 on)."""
    return [as_regex(each) for each in destinations]
