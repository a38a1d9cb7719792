# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of the configuration file.

Each function takes the reader of a section and returns its settings, with times in seconds. Each
raises ``ConfigError``. Conditions between two sections are in ``validate.py``.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import replace

from ..errors import ConfigError
from ..model.cluster import Node
from ..model.nat import FORWARD, MASQUERADE, PMTU, Nat, is_ipv6
from ..model.settings import (
    Canary,
    Ec2Settings,
    Fence,
    Handover,
    Heartbeat,
    Ipv6Canary,
    Return,
    SelfChecks,
    Takeover,
    Target,
    WitnessTable,
)
from . import acceleration, addresses, egress, protection
from .reader import Form, Reader, refuse_duplicates, refuse_empty
from .targets import parse as parse_targets

# (interval, burst interval, silent_after), in milliseconds
PROFILES: t.Mapping[str, tuple[int, int, int]] = {
    "fast": (100, 20, 250),
    "default": (100, 20, 600),
    "calm": (200, 50, 2000),
}
EARLY = ("fast",)  # profiles whose takeovers do not wait for an answer of EC2
IPV6_TARGETS = ("[2606:4700:4700::1111]:443", "[2001:4860:4860::8888]:443", "[2620:fe::fe]:443")
# The smallest segment that every IPv4 host takes (RFC 9293, section 3.7.1), and the largest one in
# a VPC's packets of 9001 bytes (EC2 User Guide, "Network MTU").
MSS_LEAST, MSS_MOST = 536, 8961
NODE_NAME = Form(
    "name",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    "use letters, digits, '.', '_' or '-', at most 63, the first one a letter or a digit",
)
# Linux takes names of 15 characters without blanks and slashes (dev_valid_name, IFNAMSIZ).
INTERFACE = Form("interface name", r"[^\s/]{1,15}", "write the name that `ip link` shows for it, e.g. ens5")
INSTANCE_ID = addresses.id_form("instance id", "i")
TABLE_ID = addresses.id_form("route table id", "rtb")
# DynamoDB Developer Guide, "Naming rules"
WITNESS_TABLE = Form("table name", r"[A-Za-z0-9_.-]{3,255}", "use letters, digits, '_', '.' or '-', 3 to 255 of them")


def nat(reader: Reader) -> Nat:
    """The settings of translation. They stand at the top of the file."""
    given = reader.texts("sources", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])
    sources = tuple(addresses.source(text) for text in given)
    refuse_empty("sources", sources, "name the networks that this node NATs, e.g. 10.0.0.0/16")
    if all(is_ipv6(source) for source in sources):
        raise ConfigError(
            "sources",
            ", ".join(sources),
            "hold no IPv4 network, and forwarding is proven over IPv4",
            "add the VPC's IPv4 network, e.g. 10.0.0.0/16",
        )
    faster = reader.section("acceleration")
    receive_cpus, flowtable = acceleration.receive_cpus(faster), acceleration.flowtable(faster)
    faster.refuse_unknown()
    return Nat(
        sources=sources,
        interface=reader.text("interface", form=INTERFACE),
        ipv6=reader.choice("ipv6", (MASQUERADE, FORWARD), MASQUERADE),
        clamp_mss=_clamp_mss(reader.text("clamp_mss", "")),
        imds_users=protection.imds_users(reader.section("imds")),
        openings=protection.openings(reader.section("input")),
        receive_cpus=receive_cpus,
        flowtable=flowtable,
    )


def node(index: int, raw: t.Any) -> Node:
    """The node at ``index`` of the list ``nodes``."""
    reader = Reader(f"nodes[{index}].", raw)
    address = reader.text("address", "")
    if address:
        remedy = "give the node's private address, or leave it out to have it discovered"
        addresses.check_ipv4(f"nodes[{index}].address", address, remedy)  # heartbeats are IPv4 only
    witness = reader.flag("witness", False)
    identity, waiting = egress.read(f"nodes[{index}].", reader)
    node = Node(
        name=reader.text("name", form=NODE_NAME),
        instance_id=reader.text("instance_id", "", form=INSTANCE_ID),
        route_tables=tuple(reader.texts("route_tables", [], form=TABLE_ID)),
        address=address or None,
        witness=witness,
        egress=identity,
        waiting=waiting,
    )
    if witness and node.route_tables:
        raise ConfigError(
            f"nodes[{index}].route_tables",
            list(node.route_tables),
            "a witness owns no routes",
            "remove them, or remove `witness` to make it a NAT node",
        )
    refuse_duplicates(f"nodes[{index}].route_tables", node.route_tables, "name each table once")
    reader.refuse_unknown()
    return node


def heartbeat(reader: Reader, profile: str) -> Heartbeat:
    """The numbers of ``profile``, except those that the section has."""
    interval, burst, silent = PROFILES[profile]
    result = Heartbeat(
        port=reader.whole("port", 4710, 1024, 65535),
        interval=reader.number("interval_ms", interval, 20, 5000) / 1000,
        burst_interval=reader.number("burst_interval_ms", burst, 5, 1000) / 1000,
        silent_after=reader.number("silent_after_ms", silent, 100, 60000) / 1000,
    )
    reader.refuse_unknown()
    return result


def takeover(reader: Reader, profile: str) -> Takeover:
    """The section ``takeover``. A missing ``early`` is that of ``profile``."""
    result = Takeover(early=reader.flag("early", profile in EARLY))
    reader.refuse_unknown()
    return result


def returns(reader: Reader) -> Return:
    """The section ``return``."""
    result = Return(
        policy=reader.choice("policy", ("auto", "manual"), "auto"),
        after=reader.number("after_s", 30, 1, 86400),
        maximum=reader.number("max_s", 1800, 1, 86400),
    )
    reader.refuse_unknown()
    return result


def fence(reader: Reader) -> Fence:
    """The section ``fence``."""
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
    """The section ``self_check``."""
    # Resolvers of three operators: the check still holds while two of them are out of order.
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
    """The section ``canary``. A missing target, minimum or timeout is that of ``self_check``."""
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


def _ipv6_canary(reader: Reader, nat: Nat, minimum: int) -> Ipv6Canary | None:
    """The IPv6 part of the canary, or None where no IPv6 is masqueraded.

    A canary's address is not routed in the VPC, so answers reach it only through masquerading.
    """
    wanted, text, given = reader.flag("ipv6", True), reader.text("address_ipv6", ""), reader.texts("targets_ipv6", [])
    if not nat.has_ipv6 or nat.ipv6 != MASQUERADE:
        if given:
            raise ConfigError(
                "canary.targets_ipv6",
                ", ".join(given),
                "this node masquerades no IPv6, so the canary probes no IPv6 target",
                "leave it out, or add an IPv6 network to sources and set ipv6 to masquerade",
            )
        return None
    targets = parse_targets("canary.targets_ipv6", given or list(IPV6_TARGETS))
    for target in targets:
        if ":" not in target.host:
            raise ConfigError(
                "canary.targets_ipv6", str(target), "is not an IPv6 address", f"write e.g. {IPV6_TARGETS[0]}"
            )
    address = _canary_address("address_ipv6", text, nat.of_family(ipv6=True))
    return Ipv6Canary(address, targets, min(minimum, len(targets))) if wanted else None


def _canary_address(key: str, text: str, sources: t.Sequence[str]) -> str:
    """The canary's source address: ``text``, or the last address of the first source.

    EC2 assigns no instance the last address of a subnet (VPC User Guide, "Subnet CIDR blocks").
    """
    nated = [ipaddress.ip_network(source) for source in sources]
    last = str(nated[0][-1])
    text = text or last
    family = nated[0].version
    try:
        address = ipaddress.ip_address(text)
        if address.version != family:
            raise ValueError(text)
    except ValueError:
        raise ConfigError(f"canary.{key}", text, f"is not an IPv{family} address", f"write e.g. {last}") from None
    if not any(address in network for network in nated):
        raise ConfigError(
            f"canary.{key}",
            text,
            f"is in none of the sources ({', '.join(sources)}): its packets would not take the path of a client's",
            f"leave it out for {last}",
        )
    return str(address)


def handover(reader: Reader) -> Handover:
    """The section ``handover``."""
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
            f"{section}.minimum",
            minimum,
            f"is more than the number of targets ({len(targets)})",
            "lower it or add targets",
        )


def ec2(reader: Reader) -> Ec2Settings:
    """The section ``ec2``."""
    result = Ec2Settings(
        endpoint_url=_endpoint("ec2", reader),
        connect_timeout=reader.number("connect_timeout_s", 1, 0.1, 60),
        read_timeout=reader.number("read_timeout_s", 2, 0.1, 60),
        poll=reader.number("poll_s", 5, 0.5, 300),
        create_routes=reader.flag("create_routes", True),
        unserved=addresses.networks("ec2.unserved_networks", reader.texts("unserved_networks", [])),
    )
    reader.refuse_unknown()
    return result


def _endpoint(section: str, reader: Reader) -> str | None:
    endpoint = reader.text("endpoint_url", "")
    if endpoint and not re.match(r"https?://[^\s/]+", endpoint):
        raise ConfigError(
            f"{section}.endpoint_url",
            endpoint,
            "is not a URL",
            "leave it out to use the region's endpoint, or write https://host",
        )
    return endpoint or None


def witness(reader: Reader) -> WitnessTable:
    """The section ``witness``."""
    table = reader.text("dynamodb_table", "", form=WITNESS_TABLE)
    result = WitnessTable(
        table=table or None,
        endpoint_url=_endpoint("witness", reader),
        lease=reader.number("lock_lease_s", 60, 1, 3600),
    )
    reader.refuse_unknown()
    if not table and not reader.empty:
        raise ConfigError("witness.dynamodb_table", None, "is missing", "name the table, or leave `witness` out")
    return result


def _clamp_mss(text: str) -> str:
    number = int(text) if re.fullmatch("[0-9]{3,4}", text) else 0
    if text and text != PMTU and not MSS_LEAST <= number <= MSS_MOST:
        problem = f'is neither "pmtu" nor a number from {MSS_LEAST} to {MSS_MOST}'
        raise ConfigError("clamp_mss", text, problem, 'write e.g. "1360", or leave it out')
    return text
