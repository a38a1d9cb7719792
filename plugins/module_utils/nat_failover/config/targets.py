# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets on the internet that a check probes.

An operator writes them as ``1.1.1.1:443`` (TCP), ``udp://1.1.1.1:53`` or ``icmp://9.9.9.9``.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..errors import ConfigError
from ..model.settings import ICMP, TCP, UDP, Target

DNS_PORT = 53  # the default over UDP, where a probe is a DNS query
EXAMPLES = "write e.g. 1.1.1.1:443 (TCP), udp://1.1.1.1:53 (a DNS query) or icmp://9.9.9.9"


def parse(key: str, texts: t.Sequence[str]) -> tuple[Target, ...]:
    """The targets of a list.

    Raises ``ConfigError`` with the key, the entry and the way to write it.
    """
    found: dict[Target, str] = {}
    for text in texts:
        try:
            target = _parse(text)
        except ValueError as error:
            raise ConfigError(key, text, str(error), EXAMPLES) from None
        if target in found:
            # `minimum` counts different targets: none may answer twice.
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
            raise ValueError("has a port, and ICMP has no ports")
        if ":" in host:
            raise ValueError("is IPv6, and ICMP probes are IPv4 only")
        return Target(kind, _host(host), 0)
    if not port and kind == UDP and not rest.endswith(":"):
        port = str(DNS_PORT)
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("is not host:port")
    return Target(kind, _host(host), int(port))


def _split(rest: str) -> tuple[str, str]:
    """Host and port. A port may follow an IPv6 address only if that is in brackets."""
    bracketed = re.fullmatch(r"\[([^\]]*:[^\]]*)\](?::(.*))?", rest)
    if bracketed:
        return bracketed.group(1), bracketed.group(2) or ""
    host, _colon, port = rest.partition(":")
    return host, port


def _host(text: str) -> str:
    """An address or a name. Raises ``ValueError`` for digits and dots that form no address."""
    if ":" in text or re.fullmatch("[0-9.]+", text):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError(f"is not host:port: {text} is not an address") from None
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError(f"is not host:port: {text!r} is not a host")
    return text
