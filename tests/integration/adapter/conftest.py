# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's EC2 adapter, as a node runs it, against a served API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from lab.running_api import RunningApi
from lab.vpc import DEFAULT_ROUTE
from nat_failover.act.once import Readings, write_routes
from nat_failover.act.steps import ReplaceRoute
from nat_failover.aws.ec2 import Ec2
from nat_failover.aws.witness_table import Table
from nat_failover.model.cluster import ROUTE_ACTIVE, Claim, InstanceView, Node, RouteView
from nat_failover.observe.instances import read_instances
from nat_failover.runtime.real import AsyncioRuntime
from tests.integration.adapter.witnessed import connect_to, make


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """No credentials, profiles or metadata of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, f"{tmp_path}/absent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class World:
    """A served API as one node's adapter sees it."""

    def __init__(self, running: RunningApi, ec2: Ec2, name: str) -> None:
        self.api, self.ec2, self.name = running, ec2, name
        self.ids = running.ids
        # As a configuration would name them.
        self.nodes = tuple(Node(zone.node, zone.instance_id, (zone.route_table,)) for zone in self.ids.zones.values())
        self.claims = tuple(self.claim(zone) for zone in self.ids.zones)

    def claim(self, zone: str = "a", destination: str = DEFAULT_ROUTE) -> Claim:
        """The claim of a zone's node."""
        return Claim(self.ids.zones[zone].route_table, destination, f"nat-{zone}")

    def instances(self, nodes: Sequence[Node], cluster: str = "") -> dict[str, InstanceView]:
        """Each node's instance, by name."""
        return read_instances(self.ec2, nodes, cluster)

    def set_route(self, claim: Claim, interface_id: str) -> RouteView:
        """The step ReplaceRoute, as the service performs it. Returns the route as it was read after the write."""
        readings = Readings()
        obstacle = write_routes([ReplaceRoute(claim, interface_id)], self.ec2, AsyncioRuntime, readings)
        view = readings.routes[claim]
        assert bool(obstacle) == ((view.target, view.state) != (interface_id, ROUTE_ACTIVE)), obstacle
        return view

    def interface(self, zone: str = "a") -> str:
        """The network interface of a zone's node."""
        return self.ids.zones[zone].interface_id

    def instance(self, zone: str = "a") -> str:
        """The instance of a zone's node."""
        return self.ids.zones[zone].instance_id


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """``connect(api, node)``: the adapter with a node's credentials, found as botocore finds them."""

    def connected(running: RunningApi, node: str = "nat-a", **options: float) -> World:
        for name, value in running.credentials(node).items():
            monkeypatch.setenv(name.upper(), value)
        return World(running, Ec2(running.api.region, running.endpoint, **options), node)  # type: ignore[arg-type]

    return connected


@pytest.fixture
def world(api: RunningApi, connect: Callable[..., World]) -> World:
    """nat-a's adapter, nothing enforced."""
    return connect(api)


@pytest.fixture
def table(world: World) -> Table:
    """An empty witness table."""
    make(world.api)
    return connect_to(world.api)
