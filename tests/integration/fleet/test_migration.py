# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_from_nat_gateway: from the lab's managed NAT gateway to the nodes and back, with clients that look out all the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from lab import vpc
from tests.integration.fleet.conftest import Fleet

GATEWAY_ADDRESS = "203.0.113.50"
NODES = ("203.0.113.10", "203.0.113.11")
PLAYBOOK = "migrate_from_nat_gateway"


@pytest.fixture
def gateway(fleet: Fleet) -> Iterator[str]:
    """Both private tables point to one NAT gateway, as in the VPC of somebody who comes from there; its id."""
    ec2, zones = fleet.lab.client(), fleet.lab.ids.zones
    address = ec2.allocate_address(Domain="vpc", Address=GATEWAY_ADDRESS)["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=zones["a"].public_subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    for zone in zones.values():
        ec2.replace_route(RouteTableId=zone.route_table, DestinationCidrBlock=vpc.DEFAULT_ROUTE, NatGatewayId=made)
    fleet.wait("the services see it", lambda: len(fleet.status("nat-a")["drift"]) == 2)
    yield str(made)
    for zone in zones.values():
        ec2.replace_route(
            RouteTableId=zone.route_table,
            DestinationCidrBlock=vpc.DEFAULT_ROUTE,
            NetworkInterfaceId=zone.interface_id,
        )
    ec2.delete_nat_gateway(NatGatewayId=made)
    fleet.wait("no drift is left", lambda: not any(fleet.status(node)["drift"] for node in ("nat-a", "nat-b")))


def seen(fleet: Fleet) -> tuple[str, str]:
    return fleet.seen("client-a"), fleet.seen("client-b")


def remembered(fleet: Fleet) -> list[str]:
    tables = fleet.lab.client().describe_route_tables()["RouteTables"]
    return [tag["Value"] for table in tables for tag in table["Tags"] if tag["Key"].startswith("nat-failover:was:")]


def idle(fleet: Fleet, node: str) -> bool:
    """Whether a node neither pauses nor owns anything."""
    status = fleet.status(node)
    return status["paused"] == "" and len(status["drift"]) == 2


def test_there_and_back_again(fleet: Fleet, gateway: str) -> None:
    assert seen(fleet) == (GATEWAY_ADDRESS, GATEWAY_ADDRESS)
    writes = fleet.writes()
    with fleet.playbooks.keys_in_a_profile("operator"):
        predicted = fleet.run(PLAYBOOK, "--check", nat_aws_profile="operator")
    told = [
        result["msg"]
        for task, _host, result in predicted.results
        if task == "migrate_table | Name the table that moves"
    ]
    zones = fleet.lab.ids.zones.values()
    assert told == [f"{zone.route_table} from {gateway} to {zone.node}" for zone in zones]
    assert predicted.changed > 0
    assert fleet.writes() == writes and remembered(fleet) == []

    proof = [sys.executable, "-c", "import os, sys; print(os.environ['NAT_TABLE'], os.environ['NAT_NODE'])"]
    moved = fleet.run(PLAYBOOK, nat_migrate_proof=proof)
    told = [result["stdout"] for task, _host, result in moved.results if task == "migrate_table | Your own proof"]
    assert told == [f"{zone.route_table} {zone.node}" for zone in zones]
    assert seen(fleet) == NODES and remembered(fleet) == [gateway, gateway]
    assert fleet.run(PLAYBOOK).changed == 0

    assert fleet.run(PLAYBOOK, "--check", nat_migrate_rollback=True).changed > 0
    assert seen(fleet) == NODES
    fleet.run(PLAYBOOK, nat_migrate_rollback=True)
    assert seen(fleet) == (GATEWAY_ADDRESS, GATEWAY_ADDRESS) and remembered(fleet) == []
    for node in ("nat-a", "nat-b"):
        fleet.wait("not paused, and the drift is told", lambda node=node: idle(fleet, node))  # type: ignore[misc]
    assert seen(fleet) == (GATEWAY_ADDRESS, GATEWAY_ADDRESS), "reported, not fought"
    assert fleet.run(PLAYBOOK, nat_migrate_rollback=True).changed == 0


@pytest.mark.nightly
def test_a_table_without_its_proof_goes_back_at_once_and_the_next_one_is_not_touched(
    fleet: Fleet, gateway: str
) -> None:
    calls = len(fleet.lab.calls(caller="nat-b", action="ReplaceRoute"))
    refusal = fleet.refused(PLAYBOOK, nat_migrate_proof=["/bin/false"], nat_migrate_wait_s=2)
    assert f"{fleet.lab.ids.zones['a'].route_table} has its NAT gateway again" in refusal
    assert seen(fleet) == (GATEWAY_ADDRESS, GATEWAY_ADDRESS) and remembered(fleet) == []
    assert len(fleet.lab.calls(caller="nat-b", action="ReplaceRoute")) == calls


@pytest.mark.nightly
def test_the_gateways_come_back_without_the_nodes(fleet: Fleet, gateway: str) -> None:
    fleet.run(PLAYBOOK)
    fleet.lab.fault("kill", "nat-a")
    fleet.run(PLAYBOOK, nat_migrate_rollback=True)
    assert seen(fleet) == (GATEWAY_ADDRESS, GATEWAY_ADDRESS)
    fleet.lab.heal()
    fleet.wait("nat-a is back", lambda: fleet.status("nat-b")["verdicts"][0]["verdict"] == "healthy", 60)
