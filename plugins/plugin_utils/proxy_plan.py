# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the role ``proxy``, as plain data for its templates and for the programs on the
node.

Pure.
"""

from __future__ import annotations

import ipaddress
import typing as t

from . import proxy_destinations
from .proxy_settings import ALLOW_LIST, SQUID, TINYPROXY, Settings, unlisted_health

ETC = "/etc/aws-ha-egress"
LIB = "/usr/local/lib/aws-ha-egress"
# Debian's packages, users and units.
USERS = {SQUID: "proxy", TINYPROXY: "tinyproxy"}
CONFIG = f"{ETC}/proxy.conf"
FILTER = f"{ETC}/proxy-filter"
# The cost of a client: a descriptor towards it and one towards its server, and some for names and
# logs.
FILES_PER_CLIENT, FILES_BESIDE = 2, 256
# Squid is one process; Tinyproxy has a thread for each client.
TASKS_BESIDE = 32
# Refused as destinations under any name: RFC 6890 and the registries it began, then ways from IPv6
# to IPv4 (RFC 6052, 3056, 4380). Networks of documentation are not among them: they have no hosts,
# and labs use them as an internet.
SPECIAL4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
)
SPECIAL6 = (
    *("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16"),
    *("5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)


def plan(settings: Settings) -> dict[str, t.Any]:
    """All that is written.

    Keys ``squid`` and ``tinyproxy`` are what the engine's template needs, ``node`` is the programs'
    file.
    """
    private = [*SPECIAL4, *SPECIAL6, *map(str, settings.sources)]
    return {
        "engine": settings.engine,
        "other": TINYPROXY if settings.engine == SQUID else SQUID,
        "user": USERS[settings.engine],
        "config": CONFIG,
        "filter": FILTER,
        "port": settings.port,
        "address": settings.address,
        "guard": settings.guard,
        "access_log": settings.access_log,
        "log_keep_days": settings.log_keep_days,
        "connect_timeout_s": settings.connect_timeout_s,
        "idle_timeout_s": settings.idle_timeout_s,
        "stop_wait_s": settings.stop_wait_s,
        "max_clients": settings.max_clients,
        "max_files": settings.max_clients * FILES_PER_CLIENT + FILES_BESIDE,
        "max_tasks": TASKS_BESIDE + (settings.max_clients if settings.engine == TINYPROXY else 0),
        "memory_max": settings.memory_max,
        "lines": list(settings.lines),
        "sources": list(map(str, settings.sources)),
        "ports": list(settings.ports),
        "connect_ports": list(settings.connect_ports),
        "squid": _squid(settings, private),
        "tinyproxy": _tinyproxy(settings),
        "node": _node(settings, private),
        "added_for_health": list(unlisted_health(settings)),
    }


def _squid(settings: Settings, private: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        "allow_list": settings.policy == ALLOW_LIST,
        "allowed": proxy_destinations.for_squid(settings.allowed),
        "denied": proxy_destinations.for_squid(settings.denied),
        "health": sorted({name for name, _port in settings.health_destinations}),
        "health_ports": sorted({port for _name, port in settings.health_destinations}),
        "private": _widest(private),
        "holes": [{"network": str(hole.network), "port": hole.port} for hole in settings.holes],
    }


def _widest(networks: t.Sequence[str]) -> list[str]:
    """Without networks that lie in another one: squid warns of them.

    Of IPv4 in IPv6 it keeps IPv4 only, as squid itself does.
    """
    found = [ipaddress.ip_network(each) for each in dict.fromkeys(networks) if each not in ("::/96", "::ffff:0:0/96")]
    return [
        str(one)
        for one in found
        if not any(one != other and one.version == other.version and one.subnet_of(other) for other in found)  # type: ignore[arg-type]
    ]


def _tinyproxy(settings: Settings) -> dict[str, t.Any]:
    """Tinyproxy has one list, either of what is allowed or of what is denied.

    Ports of holes are open to names of the list only.
    """
    listed = settings.policy == ALLOW_LIST
    lines = proxy_destinations.for_tinyproxy(settings.allowed if listed else settings.denied)
    added = [proxy_destinations.parse("proxy_health_destinations", name) for name in unlisted_health(settings)]
    return {
        "default_deny": listed,
        "filter": lines + proxy_destinations.for_tinyproxy(added),
        "connect_ports": sorted({*settings.connect_ports, *(hole.port for hole in settings.holes)}),
    }


def _node(settings: Settings, private: t.Sequence[str]) -> dict[str, t.Any]:
    """/etc/aws-ha-egress/proxy.json, which the programs on the node read."""
    return {
        "engine": settings.engine,
        # The engine's own first. The other one is under the guard as well, while it hands its port
        # over.
        "users": [USERS[settings.engine], *(user for engine, user in USERS.items() if engine != settings.engine)],
        "port": settings.port,
        "config": CONFIG,
        "guard": {
            "enabled": settings.guard,
            "private": list(dict.fromkeys(private)),
            "holes": [[str(hole.network), hole.port] for hole in settings.holes],
            "ports": list(settings.ports),
        },
        "health": {
            "port": settings.health_port,
            "sources": list(map(str, settings.health_sources)),
            "destinations": [[name, port] for name, port in settings.health_destinations],
            "rank": settings.rank,
            "nodes": settings.nodes,
        },
    }
