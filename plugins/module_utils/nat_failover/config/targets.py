# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked to prove that packets get out, as an operator writes it: ``1.1.1.1:443``, ``udp://1.1.1.1:53``, ``icmp://9.9.9.9``."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..errors import ConfigError

TCP, UDP, ICMP = "tcp", "udp", "icmp"
DNS_PORT = 53  # a question over UDP is one that a resolver answers
EXAMPLES = "write e.g. 1.1.1.1:443 (TCP), udp://1.1.1.1:53 (a DNS question) or icmp://9.9.9.9"


class Target(t.NamedTuple):
    """``port`` is 0 for ICMP, which has none."""

    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        host = "[%s]" % self.host if ":" in self.host else self.host
        where = "%s:%d" % (host, self.port) if self.port else host
        return where if self.kind == TCP else "%s://%s" % (self.kind, where)


def parse(key: str, texts: t.Sequence[str]) -> t.Tuple[Target, ...]:
    """A list of targets; raises ``ConfigError`` with the key, the entry and how to write it."""
    found: t.Dict[Target, str] = {}
    for text in texts:
        try:
            target = _parse(text)
        except ValueError as error:
            raise ConfigError(key, text, str(error), EXAMPLES) from None
        if target in found:
            # N of M means nothing if one of them may answer twice.
            raise ConfigError(key, text, "appears twice", "name each target once")
        found[target] = text
    if not found:
        raise ConfigError(key, [], "is empty", EXAMPLES)
    return tuple(found)


def _parse(text: str) -> Target:
    kind, scheme, rest = text.rpartition("://")
    kind = kind.lower() if scheme else TCP
    if kind not in (TCP, UDP, ICMP):
        raise ValueError("begins with neither tcp://, udp:// nor icmp://")
    host, port = _split(rest)
    if kind == ICMP:
        if port or rest.endswith(":"):
            raise ValueError("has a port, which ICMP has not")
        if ":" in host:
            raise ValueError("is IPv6, which is not asked by ICMP")
        return Target(kind, _host(host), 0)
    if not port and kind == UDP and not rest.endswith(":"):
        port = str(DNS_PORT)
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("is not host:port")
    return Target(kind, _host(host), int(port))


def _split(rest: str) -> t.Tuple[str, str]:
    """Host and port; an IPv6 address is in brackets where a port may follow."""
    bracketed = re.fullmatch(r"\[([^\]]*:[^\]]*)\](?::(.*))?", rest)
    if bracketed:
        return bracketed.group(1), bracketed.group(2) or ""
    host, _colon, port = rest.partition(":")
    return host, port


def _host(text: str) -> str:
    """An address or a name; what only looks like an address is neither."""
    if ":" in text or re.fullmatch("[0-9.]+", text):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError("is not host:port: %s is no address" % text) from None
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError("is not host:port: %r is no host" % text)
    return text
