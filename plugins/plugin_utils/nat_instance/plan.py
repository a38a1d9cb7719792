# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The needs of a node of nat_instance: its configuration file, kernel settings, units.

Pure: no Ansible.

``asked`` are the role's variables by their names without the prefix, typed as the argument
specification says.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import typing as t

from . import cloudwatch, egress, hooks, sync, units, web

Asked = t.Mapping[str, t.Any]
# A running service cannot change these: its reload refuses, and a restart is needed.
FIXED = ("self", "cluster", "region", "ec2", "witness")
PORT = 4710
SYSCTL_FILE = "/etc/sysctl.d/90-nat-failover.conf"  # as the role's vars/main.yml names it
SERVICE_USER = "nat-failover"  # as the role's vars/main.yml names it
# Variables of the role that are sections of the configuration file, in the order of the file.
SECTIONS = {
    "heartbeat": "heartbeat",
    "takeover": "takeover",
    "return": "return",
    "fence": "fence",
    "self_check": "self_check",
    "canary": "canary",
    "acceleration": "acceleration",
    "handover": "handover",
    "ec2": "ec2",
    "witness_table": "witness",
}
CONNTRACK = "net/netfilter/nf_conntrack_"
# Seconds: the least that RFC 5382 asks for, Linux's own TIME-WAIT, Linux's own, and NAT Gateway's
# (docs/forwarding.md).
TRACKED_FOR = {"tcp_established_s": 7440, "tcp_time_wait_s": 60, "udp_s": 30, "udp_stream_s": 350}
# The kernel rounds the number of buckets up to whole pages; a multiple of this stays, also with
# pages of 64 KiB.
BUCKETS = 8192
SMALLEST_TABLE, LARGEST_TABLE = 65536, 4194304
KIB_PER_ENTRY = 4
WAIT_S = 15  # handover.wait_s of the engine
STOP_GRACE_S = 10


def configuration(
    asked: Asked, nodes: t.Sequence[t.Mapping[str, t.Any]], region: str, interface: str, key_file: str
) -> dict[str, t.Any]:
    """The content of the configuration file.

    Only what was asked for: all other defaults are the engine's.
    """
    config: dict[str, t.Any] = {
        "cluster": asked["cluster"],
        "self": asked["name"],
        "region": region,
        "mode": asked["mode"],
        "profile": asked["profile"],
        "nodes": [dict(node) for node in nodes],
        "destinations": list(asked["destinations"]),
        "interface": interface,
        "sources": list(asked["sources"]),
        "ipv6": asked["ipv6"],
        "unseen_after_s": asked["unseen_after_s"],
        "unmanaged_after_s": asked["unmanaged_after_s"],
        "key_file": key_file,
    }
    if asked.get("services") and not asked["witness"]:
        config["services"] = [dict(each) for each in asked["services"]]
    if asked["state_sync"] and not asked["witness"]:
        config["state_sync"] = asked["state_sync"]
    if asked["clamp_mss"]:
        config["clamp_mss"] = asked["clamp_mss"]
    if asked["imds_restricted"] and not asked["witness"]:
        users = dict.fromkeys((SERVICE_USER, *asked["imds_users"]))
        config["imds"] = {"users": list(users)}
    if has_input_rules(asked):
        config["input"] = {"allow": [dict(each) for each in asked["input_allow"]]}
    config.update({section: dict(asked[name]) for name, section in SECTIONS.items() if asked[name]})
    return config


def has_ipv6(asked: Asked) -> bool:
    """Whether the node forwards IPv6."""
    return any(":" in source for source in asked["sources"])


def has_canary(asked: Asked) -> bool:
    """Whether a canary lives on the node."""
    return not asked["witness"] and asked["canary"].get("enabled", True)


def has_input_rules(asked: Asked) -> bool:
    """Whether the node refuses packets for itself."""
    return bool(asked["input_rules"]) and not asked["witness"]


def lockout(asked: Asked, connection: t.Mapping[str, t.Any]) -> str:
    """The reason, in one line, for which the next run of the role could not reach the node by SSH.

    ``connection`` is the connection by which this run came: ``address`` and ``port``; empty for
    none. Empty: there is no such reason.
    """
    if not has_input_rules(asked) or not connection:
        return ""
    address, port = ipaddress.ip_address(connection["address"]), connection["port"]
    if address.is_loopback or (address.version == 6 and not has_ipv6(asked)):
        return ""  # these rules are not for such packets
    for each in asked["input_allow"]:
        networks = [ipaddress.ip_network(network, strict=False) for network in each["networks"]]
        if (each.get("protocol") or "tcp", each["port"]) == ("tcp", port) and any(address in one for one in networks):
            return ""
    return (
        f"nat_instance_input_allow (got {json.dumps(list(map(dict, asked['input_allow'])))}) would refuse the SSH "
        f"connection of this run, from {address} to port {port}; add {{port: {port}, networks: [...]}} with a network "
        "that holds this address"
    )


def conntrack(given: t.Mapping[str, t.Any], memory_kib: int) -> dict[str, int | str]:
    """Kernel settings of connection tracking by their paths below /proc/sys; what is given as 0 is
    not among them.
    """
    entries = given.get("max")
    if entries is None:
        by_memory = memory_kib // KIB_PER_ENTRY // BUCKETS * BUCKETS
        entries = max(SMALLEST_TABLE, min(LARGEST_TABLE, by_memory))
    seconds = {key: given.get(key, default) for key, default in TRACKED_FOR.items()}
    settings = {
        "tcp_be_liberal": 1,
        "buckets": math.ceil(entries / BUCKETS) * BUCKETS,
        "max": entries,
        "tcp_timeout_established": seconds["tcp_established_s"],
        "tcp_timeout_time_wait": seconds["tcp_time_wait_s"],
        "udp_timeout": seconds["udp_s"],
        "udp_timeout_stream": seconds["udp_stream_s"],
    }
    return {CONNTRACK + name: value for name, value in settings.items() if value}


def sysctls(asked: Asked, interface: str, tracking: t.Mapping[str, int | str]) -> dict[str, str]:
    """The kernel settings that must hold, by their paths below /proc/sys.

    ``tracking``: those of connection tracking. Not accept_ra: where systemd-networkd reads router
    advertisements, it keeps the kernel's at 0 and gives the route itself.
    """
    held = {"net/ipv4/ip_forward": "1", f"net/ipv4/conf/{interface}/rp_filter": "2"}
    if has_ipv6(asked):
        held["net/ipv6/conf/all/forwarding"] = "1"
    held.update({key: str(value) for key, value in tracking.items()})
    return held


def stop_timeout_s(asked: Asked) -> int:
    """Seconds that systemd lets a hand-over take before it ends what it waits for."""
    return math.ceil(asked["handover"].get("wait_s", WAIT_S) + STOP_GRACE_S)


def present(text: str) -> dict[str, t.Any]:
    """The configuration that is there now; empty for none, and for one that is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def needs_restart(new: t.Mapping[str, t.Any], old: t.Mapping[str, t.Any], name: str, witness: bool) -> bool:
    """Whether ``new`` differs from the present configuration ``old`` in what a reload of the
    service refuses.
    """

    def fixed(config: t.Mapping[str, t.Any]) -> tuple[t.Any, t.Any]:
        settings = {key: config[key] for key in FIXED if key in config}
        return settings, (config.get("heartbeat") or {}).get("port", PORT)

    was = next((node.get("witness", False) for node in old.get("nodes", ()) if node.get("name") == name), witness)
    return fixed(new) != fixed(old) or witness != was


def missing_packages(wanted: t.Sequence[str], answers: t.Sequence[str]) -> list[str]:
    """The wanted packages that the package query, lines like "installed NAME", does not name."""
    there = {re.sub("^installed ", "", line) for line in answers if line.startswith("installed ")}
    return [name for name in wanted if name not in there]


def plan(
    asked: Asked,
    nodes: t.Sequence[t.Mapping[str, t.Any]],
    region: str,
    interface: str,
    key_file: str,
    host: t.Mapping[str, t.Any],
    packages: t.Sequence[str],
) -> dict[str, t.Any]:
    """All of the above.

    ``host`` is what the module nat_failover_host_info returns of the node as it is now.
    """
    config = configuration(asked, nodes, region, interface, key_file)
    tracking = {**conntrack(asked["conntrack"], int(host.get("memory_kib", 0))), **egress.sysctls(config)}
    written, present_ones = host.get("sysctl_files", {}), host.get("sysctls", {})
    canary, witness = has_canary(asked), asked["witness"]
    shown, told, reported = web.plan(asked), hooks.plan(asked, host), cloudwatch.plan(asked)
    synced = sync.plan(asked, nodes, interface, int(tracking.get(CONNTRACK + "max", 0)), host)
    beside = {
        units.WEB: shown["enabled"],
        units.HOOKS: told["enabled"],
        units.CLOUDWATCH: reported["enabled"],
        units.SYNC: synced["enabled"],
    }
    there = {name: path for path in host.get("optional", ()) for name in [path.rpartition("/")[2]] if name in beside}
    return {
        "config": config,
        "ipv6": has_ipv6(asked),
        "canary": canary,
        "conntrack": tracking,
        "sysctls": sysctls(asked, interface, tracking),
        "undone_sysctls": egress.undone(config, written, SYSCTL_FILE, present_ones),
        "contradiction": egress.contradiction(config, written, SYSCTL_FILE),
        "stop_timeout_s": stop_timeout_s(asked),
        "web": shown,
        "hooks": told,
        "cloudwatch": reported,
        "sync": synced,
        "units": units.wanted(witness, canary, asked["service_enabled"], asked["service_state"], beside),
        "new_units": [name for name, want in beside.items() if want and name not in there],
        "absent_units": [path for name, path in there.items() if not beside[name]],
        "needs_restart": needs_restart(config, present(host.get("config", "")), asked["name"], witness),
        "missing_packages": missing_packages(packages, host.get("packages", ())),
    }
