# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is checked against EC2 with a policy of the generator."""

from __future__ import annotations

import json

import pytest

from lab import node_role
from lab.api import backend
from lab.tags import NODE_TAG
from nat_failover.config import load as configuration
from nat_failover.errors import NatFailoverError
from nat_failover.service.preflight import check_online
from tests.integration import generated_policy

FENCE_ACTIONS = {
    "stop_start": ("StopInstances", "StartInstances"),
    "reboot": ("RebootInstances",),
    "none": (),
}


def generated(world, **options):
    """The policy that the playbook iam_policy makes for the cluster."""
    return generated_policy.document(world.ids, **options)


def give(world, policy):
    with world.api.api.lock:
        backend.iam().put_role_policy("lab-nat-a", node_role.POLICY, json.dumps(policy))


def config_of(world, mode="full", fence="stop_start", **changes):
    raw = {
        "cluster": "lab",
        "self": world.name,
        "region": world.api.api.region,
        "mode": mode,
        "nodes": [
            {"name": zone.node, "instance_id": zone.instance_id, "route_tables": [zone.route_table]}
            for zone in world.ids.zones.values()
        ],
        "interface": "ens5",
        "fence": {"policy": fence},
        "key_file": "/etc/nat-failover/heartbeat.key",
        **changes,
    }
    return configuration.parse(raw)


def allow_only_without(world, *actions, **options):
    """The role's policy without some actions."""
    policy = generated(world, **options)
    for statement in policy["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each.removeprefix("ec2:") not in actions] or [
            "ec2:DescribeVpcs"
        ]
    give(world, policy)


def refusal(world, **options):
    with pytest.raises(NatFailoverError) as caught:
        check_online(config_of(world, **options), world.ec2)
    assert "\n" not in str(caught.value)
    return caught.value


def nameless(world):
    """Instances as they are where nobody tags them with a node's name."""
    instances = [zone.instance_id for zone in world.ids.zones.values()]
    world.api.client().delete_tags(Resources=instances, Tags=[{"Key": NODE_TAG}])
