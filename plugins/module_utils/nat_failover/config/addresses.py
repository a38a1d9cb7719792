# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, destinations and ids of EC2 in the configuration: canonical, or refused with a remedy."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..errors import ConfigError
from .reader import Form

# Global unicast (RFC 4291, section 2.4) and unique local addresses (RFC 4193)
IPV6_SOURCES = tuple(ipaddress.IPv6Network(text) for text in ("2000::/3", "fc00::/7"))
# The suffix of an EC2 resource's id (EC2 User Guide, "Resource IDs")
ID = r"-([0-9a-f]{8}|[0-9a-f]{17})"


def id_form(noun: str, prefix: str) -> Form:
    """The form of ids of one kind of EC2 resource, such as ``rtb`` for route tables."""
    remedy = f"copy the id that EC2 shows: {prefix}- and then 8 or 17 of the characters 0 to 9 and a to f"
    return Form(noun, prefix + ID, remedy)


def check_ipv4(key: str, text: str, remedy: str) -> None:
    """Raise ``ConfigError`` for a text that is not an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        raise ConfigError(key, text, "is not an IPv4 address", remedy) from None


def destination(text: str) -> str:
    """A route's destination in the canonical form of EC2. A prefix list's id stays as it is.

    Raises ``ConfigError`` for any other text.
    """
    if re.fullmatch("pl" + ID, text):
        return text
    return _network("destinations", text)


def source(text: str) -> str:
    """A network of clients in canonical form.

    Raises ``ConfigError`` for the whole internet and for IPv6 networks without addresses of
    clients.
    """
    network = ipaddress.ip_network(_network("sources", text))
    if not network.prefixlen:
        # Packets from a source to a source stay untranslated. With this source, all packets would.
        raise ConfigError("sources", text, "is the whole internet", "name the networks of your VPC, e.g. 10.0.0.0/16")
    if isinstance(network, ipaddress.IPv6Network) and not any(network.subnet_of(range_) for range_ in IPV6_SOURCES):
        raise ConfigError(
            "sources",
            text,
            "holds no addresses that clients have: neither global (2000::/3) nor unique local (fc00::/7)",
            "name the VPC's IPv6 network",
        )
    return str(network)


def _network(key: str, text: str) -> str:
    # EC2 stores the canonical form, and a re-read must find it again.
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ConfigError(key, text, "is not a network", "write e.g. 10.0.0.0/16") from None


def networks(key: str, texts: t.Sequence[str]) -> tuple[str, ...]:
    """Networks in canonical form. Raises ``ConfigError`` for a text that is none."""
    try:
        return tuple(str(ipaddress.ip_network(each)) for each in texts)
    except ValueError as error:
        raise ConfigError(key, ", ".join(texts), str(error), "write networks such as 100.64.0.0/16") from None
