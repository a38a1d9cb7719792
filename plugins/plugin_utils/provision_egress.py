# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private addresses of identities in a VPC that the playbook ``provision`` makes.

Pure.
"""

from __future__ import annotations

import ipaddress
import typing as t

Zone = t.Mapping[str, t.Any]
NONE = "none"
SYNCED = 2  # nodes that conntrackd connects


def refusal(asked: bool, zones: t.Sequence[Zone], instance_type: str, room: int, sync: str = NONE) -> str:
    """The reason, in one sentence, for which nodes of a type cannot have identities; empty: none.

    ``room``: the most private addresses of one interface of the type. ``sync``: the program that
    synchronises connections between the nodes.
    """
    if sync != NONE and not asked:
        return f"nat_provision_state_sync (got '{sync}') is for identities; set nat_provision_egress to true, too"
    if sync != NONE and len(zones) != SYNCED:
        return (
            f"nat_provision_state_sync (got '{sync}') works for {SYNCED} nodes, and nat_provision_zones has {len(zones)} zones; "
            "leave it out, and connections whose client sends go on all the same"
        )
    needed = 1 + len(zones)
    if not asked or needed <= room:
        return ""
    return (
        f"nat_provision_egress needs {needed} private addresses on each node: its own, and one for each of {len(zones)} zones; an "
        f"interface of nat_provision_type (got '{instance_type}') has room for {room}; take a larger type, such as t4g.small"
    )


def addresses(zones: t.Sequence[Zone], zone: str, primary: str, cluster: str) -> dict[str, t.Any]:
    """The egress address of the node of a zone, and the addresses that wait for its peers.

    They are the highest addresses of its public subnet, in the order of the zones, without the
    node's own ``primary``. So a zone that is added at the end changes none of them.
    """
    subnet = ipaddress.IPv4Network(next(each["public"] for each in zones if each["zone"] == zone))
    last = int(subnet.broadcast_address) - 1  # the broadcast address is AWS's
    free = [str(ipaddress.IPv4Address(last - each)) for each in range(len(zones) + 1)]
    found = dict(zip([each["zone"] for each in zones], [each for each in free if each != primary]))
    waiting = {f"{cluster}-nat-{each}": address for each, address in found.items() if each != zone}
    return {"private": found[zone], "waiting": waiting, "all": [found[zone], *waiting.values()]}


def inventory(zone: Zone, allocation: str, found: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The variables of the role nat_instance for these addresses; empty without an Elastic IP."""
    if not allocation:
        return {}
    return {
        "nat_instance_egress_address": allocation,
        "nat_instance_egress_private_address": found["private"],
        "nat_instance_egress_networks": [zone["private"]],
        "nat_instance_egress_waiting": dict(found["waiting"]),
    }
