# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities and synchronised connections by the role on machines: refused without what they need, and gone without a trace.

One life of both: a run of site over two machines takes long, and an end of one part is the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import node_role
from lab.api import backend
from lab.api.address_views import addresses_of
from lab.egress import EgressIds
from lab.tags import CLUSTER, CLUSTER_TAG
from tests.integration import generated_policy
from tests.integration.fleet.conftest import KEY, Fleet

NODES = {"nat-a": "10.0.0.10", "nat-b": "10.0.1.10"}
CLIENT = "client-a"
SYSCTLS = "/etc/sysctl.d/90-nat-failover.conf"
CONFIG = "/etc/nat-failover/config.json"
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
PUBLIC, OWN = "203.0.113.60", "203.0.113.10"  # the identity's, and that of nat-a itself
UNIT, FILE = "nat-failover-sync.service", "/etc/nat-failover/conntrackd.conf"
PLACES = {"nat-a": {"nat-a": "here"}, "nat-b": {"nat-a": "away"}}
GIVEN = {"nat_instance_heartbeat_key": KEY, "nat_instance_manage_egress_addresses": True}
SYNCED = {**GIVEN, "nat_instance_state_sync": "conntrackd"}
Files = dict[tuple[str, str], str]
Hosts = dict[str, dict[str, Any]]


@pytest.fixture
def identity(fleet: Fleet) -> Iterator[Hosts]:
    """Variables of the hosts for an identity of nat-a, with an Elastic IP and the permissions for it. Everything is as before afterwards."""
    ids, api = fleet.lab.ids, fleet.lab.api
    before = files(fleet)
    with api.lock:
        elastic = api.model.allocate_address("vpc", address=PUBLIC, tags={CLUSTER_TAG: CLUSTER})
        roles = {
            zone.role: backend.iam().get_role_policy(zone.role, node_role.POLICY)[1] for zone in ids.zones.values()
        }
        policy = generated_policy.document(
            ids, identities={"a": EgressIds(elastic.allocation_id, PUBLIC, "10.0.0.20", {})}
        )
        generated_policy.attach(ids, policy)
    of_a = {
        "nat_instance_egress_address": elastic.allocation_id,
        "nat_instance_egress_private_address": "10.0.0.20",
        "nat_instance_egress_networks": ["10.0.10.0/24"],
    }
    yield {"nat-a": of_a, "nat-b": {"nat_instance_egress_waiting": {"nat-a": "10.0.1.20"}}}
    fleet.write_inventory(nat_instance_heartbeat_key=KEY)
    if files(fleet) != before:
        fleet.run("site")
    with api.lock:
        for role, document in roles.items():
            backend.iam().put_role_policy(role, node_role.POLICY, document)


def files(fleet: Fleet) -> Files:
    """The files of both nodes that an identity changes, by node and path."""
    return {(node, path): fleet.node(node, "cat", path) for node in NODES for path in (SYSCTLS, CONFIG)}


def private(fleet: Fleet, node: str) -> list[str]:
    """The private addresses of a node, as EC2 has them."""
    with fleet.lab.api.lock:
        interface = fleet.lab.api.model.enis[fleet.lab.ids.zones[node[-1]].interface_id]
        return list(addresses_of(interface))


def at(fleet: Fleet) -> str:
    """The private address that the Elastic IP is associated with; "" for none."""
    [found] = fleet.lab.client().describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    return str(found.get("PrivateIpAddress", ""))


def shown(fleet: Fleet, node: str, unit: str) -> list[str]:
    """Load state and active state of a unit."""
    wanted = ("systemctl", "show", "--property=LoadState,ActiveState", "--value", unit)
    return fleet.node(node, *wanted).split()


def started(fleet: Fleet, node: str) -> str:
    """When the unit was started."""
    return fleet.node(node, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", UNIT)


@pytest.mark.parametrize(
    "synchronised", [False, pytest.param(True, marks=pytest.mark.nightly)], ids=["level 1", "level 2"]
)
def test_identities_and_synchronised_connections_come_and_go(fleet: Fleet, identity: Hosts, synchronised: bool) -> None:
    before = files(fleet)
    without = {node: fleet.node(node, "iptables-save").count("\n-A") for node in NODES}
    an_identity_comes(fleet, identity, before)
    it_moves(fleet)
    if synchronised:
        of_identity = {node: fleet.node(node, "iptables-save").count("\n-A") for node in NODES}
        hosts = {node: {**identity[node], "nat_instance_address": address} for node, address in NODES.items()}
        with_packages = {node: {**variables, "nat_instance_manage_packages": True} for node, variables in hosts.items()}
        connections_are_synchronised(fleet, hosts, with_packages)
        and_not_any_more(fleet, with_packages, of_identity)

    fleet.write_inventory(nat_instance_heartbeat_key=KEY)
    assert fleet.run("site").changed > 0
    assert files(fleet) == before
    assert "SNAT" not in fleet.node("nat-a", "iptables-save", "-t", "nat")
    assert {node: fleet.node(node, "iptables-save").count("\n-A") for node in NODES} == without
    fleet.wait_to_see("the public address of the node itself again", CLIENT, OWN)


def an_identity_comes(fleet: Fleet, identity: Hosts, before: Files) -> None:
    """Refused without its private addresses, predicted with leave to assign them, and then in use."""
    fleet.write_inventory(identity, nat_instance_heartbeat_key=KEY)
    refused = fleet.refused("site")
    assert "refused, the present configuration stays" in refused and "nat_instance_manage_egress_addresses" in refused
    assert files(fleet) == before
    assert fleet.seen(CLIENT) == OWN and {fleet.status(node)["state"] for node in NODES} == {"active"}

    fleet.write_inventory(identity, **GIVEN)
    writes = fleet.writes()
    predicted = fleet.run("site", "--check", "--diff")
    assert predicted.changed > 0 and fleet.writes() == writes
    assert fleet.run("site").changed > 0
    assert [private(fleet, node) for node in NODES] == [["10.0.0.10", "10.0.0.20"], ["10.0.1.10", "10.0.1.20"]]
    assigned = [write for write in fleet.writes()[len(writes) :] if write.startswith("AssignPrivateIpAddresses")]
    assert len(assigned) == 2 and not any("nat-" in write for write in assigned), assigned
    fleet.wait_to_see("the Elastic IP is at home and in use", CLIENT, PUBLIC)
    assert all(fleet.node(node, "sysctl", "-n", LOOSE).strip() == "1" for node in NODES)
    assert all(f"{LOOSE.replace('.', '/')} = 1" in fleet.node(node, "cat", SYSCTLS) for node in NODES)


def it_moves(fleet: Fleet) -> None:
    """With the routes, there and back."""
    assert fleet.run("switchover", nat_switchover_from="nat-a").changed == 1
    fleet.wait("the Elastic IP goes with the routes", lambda: at(fleet) == "10.0.1.20")
    fleet.wait_to_see("it is in use there", CLIENT, PUBLIC)
    assert fleet.lab.owner("a") == "nat-b"
    assert fleet.run("site").changed == 0, "also while the peer carries it"
    assert fleet.run("switchover", nat_switchover_from="nat-a", nat_switchover_back=True).changed == 1
    fleet.wait("it comes home with them", lambda: at(fleet) == "10.0.0.20")
    fleet.wait_to_see("it is in use at home", CLIENT, PUBLIC)


def connections_are_synchronised(fleet: Fleet, hosts: Hosts, with_packages: Hosts) -> None:
    """Refused without the package; then a unit of the role's own runs, and a comment in its file is no reason to start it again."""
    fleet.write_inventory(hosts, **SYNCED)
    refused = fleet.refused("site")
    assert "/usr/sbin/conntrackd is not there" in refused and "install the packages" in refused
    assert {node: fleet.node(node, "iptables-save").count("3780") for node in NODES} == dict.fromkeys(NODES, 0)

    fleet.write_inventory(with_packages, **SYNCED)
    assert fleet.run("site", "--check", "--diff").changed > 0
    assert {node: shown(fleet, node, UNIT)[0] for node in NODES} == dict.fromkeys(NODES, "not-found")
    assert fleet.run("site").changed > 0
    since = {node: started(fleet, node) for node in NODES}
    fleet.node("nat-a", "sed", "-i", "1s/.*/# another comment/", FILE)
    assert fleet.run("site").changed == 0
    assert {node: started(fleet, node) for node in NODES} == since
    for node in NODES:
        assert shown(fleet, node, UNIT) == ["loaded", "active"]
        assert shown(fleet, node, "conntrackd.service") == ["masked", "inactive"]
        assert fleet.node(node, "iptables-save").count("3780") == 2
        assert fleet.node(node, "nat-failover", "rules", "check").strip() == "ok"

    def synchronised(node: str) -> bool:
        found = fleet.status(node)["state_sync"]
        return found["arranged"] == PLACES[node] and not found["problem"] and found["received_bytes"] > 0

    fleet.wait("conntrackd is arranged", lambda: all(synchronised(node) for node in NODES), 60)


def and_not_any_more(fleet: Fleet, hosts: Hosts, rules: dict[str, int]) -> None:
    """Nothing of it is left, and the identity stays."""
    fleet.write_inventory(hosts, **GIVEN)
    assert fleet.run("site").changed > 0
    for node in NODES:
        assert shown(fleet, node, UNIT)[0] == "not-found"
        assert shown(fleet, node, "conntrackd.service") == ["masked", "inactive"]
        assert "3780" not in fleet.node(node, "iptables-save")
        assert "nat_failover_identities" not in fleet.node(node, "nft", "list", "tables")
        assert fleet.lab.exec(node, ["cat", FILE], check=False).returncode != 0
        assert fleet.status(node)["state_sync"] == {}
        assert fleet.node(node, "iptables-save").count("\n-A") == rules[node]
    fleet.wait_to_see("the identity is still in use", CLIENT, PUBLIC)
