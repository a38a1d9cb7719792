# SPDX-License-Identifier: GPL-3.0-or-later
"""Egress addresses in the reference VPC: an Elastic IP for each zone, on a secondary private address of its node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .api import addresses, backend
from .tags import CLUSTER, CLUSTER_TAG
from .vpc import VpcIds, ZoneIds, subnets

TYPE = "t3.small"  # an instance type whose interface has four private addresses; three are needed in two zones


@dataclass(frozen=True)
class EgressIds:
    """The egress address of a zone: an Elastic IP, the secondary private address of its node, and where the other nodes await it."""

    allocation_id: str
    public_ip: str
    private_ip: str
    waiting: dict[str, str]  # a private address of each other node, by the node's zone


def add(ids: VpcIds, *, account: str = backend.ACCOUNT, region: str = backend.REGION) -> dict[str, EgressIds]:
    """An egress address for each zone. With the API's lock held, for an instance type that has enough private addresses."""
    model = backend.ec2(account, region)
    built = {}
    for number, (zone, own) in enumerate(ids.zones.items()):
        for each in ids.zones.values():
            address = _egress_address(each, number)
            model.assign_private_ip_addresses(each.interface_id, [address])
        tags = {"Name": f"egress-{zone}", CLUSTER_TAG: CLUSTER}
        elastic = model.allocate_address("vpc", address=f"203.0.113.{60 + number}", tags=tags)
        private = _egress_address(own, number)
        addresses.associate(elastic, model.enis[own.interface_id], private)
        waiting = {other: _egress_address(each, number) for other, each in ids.zones.items() if other != zone}
        built[zone] = EgressIds(elastic.allocation_id, elastic.public_ip, private, waiting)
    return built


def of_node(ids: VpcIds, addresses: dict[str, EgressIds], zone: ZoneIds) -> dict[str, Any]:
    """The identity of a zone's node, and its addresses that wait for other identities, by the names of their nodes."""
    own = addresses[zone.zone]
    return {
        "address": own.allocation_id,
        "private_address": own.private_ip,
        "networks": [f"10.0.{subnets(zone.zone)[1]}.0/24"],
        "waiting": {
            ids.zones[other].node: each.waiting[zone.zone] for other, each in addresses.items() if other != zone.zone
        },
    }


def _egress_address(zone: ZoneIds, number: int) -> str:
    return f"{zone.private_ip.rpartition('.')[0]}.{20 + number}"
