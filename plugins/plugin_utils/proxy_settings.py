# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role ``proxy``, read and refused.

Pure; what is wrong is one ``ValueError`` in the user's terms.
"""

from __future__ import annotations

import ipaddress
import typing as t

from . import proxy_destinations, proxy_lines, proxy_networks
from .proxy_destinations import Destination
from .proxy_networks import Network

SQUID, TINYPROXY = "squid", "tinyproxy"
OPEN, ALLOW_LIST = "open", "allow_list"
# The protocol of a CONNECT to such a port. A tunnel is blind, so only its port is known.
NOT_WEB = {
    22: "SSH",
    23: "Telnet",
    25: "SMTP: spam in your name",
    53: "DNS",
    110: "POP3",
    143: "IMAP",
    389: "LDAP",
    445: "SMB",
    465: "SMTP: spam in your name",
    587: "SMTP: spam in your name",
    1433: "SQL Server",
    2375: "Docker",
    3306: "MySQL",
    3389: "Remote Desktop",
    5432: "PostgreSQL",
    6379: "Redis",
    11211: "memcached",
    27017: "MongoDB",
}
# Tinyproxy ends an idle tunnel itself, and a Network Load Balancer after 350 s (AWS: NLB idle
# timeout).
LONGEST_IDLE_S = 349


class Hole(t.NamedTuple):
    """A private place that the proxy may reach."""

    network: Network
    port: int


class Settings(t.NamedTuple):
    """All that the templates and the programs on the node are made of."""

    engine: str
    port: int
    address: str
    sources: tuple[Network, ...]
    policy: str
    allowed: tuple[Destination, ...]
    denied: tuple[Destination, ...]
    holes: tuple[Hole, ...]
    ports: tuple[int, ...]
    connect_ports: tuple[int, ...]
    max_clients: int
    connect_timeout_s: int
    idle_timeout_s: int
    stop_wait_s: int
    access_log: bool
    log_keep_days: int
    health_port: int
    health_destinations: tuple[tuple[str, int], ...]
    health_sources: tuple[Network, ...]
    guard: bool
    lines: tuple[str, ...]
    memory_max: str
    rank: int
    nodes: int


def read(given: t.Mapping[str, t.Any]) -> Settings:
    """The settings.

    ``given`` has the role's variables without their prefix. Raises ``ValueError`` for the first
    that is wrong.
    """
    engine, policy = given["engine"], given["policy"]
    _one_of("proxy_engine", engine, (SQUID, TINYPROXY))
    _one_of("proxy_policy", policy, (OPEN, ALLOW_LIST))
    port = proxy_networks.port("proxy_port", given["port"])
    health_port = proxy_networks.port("proxy_health_port", given["health_port"])
    if port == health_port:
        raise ValueError(
            f"proxy_health_port: {port} is proxy_port, too; the health check needs a port of its own, e.g. 3129"
        )
    if not given["sources"]:
        raise ValueError(
            "proxy_sources is empty, so no client could use the proxy; name the networks of your VPC, e.g. [10.0.0.0/16]"
        )
    sources = proxy_networks.sources("proxy_sources", given["sources"])
    allowed, denied = _lists(engine, policy, given)
    ports = _ports("proxy_ports", given["ports"])
    holes = tuple(
        Hole(*proxy_networks.hole("proxy_private_destinations", each)) for each in given["private_destinations"]
    )
    return Settings(
        engine=engine,
        port=port,
        address=_address(given, sources),
        sources=sources,
        policy=policy,
        allowed=allowed,
        denied=denied,
        holes=holes,
        ports=ports,
        connect_ports=_connect_ports(given["connect_ports"], ports),
        max_clients=_number("proxy_max_clients", given["max_clients"], 10, 100_000),
        connect_timeout_s=_number("proxy_connect_timeout_s", given["connect_timeout_s"], 1, 120),
        idle_timeout_s=_number("proxy_idle_timeout_s", given["idle_timeout_s"], 10, LONGEST_IDLE_S),
        stop_wait_s=_number("proxy_stop_wait_s", given["stop_wait_s"], 1, 60),
        access_log=bool(given["access_log"]),
        log_keep_days=_number("proxy_log_keep_days", given["log_keep_days"], 1, 3650),
        health_port=health_port,
        health_destinations=_health_destinations(given, ports, denied),
        health_sources=proxy_networks.sources("proxy_health_sources", given["health_sources"] or given["sources"]),
        guard=_guard(given),
        lines=proxy_lines.read(f"proxy_{engine}_lines", engine, given[f"{engine}_lines"], given["own_addresses"]),
        memory_max=_memory(given["memory_max"]),
        rank=list(given["nodes"]).index(given["node"]) if given["node"] in given["nodes"] else 0,
        nodes=max(1, len(given["nodes"])),
    )


def unlisted_health(settings: Settings) -> tuple[str, ...]:
    """Names that the health check asks for though the list does not hold them; they are added for
    it, which is worth a word.
    """
    if settings.policy == OPEN:
        return ()
    return tuple(
        name
        for name, _port in settings.health_destinations
        if not proxy_destinations.matches_any(settings.allowed, name)
    )


def _one_of(key: str, value: t.Any, known: t.Sequence[str]) -> None:
    if value not in known:
        raise ValueError("{}: {!r} is not one of {}".format(key, value, ", ".join(known)))


def _number(key: str, value: t.Any, least: int, most: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise ValueError(f"{key}: {value!r} is not a whole number from {least} to {most}")
    return number


def _memory(value: str) -> str:
    text = str(value).strip()
    if text and not (text[:-1].isdigit() and text[-1] in "KMGT%"):
        raise ValueError(f"proxy_memory_max: {value!r} is no size; write e.g. 512M or 60%, or leave it empty")
    return text


def _lists(engine: str, policy: str, given: t.Mapping[str, t.Any]) -> tuple[tuple[Destination, ...], ...]:
    """(allowed, denied) destinations of a policy. Raises ``ValueError`` if they do not fit it."""
    allowed = proxy_destinations.parse_all("proxy_destinations", given["destinations"])
    denied = proxy_destinations.parse_all("proxy_destinations_denied", given["destinations_denied"])
    if policy == ALLOW_LIST and not allowed:
        raise ValueError(
            "proxy_policy: allow_list without proxy_destinations lets no client out; name destinations, or set it to open"
        )
    if policy == OPEN and allowed:
        raise ValueError(
            "proxy_destinations: with proxy_policy open the list would change nothing; set proxy_policy to allow_list, or leave "
            "the list out"
        )
    if engine == TINYPROXY and policy == ALLOW_LIST and denied:
        raise ValueError(
            "proxy_destinations_denied: tinyproxy has one list, either of what is allowed or of what is denied; "
            "use proxy_engine squid, or leave it out"
        )
    for one in denied:
        for other in allowed:
            if one.covers(other):
                raise ValueError(f"proxy_destinations: {other} is denied by {one}; drop one of them")
    return allowed, denied


def _ports(key: str, values: t.Sequence[t.Any]) -> tuple[int, ...]:
    found = tuple(sorted({proxy_networks.port(key, value) for value in values}))
    if not found:
        raise ValueError(f"{key} is empty: nothing could be reached; write e.g. [80, 443]")
    return found


def _connect_ports(values: t.Sequence[t.Any], ports: t.Sequence[int]) -> tuple[int, ...]:
    found = _ports("proxy_connect_ports", values)
    for each in found:
        if each in NOT_WEB:
            raise ValueError(f"proxy_connect_ports: {each} would tunnel {NOT_WEB[each]}; leave it out")
        if each not in ports:
            raise ValueError(
                f"proxy_connect_ports: {each} is not in proxy_ports, so the guard would refuse it; add it there"
            )
    return found


def _address(given: t.Mapping[str, t.Any], sources: t.Sequence[Network]) -> str:
    """The address that moves between nodes; empty without one."""
    text = str(given["address"] or "").strip()
    if not text:
        return ""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(
            f"proxy_address: {text!r} is no IPv4 address; write one outside of the VPC, e.g. 100.64.99.1"
        ) from None
    inside = [*sources, *(proxy_networks.network("the node's network", each) for each in given["own_networks"])]
    for each in inside:
        if address in each:
            raise ValueError(
                f"proxy_address: {address} lies in {each}, where the VPC's own route goes before any other; take one outside, e.g. 100.64.99.1"
            )
    destinations, route = given["nat_destinations"], f"{address}/32"
    if destinations is None:
        raise ValueError(
            f"proxy_address: {address} moves with the role nat_instance, which has no variables on this host; use both roles, or leave "
            "proxy_address out and use a load balancer"
        )
    if route not in destinations:
        wanted = ", ".join([*destinations, route])
        raise ValueError(
            f"proxy_address: {address} is in no route that moves; set nat_instance_destinations: [{wanted}]"
        )
    return str(address)


def _health_destinations(
    given: t.Mapping[str, t.Any], ports: t.Sequence[int], denied: t.Sequence[Destination]
) -> tuple[tuple[str, int], ...]:
    """Host and port of each; by default EC2's and STS's endpoints of the region."""
    texts, region = list(given["health_destinations"]), given["region"]
    if not texts and not region:
        raise ValueError(
            "proxy_health_destinations is empty and the region is not known; set proxy_region, or name a destination"
        )
    suffix = "amazonaws.com.cn" if str(region).startswith("cn-") else "amazonaws.com"
    return tuple(
        _health_destination(text, ports, denied)
        for text in texts or [f"{service}.{region}.{suffix}:443" for service in ("ec2", "sts")]
    )


def _health_destination(text: t.Any, ports: t.Sequence[int], denied: t.Sequence[Destination]) -> tuple[str, int]:
    key = "proxy_health_destinations"
    host, _colon, port = str(text).rpartition(":")
    if not host:
        raise ValueError(f"{key}: {text!r} has no port; write e.g. {text}:443")
    destination = proxy_destinations.parse(key, host)
    if destination.kind:
        raise ValueError(f"{key}: {text!r} is no single host; write e.g. {destination.name}:{port}")
    number = proxy_networks.port(key, port)
    if number not in ports:
        raise ValueError(f"{key}: port {number} of {text} is not in proxy_ports; the check would always fail")
    if proxy_destinations.matches_any(denied, destination.name):
        raise ValueError(f"{key}: {text} is in proxy_destinations_denied; the check would always fail")
    return destination.name, number


def _guard(given: t.Mapping[str, t.Any]) -> bool:
    if not given["guard"] and not given["guard_off_understood"]:
        raise ValueError(
            "proxy_guard: without it each client reaches instance metadata, so the node's credentials, and all of the VPC through any "
            "name that resolves there; leave it on, or set proxy_guard_off_understood: true"
        )
    return bool(given["guard"])
