# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP proxy of a VPC that the playbook ``provision`` makes: what is wrong with it, and the
variables of its nodes.

Pure.
"""

from __future__ import annotations

import ipaddress
import typing as t

from . import proxy_networks

NONE = "none"
PORT, HEALTH_PORT = 3128, 3129
DEFAULT_ROUTE = "0.0.0.0/0"
WITHOUT_PACKAGES = "al2023"


def refusal(engine: str, address: str, system: str, image: str, cidr: str) -> str:
    """The fault, in one sentence; empty without a fault."""
    if engine == NONE:
        return (
            "nat_provision_proxy_address without nat_provision_proxy leads to no proxy; set nat_provision_proxy to squid or tinyproxy"
            if address
            else ""
        )
    if system == WITHOUT_PACKAGES and not image:
        return (
            f"nat_provision_proxy (got '{engine}') is made for Debian; set nat_provision_system to debian12 or debian13"
        )
    try:
        [network] = proxy_networks.sources("nat_provision_cidr", [cidr])
    except ValueError as error:
        return str(error)
    return _address_refusal(address, network) if address else ""


def _address_refusal(address: str, network: proxy_networks.Network) -> str:
    said = (
        f"nat_provision_proxy_address (got '{address}') must be an IPv4 address outside of {network}, e.g. 100.64.99.1"
    )
    try:
        return said if ipaddress.IPv4Address(address) in network else ""
    except ValueError:
        return said


def inventory(engine: str, address: str, region: str, cidr: str) -> dict[str, dict[str, t.Any]]:
    """Variables of the nodes: ``nat`` for the role nat_instance beside its own, ``proxy`` for the
    role proxy. Both are empty without a proxy.
    """
    if engine == NONE:
        return {"nat": {}, "proxy": {}}
    moving = {"nat_instance_destinations": [DEFAULT_ROUTE, f"{address}/32"]} if address else {}
    return {
        "nat": moving,
        "proxy": {
            "proxy_engine": engine,
            "proxy_sources": [cidr],
            "proxy_region": region,
            **({"proxy_address": address} if address else {}),
        },
    }


def input_allow(engine: str, cidr: str, ssh_from: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """The ports of a node that networks may reach, for ``nat_instance_input_allow``."""
    found: list[dict[str, t.Any]] = [{"port": 22, "networks": list(ssh_from)}] if ssh_from else []
    return found + ([] if engine == NONE else [{"port": port, "networks": [cidr]} for port in (PORT, HEALTH_PORT)])
