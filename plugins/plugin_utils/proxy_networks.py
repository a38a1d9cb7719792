# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks in the proxy's variables: who may use it, and which private places it may reach.

Pure; bad input is a ``ValueError``.
"""

from __future__ import annotations

import ipaddress
import typing as t

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
# RFC 1918, and the shared space of RFC 6598, which VPCs may use as a secondary range.
PRIVATE4 = tuple(
    ipaddress.ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
# The IPv6 network of a VPC is public space: /44 at most (AWS: VPC CIDR blocks).
WIDEST_IPV6 = 44
# Never reachable through a proxy: the node's credentials, the node itself.
NEVER = tuple(
    ipaddress.ip_network(each)
    for each in (
        "169.254.0.0/16",
        "127.0.0.0/8",
        "0.0.0.0/8",
        "224.0.0.0/3",
        "fd00:ec2::/32",
        "fe80::/10",
        "::1/128",
        "ff00::/8",
    )
)


def network(key: str, text: t.Any) -> Network:
    """One network. Raises ``ValueError`` with the canonical form where there are host bits."""
    try:
        return ipaddress.ip_network(str(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        raise ValueError(f"{key}: {text!r} is no network; write e.g. 10.0.0.0/16") from None
    raise ValueError(f"{key}: {text} has bits beyond its length; write {meant}")


def within(inner: Network, outer: Network) -> bool:
    """Whether ``inner`` lies in ``outer``, of the same family."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def overlap(one: Network, other: Network) -> bool:
    """Whether they share an address."""
    return one.version == other.version and one.overlaps(other)


def sources(key: str, texts: t.Sequence[t.Any]) -> tuple[Network, ...]:
    """The networks that may use the proxy: private ones, and IPv6 networks not wider than a VPC's.

    Raises ``ValueError``.
    """
    found = tuple(network(key, text) for text in texts)
    for each in found:
        if not _is_inside(each):
            raise ValueError(
                f"{key}: {each} is not private: the proxy would be open to strangers; name the networks of your VPC, e.g. 10.0.0.0/16"
            )
    return found


def _is_inside(one: Network) -> bool:
    if one.version == 4:
        return any(within(one, each) for each in PRIVATE4)
    return within(one, UNIQUE_LOCAL) or (one.prefixlen >= WIDEST_IPV6 and within(one, ipaddress.ip_network("2000::/3")))


def hole(key: str, entry: t.Any) -> tuple[Network, int]:
    """One private place that the guard lets the proxy reach: a dict with ``network`` and ``port``.

    Raises ``ValueError``.
    """
    if not isinstance(entry, t.Mapping) or set(entry) != {"network", "port"}:
        raise ValueError(f"{key}: {entry!r} needs network and port, e.g. {{network: 10.0.5.7/32, port: 8080}}")
    found = network(key, entry["network"])
    for each in NEVER:
        if overlap(found, each):
            raise ValueError(
                f"{key}: {found} would open {each}, where the node's own credentials and services are; leave it out"
            )
    return found, port(key, entry["port"])


def port(key: str, value: t.Any) -> int:
    """A TCP port. Raises ``ValueError``."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or not 1 <= number <= 65535:
        raise ValueError(f"{key}: {value!r} is no port; write a number from 1 to 65535")
    return number
