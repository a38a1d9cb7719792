# SPDX-License-Identifier: GPL-3.0-or-later
"""The least configuration, changes of it, and its refusal."""

from __future__ import annotations

import copy

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError

TABLE_A, TABLE_B = "rtb-0aaaaaaaaaaaaaaaa", "rtb-0bbbbbbbbbbbbbbbb"
LEAST = {
    "cluster": "prod",
    "self": "nat-a",
    "region": "eu-west-1",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": [TABLE_A]},
        {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": [TABLE_B]},
    ],
    "interface": "ens5",
    "key_file": "/etc/nat-failover/heartbeat.key",
}
GONE = object()
DUAL = ["10.0.0.0/16", "2001:DB8:0:100::1/56", "fd00:1::/48"]


def having(**changes):
    """The least configuration with changes; ``nodes_0_name`` means ``nodes[0].name``, ``GONE`` removes a key."""
    raw = copy.deepcopy(LEAST)
    for path, value in changes.items():
        target = raw
        *parents, last = path.split("__")
        for part in parents:
            target = target[int(part)] if part.isdigit() else target.setdefault(part, {})
        if value is GONE:
            del target[last]
        else:
            target[last] = value
    return raw


def refusal(raw):
    with pytest.raises(ConfigError) as caught:
        configuration.parse(raw)
    return caught.value
