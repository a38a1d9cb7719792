# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of the configuration file, one function each: (reader of the section) -> settings. What two sections say together: consistency.py."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import replace

from ..errors import ConfigError
from ..model.cluster import Node
from ..model.settings import (
    FORWARD,
    MASQUERADE,
    PMTU,
    Canary,
    Ec2Settings,
    Fence,
    Handover,
    Heartbeat,
    Ipv6Canary,
    Nat,
    Return,
    SelfChecks,
    WitnessTable,
    is_ipv6,
)
from . import addresses as networks
from .reader import Reader, refuse_duplicates, refuse_empty
from .targets import Target
from .targets import parse as parse_targets

# milliseconds: (interval, burst interval, silent_after)
PROFILES: t.Mapping[str, t.Tuple[int, int, int]] = {
    "fast": (100, 20, 250),
    "default": (100, 20, 600),
    "calm": (200, 50, 2000),
}
IPV6_TARGETS = ("[2606:4700:4700::1111]:443", "[2001:4860:4860::8888]:443", "[2620:fe::fe]:443")


def nat(reader: Reader) -> Nat:
    given = reader.texts("sources", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])
    sources = tuple(networks.source(text) for text in given)
    refuse_empty("sources", sources, "name the networks that this node NATs, e.g. 10.0.0.0/16")
    if all(is_ipv6(source) for source in sources):
        raise ConfigError(
            "sources",
            ", ".join(sources),
            "hold no IPv4 network, and a node is watched over IPv4",
            "add the VPC's, e.g. 10.0.0.0/16",
        )
    return Nat(
        sources=sources,
        interface=reader.text("interface", pattern=r"[^\s/]{1,15}"),
        ipv6=reader.choice("ipv6", (MASQUERADE, FORWARD), MASQUERADE),
        clamp_mss=_clamp_mss(reader.text("clamp_mss", "")),
    )


def node(index: int, raw: t.Any) -> Node:
    reader = Reader("nodes[%d]." % index, raw)
    address = reader.text("address", "")
    if address:
        try:
            ipaddress.IPv4Address(address)  # heartbeats are IPv4 only
        except ValueError:
            raise ConfigError(
                "nodes[%d].address" % index,
                address,
                "is not an IPv4 address",
                "give the node's private address, or leave it out to have it discovered",
            ) from None
    witness = reader.flag("witness", False)
    node = Node(
        name=reader.text("name", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
        instance_id=reader.text("instance_id", "", pattern="(i" + networks.ID + ")?"),
        route_tables=tuple(reader.texts("route_tables", [], pattern="rtb" + networks.ID)),
        address=address or None,
        witness=witness,
    )
    if witness and node.route_tables:
        raise ConfigError(
            "nodes[%d].route_tables" % index,
            list(node.route_tables),
            "a witness owns no routes",
            "leave them out, or leave `witness` out to make it a NAT node",
        )
    refuse_duplicates("nodes[%d].route_tables" % index, node.route_tables, "name each table once")
    reader.refuse_unknown()
    return node


def heartbeat(reader: Reader, profile: str) -> Heartbeat:
    interval, burst, silent = PROFILES[profile]
    result = Heartbeat(
        port=reader.whole("port", 4710, 1024, 65535),
        interval=reader.number("interval_ms", interval, 20, 5000) / 1000,
        burst_interval=reader.number("burst_interval_ms", burst, 5, 1000) / 1000,
        silent_after=reader.number("silent_after_ms", silent, 100, 60000) / 1000,
    )
    reader.refuse_unknown()
    return result


def returns(reader: Reader) -> Return:
    result = Return(
        policy=reader.choice("policy", ("auto", "manual"), "auto"),
        after=reader.number("after_s", 30, 1, 86400),
        maximum=reader.number("max_s", 1800, 1, 86400),
    )
    reader.refuse_unknown()
    return result


def fence(reader: Reader) -> Fence:
    result = Fence(
        policy=reader.choice("policy", ("stop_start", "reboot", "none"), "stop_start"),
        after=reader.number("after_s", 30, 1, 3600),
        stagger=reader.number("stagger_s", 15, 1, 600),
        stop_timeout=reader.number("stop_timeout_s", 120, 5, 3600),
        max_per_hour=reader.whole("max_per_hour", 2, 0, 60),
    )
    reader.refuse_unknown()
    return result


def self_check(reader: Reader) -> SelfChecks:
    # Three operators' resolvers: one of them may be out of order, or two, and this node still knows the truth.
    targets = parse_targets(
        "self_check.targets", reader.texts("targets", ["1.1.1.1:443", "8.8.8.8:443", "9.9.9.9:443"])
    )
    result = SelfChecks(
        targets=targets,
        minimum=reader.whole("minimum", 1, 1, 100),
        timeout=reader.number("timeout_ms", 400, 50, 10000) / 1000,
        interval=reader.number("interval_s", 2, 0.2, 300),
    )
    _check_minimum("self_check", result.minimum, targets)
    reader.refuse_unknown()
    return result


def canary(reader: Reader, nat: Nat, checks: SelfChecks, runtime_directory: str) -> Canary:
    """What is left out is as for the node's own check."""
    targets = parse_targets("canary.targets", reader.texts("targets", [str(each) for each in checks.targets]))
    result = Canary(
        enabled=reader.flag("enabled", True),
        address=_canary_address("address", reader.text("address", ""), nat.of_family(ipv6=False)),
        targets=targets,
        minimum=reader.whole("minimum", min(checks.minimum, len(targets)), 1, 100),
        timeout=reader.number("timeout_ms", checks.timeout * 1000, 50, 10000) / 1000,
        interval=reader.number("interval_s", 1, 0.2, 60),
        socket=runtime_directory + "-canary.sock",
    )
    _check_minimum("canary", result.minimum, targets)
    result = replace(result, ipv6=_ipv6_canary(reader, nat, result.minimum))
    reader.refuse_unknown()
    return result


def _ipv6_canary(reader: Reader, nat: Nat, minimum: int) -> t.Optional[Ipv6Canary]:
    """An address that is only forwarded gets no answers: nobody routes them to a canary."""
    wanted, text, given = reader.flag("ipv6", True), reader.text("address_ipv6", ""), reader.texts("targets_ipv6", [])
    if not nat.has_ipv6 or nat.ipv6 != MASQUERADE:
        if given:
            raise ConfigError(
                "canary.targets_ipv6",
                ", ".join(given),
                "no IPv6 is masqueraded here, so there is no canary that could ask",
                "leave it out, or see sources and ipv6",
            )
        return None
    targets = parse_targets("canary.targets_ipv6", given or list(IPV6_TARGETS))
    for target in targets:
        if ":" not in target.host:
            raise ConfigError(
                "canary.targets_ipv6", str(target), "is no IPv6 address", "write e.g. %s" % IPV6_TARGETS[0]
            )
    address = _canary_address("address_ipv6", text, nat.of_family(ipv6=True))
    return Ipv6Canary(address, targets, min(minimum, len(targets))) if wanted else None


def _canary_address(key: str, text: str, sources: t.Sequence[str]) -> str:
    """EC2 gives a subnet's last address to nobody, nor, then, the last of a source."""
    nated = [ipaddress.ip_network(source) for source in sources]
    last = str(nated[0][-1])
    text = text or last
    family = nated[0].version
    try:
        address = ipaddress.ip_address(text)
        if address.version != family:
            raise ValueError(text)
    except ValueError:
        raise ConfigError("canary.%s" % key, text, "is not an IPv%d address" % family, "write e.g. %s" % last) from None
    if not any(address in network for network in nated):
        raise ConfigError(
            "canary.%s" % key,
            text,
            "is in none of the sources (%s): its packets would not go a customer's way" % ", ".join(sources),
            "leave it out for %s" % last,
        )
    return str(address)


def handover(reader: Reader) -> Handover:
    result = Handover(
        poll=reader.number("poll_s", 5, 0.5, 60),
        rebalance=reader.choice("rebalance", ("report", "drain"), "report"),
        scheduled_lead=reader.number("scheduled_lead_s", 300, 0, 86400),
        on_stop=reader.choice("on_stop", ("keep", "drain"), "keep"),
        wait=reader.number("wait_s", 15, 1, 300),
    )
    reader.refuse_unknown()
    return result


def _check_minimum(section: str, minimum: int, targets: t.Sequence[Target]) -> None:
    if minimum > len(targets):
        raise ConfigError(
            "%s.minimum" % section,
            minimum,
            "is more than there are targets (%d)" % len(targets),
            "lower it or add targets",
        )


def ec2(reader: Reader) -> Ec2Settings:
    result = Ec2Settings(
        endpoint_url=_endpoint("ec2", reader),
        connect_timeout=reader.number("connect_timeout_s", 1, 0.1, 60),
        read_timeout=reader.number("read_timeout_s", 2, 0.1, 60),
        poll=reader.number("poll_s", 5, 0.5, 300),
    )
    reader.refuse_unknown()
    return result


def _endpoint(section: str, reader: Reader) -> t.Optional[str]:
    endpoint = reader.text("endpoint_url", "")
    if endpoint and not re.match(r"https?://[^\s/]+", endpoint):
        raise ConfigError(
            "%s.endpoint_url" % section,
            endpoint,
            "is not a URL",
            "leave it out to use the region's endpoint, or write https://host",
        )
    return endpoint or None


def witness(reader: Reader) -> WitnessTable:
    table = reader.text("dynamodb_table", "", pattern=r"|[A-Za-z0-9_.-]{3,255}")
    result = WitnessTable(
        table=table or None,
        endpoint_url=_endpoint("witness", reader),
        lease=reader.number("lock_lease_s", 60, 1, 3600),
    )
    reader.refuse_unknown()
    if not table and not reader.empty:
        raise ConfigError("witness.dynamodb_table", table, "is missing", "name the table, or leave `witness` out")
    return result


def _clamp_mss(text: str) -> str:
    # The least that every IPv4 host takes (RFC 9293), and what fits a VPC's 9001 bytes.
    if text and text != PMTU and not (re.fullmatch("[0-9]{3,4}", text) and 536 <= int(text) <= 8961):
        raise ConfigError(
            "clamp_mss", text, 'is neither "pmtu" nor a number from 536 to 8961', 'write e.g. "1360", or leave it out'
        )
    return text
