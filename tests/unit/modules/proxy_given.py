# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role ``proxy`` as its filters are given them, for tests to change."""

from __future__ import annotations

GIVEN = {
    "engine": "squid",
    "port": 3128,
    "address": "",
    "sources": ["10.0.0.0/16", "2001:db8:0:100::/56"],
    "policy": "open",
    "destinations": [],
    "destinations_denied": [],
    "private_destinations": [],
    "ports": [80, 443],
    "connect_ports": [443],
    "max_clients": 1000,
    "connect_timeout_s": 10,
    "idle_timeout_s": 300,
    "stop_wait_s": 5,
    "access_log": True,
    "log_keep_days": 14,
    "memory_max": "",
    "health_port": 3129,
    "health_destinations": [],
    "health_sources": [],
    "region": "eu-west-1",
    "guard": True,
    "guard_off_understood": False,
    "squid_lines": [],
    "tinyproxy_lines": [],
    "nat_destinations": None,
    "own_networks": ["10.0.0.0/24"],
    "own_addresses": ["10.0.0.10", "2001:db8:0:100::10"],
    "nodes": ["nat-a", "nat-b"],
    "node": "nat-b",
}
