# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that stands still: the parts that ship, with the evidence that a test sets."""

from __future__ import annotations

import asyncio

from nat_failover.config import load as configuration
from nat_failover.model.cluster import AddressView, Claim, InstanceView, RouteView
from nat_failover.model.evidence import SelfCheck
from nat_failover.model.memory import Memory, PeerMemory
from nat_failover.observe.forwarding_facts import Finding
from nat_failover.observe.this_host import ThisHost
from nat_failover.service.outside import Outside
from nat_failover.service.service import Service

from .played import PlayedRuntime

TABLE_A, TABLE_B = "rtb-0000000a", "rtb-0000000b"
RAW = {
    "cluster": "prod",
    "self": "nat-a",
    "region": "eu-west-1",
    "interface": "lo",
    "key_file": "/nowhere",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0000000a", "address": "10.0.0.10", "route_tables": [TABLE_A]},
        {"name": "nat-b", "instance_id": "i-0000000b", "address": "10.0.1.10", "route_tables": [TABLE_B]},
    ],
}
# Changes of RAW: the route to VIP depends on a service of the node.
VIP = "100.64.99.1/32"
SERVED = {
    "destinations": ["0.0.0.0/0", VIP],
    "services": [{"name": "proxy", "file": "/run/verdict.json", "destinations": [VIP]}],
}
# The other change: nat-b has an identity, and nat-a may carry it.
ELASTIC = "eipalloc-0000000b"
MOVING = {
    "nodes": [
        {**RAW["nodes"][0], "egress_waiting": {"nat-b": "10.0.0.21"}},
        {
            **RAW["nodes"][1],
            "egress_address": ELASTIC,
            "egress_private_address": "10.0.1.20",
            "egress_networks": ["10.0.11.0/24"],
        },
    ]
}
NOW = 1000.0
CLAIM_A, CLAIM_B = Claim(TABLE_A, "0.0.0.0/0", "nat-a"), Claim(TABLE_B, "0.0.0.0/0", "nat-b")


def standing(**changes):
    """The parts of nat-a, where all is well: each node owns its claim, and nat-b is healthy since 60 s."""

    async def made():
        outside = Outside(
            ec2=None,
            host=ThisHost(lambda argv, **_how: (0, "", "")),
            runtime=PlayedRuntime(NOW),
            notify=lambda message: None,
            boot_id="0123456789abcdef",
        )
        return Service(configuration.parse({**RAW, **changes}), [b"k" * 32], outside).parts

    parts = asyncio.run(made())
    parts.collector.me = SelfCheck(forwarding=True, fact="", internet=True, ec2=True)
    parts.collector.reader.instances = {
        node.name: InstanceView("running", f"eni-{node.name}", None, {}, NOW, instance_id=node.instance_id)
        for node in parts.config.nodes
    }
    parts.collector.reader.routes = {
        claim: RouteView("active", f"eni-{claim.home}", NOW - 2.0) for claim in (CLAIM_A, CLAIM_B)
    }
    parts.collector.forwarding_check.findings = {"ip_forward": Finding(None)}
    parts.collector.forwarding_check.canary._states = {"IPv4": "answered", "IPv6": "off"}
    parts.collector.internet.reachable = True
    parts.collector.service_check._read = True
    peer = PeerMemory(verdict="healthy", since=NOW - 60, evidence="heartbeat 40 ms ago")
    parts.memory = Memory(NOW - 100, peers={"nat-b": peer})
    return parts


def moving(node="nat-b", private="10.0.1.20", routes="nat-b"):
    """The parts of nat-a while the Elastic IP of nat-b is with a node, and its routes are with another one."""
    parts = standing(**MOVING)
    parts.collector.reader.elastic.views = {ELASTIC: AddressView("203.0.113.11", f"eni-{node}", private, NOW - 2)}
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", f"eni-{routes}", NOW - 2)
    return parts
