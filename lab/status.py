# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a running lab, read in its own process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from . import egress
from .api.identity import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY
from .hosts.machine import Machine
from .settings import KNOWN_HOSTS
from .tags import CLUSTER
from .world import World


def describe(world: World) -> dict[str, Any]:
    """Everything that ``status``, ``inventory`` and ``ssh-config`` show, as JSON."""
    snapshot = world.api.snapshot()
    instances = {instance.name: instance for instance in snapshot.instances}
    hosts = {}
    for name, host in world.hosts.items():
        instance = instances.get(name)
        hosts[name] = {"address": host.address, "state": host.state, "weight": host.weight, "boots": host.boots}
        if instance is not None:
            zone = world.ids.node(name)
            hosts[name] |= {
                "instance_id": instance.id,
                "instance_state": instance.state,
                "public_ip": instance.public_ip,
                "source_dest_check": instance.source_dest_check,
                "interface_id": zone.interface_id,
                "route_tables": [zone.route_table],
            }
            if zone.zone in world.egress:
                hosts[name]["egress"] = egress.of_node(world.ids, world.egress, zone)
    return {
        "endpoint": world.endpoint,
        "region": world.api.region,
        "ipv6": world.ipv6,
        "cluster": CLUSTER,
        "vpc": world.ids.vpc,
        "private_subnets": [zone.private_subnet for zone in world.ids.zones.values()],
        "ca": str(world.ca),
        "access_key": OPERATOR_ACCESS_KEY,
        "secret_key": OPERATOR_SECRET_KEY,
        "call_log": str(world.call_log),
        "hosts": hosts,
        "routes": {
            zone: {"table": each.route_table, "owner": world.owner(zone), "owners": world.owners(zone)}
            for zone, each in world.ids.zones.items()
        },
        "link_faults": [asdict(fault) for fault in world.network.faults] if world.network else [],
        "security_groups": world.network.security_groups if world.network else {},
        "api_faults": world.api.faults.describe(),
    }


def write_known_hosts(world: World) -> None:
    """The machines' host keys, so that ssh need not trust blindly even here."""
    machines = [host for host in world.hosts.values() if isinstance(host, Machine)]
    if machines:
        lines = [f"{world.names.ssh_name(host.name)} {host.host_key()}\n" for host in machines]
        (world.names.state / KNOWN_HOSTS).write_text("".join(lines), encoding="ascii")
