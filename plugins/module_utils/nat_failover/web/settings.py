# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the web process: where it listens, and who may read."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ..errors import ConfigError

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
LISTEN, PORT = "127.0.0.1", 9743
LOWEST_PORT = 1024  # the process has no capabilities
# The addresses of the instance metadata service, which hands out credentials.
METADATA = tuple(ipaddress.ip_address(each) for each in ("169.254.169.254", "fd00:ec2::254"))
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True)
class WebSettings:
    """Where the process listens, and who may read."""

    listen: str = LISTEN
    port: int = PORT
    allow: tuple[Network, ...] = ()  # beside the loopback addresses
    names: tuple[str, ...] = ()  # host names in a URL, in lower case. Addresses are always taken

    def allows(self, client: str) -> bool:
        """Whether an address may read. False for anything that is no address."""
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        return address.is_loopback or any(address in network for network in self.allow)


def parse(
    listen: str = LISTEN,
    port: t.Any = PORT,
    allow: t.Sequence[str] = (),
    names: t.Sequence[str] = (),
    prefix: str = "",
) -> WebSettings:
    """Checked settings. Raises ``ConfigError``, whose key begins with ``prefix``."""
    address = _address(listen, prefix)
    networks = tuple(_network(each, prefix) for each in allow)
    if not address.is_loopback and not networks:
        raise ConfigError(
            f"{prefix}listen",
            listen,
            "other machines reach this address, and no list says which of them may read",
            f"set {prefix}allow to the networks of the readers, e.g. 10.0.0.0/16, or listen on {LISTEN}",
        )
    return WebSettings(str(address), _port(port, prefix), networks, tuple(_name(each, prefix) for each in names))


def _address(text: str, prefix: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(
            f"{prefix}listen", text, "is no IP address", "write an address of this node, e.g. 10.0.0.10"
        ) from None
    if address.is_multicast or address in METADATA:
        raise ConfigError(
            f"{prefix}listen", text, "is no address of a node", "write an address of this node, e.g. 10.0.0.10"
        )
    return address


def _port(value: t.Any, prefix: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST_PORT <= value <= 65535:
        raise ConfigError(
            f"{prefix}port",
            value,
            "is no port that this process may open",
            f"write {LOWEST_PORT} to 65535, e.g. {PORT}",
        )
    return value


def _network(text: str, prefix: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"{prefix}allow", text, f"is no network ({error})", "write networks such as 10.0.0.0/16"
        ) from None
    for address in METADATA:
        if address in network:
            raise ConfigError(
                f"{prefix}allow",
                text,
                f"contains {address}, the instance metadata service, which this process must not reach",
                "name the networks of the readers, e.g. 10.0.0.0/16",
            )
    return network


def _name(text: str, prefix: str) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ConfigError(f"{prefix}names", text, "is no host name", "write names such as nat-a.example.com, no URL")
    return text.lower()
