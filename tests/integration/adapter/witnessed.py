# SPDX-License-Identifier: GPL-3.0-or-later
"""A witness table in a served API, and a node's access to it."""

from __future__ import annotations

from lab.tags import CLUSTER
from nat_failover.aws.witness_table import Table
from nat_failover.config import load as configuration

NAME = "nat-failover"


def make(running, keys=("cluster", "item"), kind="S"):
    running.client("dynamodb").create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": key, "KeyType": ("HASH", "RANGE")[n]} for n, key in enumerate(keys)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )


def connect_to(running, cluster="lab", **options):
    return Table(NAME, cluster, running.api.region, running.endpoint, **options)


def config_of(world, **changes):
    zones = world.ids.zones.values()
    return configuration.parse(
        {
            "cluster": CLUSTER,
            "self": world.name,
            "region": world.api.api.region,
            "nodes": [{"name": z.node, "instance_id": z.instance_id, "route_tables": [z.route_table]} for z in zones],
            "interface": "ens5",
            "ec2": {"poll_s": 0.5, "connect_timeout_s": 0.5, "read_timeout_s": 0.5},
            "key_file": "/etc/nat-failover/heartbeat.key",
            "witness": {"dynamodb_table": NAME, "endpoint_url": world.api.endpoint},
            **changes,
        }
    )
