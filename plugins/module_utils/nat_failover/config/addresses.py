# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How networks, destinations and ids of EC2 are written in the configuration: made canonical, or refused with a remedy."""

from __future__ import annotations

import ipaddress
import re

from ..errors import ConfigError

IPV6_SOURCES = tuple(ipaddress.IPv6Network(text) for text in ("2000::/3", "fc00::/7"))  # global unicast, unique local
ID = r"-([0-9a-f]{8}|[0-9a-f]{17})"  # of an EC2 resource


def destination(text: str) -> str:
    if re.fullmatch("pl" + ID, text):
        return text
    return _network("destinations", text)


def source(text: str) -> str:
    network = ipaddress.ip_network(_network("sources", text))
    if not network.prefixlen:
        # What goes from a source to a source stays as it is: nothing at all would be translated.
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
    # Canonical, because EC2 stores the canonical form and a re-read must find it again.
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ConfigError(key, text, "is not a network", "write e.g. 10.0.0.0/16") from None
