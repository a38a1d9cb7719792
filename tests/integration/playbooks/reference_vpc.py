# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference VPC that provision is asked for, and what of it is there."""

from __future__ import annotations

from typing import Any

from lab.running_api import RunningApi

NAME = "acme"
REGION = "eu-west-1"
ASKED: dict[str, Any] = {
    "nat_provision_region": REGION,
    "nat_provision_name": NAME,
    "nat_provision_system": "al2023",
    "nat_provision_type": "t4g.small",  # has room for the addresses of identities
    "nat_provision_endpoints": ["s3"],
    "nat_provision_ssh_from": ["192.0.2.0/24"],
}
WRITES = (
    "Create",
    "Run",
    "Allocate",
    "Associate",
    "Attach",
    "Put",
    "Modify",
    "Authorize",
    "Delete",
    "Terminate",
    "Add",
    "Assign",
)


def writes(api: RunningApi) -> list[str]:
    return [call.action for call in api.calls() if call.action.startswith(WRITES)]


def tagged(what: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that carry the cluster's tag."""
    mark = {"Key": "nat-failover:cluster", "Value": NAME}
    return [each for each in what if mark in each.get("Tags", [])]


def nodes(api: RunningApi) -> list[dict[str, Any]]:
    """The instances, in the order of their zones."""
    found = [
        instance
        for reservation in api.client().describe_instances()["Reservations"]
        for instance in tagged(reservation["Instances"])
        if instance["State"]["Name"] != "terminated"
    ]
    return sorted(found, key=lambda each: each["Placement"]["AvailabilityZone"])


def private_tables(api: RunningApi) -> list[dict[str, Any]]:
    tables = tagged(api.client().describe_route_tables()["RouteTables"])
    named = [(tag["Value"], table) for table in tables for tag in table["Tags"] if tag["Key"] == "Name"]
    return [table for name, table in sorted(named, key=lambda each: each[0]) if "-private-" in name]


def target(table: dict[str, Any]) -> Any:
    return next(
        route["NetworkInterfaceId"] for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"
    )
