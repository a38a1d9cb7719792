# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request: parsed strictly, refused with a reason otherwise (RFC 9112).

Pure: no socket.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

LONGEST = 8192  # bytes of a request line with all headers
MOST_HEADERS = 64
METHODS = ("GET", "HEAD")

_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")


class Refused(Exception):
    """A request that is refused. ``reason`` is the name of the counter that it moves."""

    def __init__(self, code: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """A request without a body."""

    method: str
    path: str  # without the query


def parse(data: bytes, names: t.Sequence[str]) -> Request:
    """The request in ``data``, which ends with an empty line.

    ``names``: host names in lower case that are taken beside addresses and ``localhost``. A web
    page on another host name cannot read this process by an address that its name server gives it.
    Raises ``Refused``.
    """
    line, *rows = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _LINE.fullmatch(line)
    if found is None:
        raise Refused(400, "malformed", "the first line is no request")
    if len(rows) > MOST_HEADERS:
        raise Refused(431, "oversized", f"more than {MOST_HEADERS} headers")
    headers = _headers(rows)
    hosts = headers.get("host", [])
    if len(hosts) > 1 or (not hosts and found.group(3) == b"1"):
        raise Refused(400, "malformed", "one header Host is needed")
    if hosts and not _is_taken(hosts[0], names):
        raise Refused(421, "host", "this host name is not served; name it in nat_instance_web.names")
    if "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]:
        raise Refused(400, "malformed", "a request has no body here")
    method = found.group(1).decode()
    if method not in METHODS:
        raise Refused(405, "method", "only GET and HEAD are served")
    return Request(method, found.group(2).decode().partition("?")[0])


def _headers(rows: t.Sequence[bytes]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for row in rows:
        found = _HEADER.fullmatch(row)
        if found is None:
            raise Refused(400, "malformed", "a header is malformed")
        headers.setdefault(found.group(1).decode().lower(), []).append(found.group(2).decode("latin-1"))
    return headers


def _is_taken(host: str, names: t.Sequence[str]) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found.group(1).strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name in names
    return True
