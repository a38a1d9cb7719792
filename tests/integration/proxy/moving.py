# SPDX-License-Identifier: GPL-3.0-or-later
"""Both NAT nodes of a lab as proxies at an address that the service ``nat-failover`` moves, which depends on the proxy."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.hosts.host import Host
from lab.vpc import DEFAULT_ROUTE
from tests.integration.e2e.cluster import Cluster, running_cluster
from tests.integration.proxy.nodes import Nodes
from tests.integration.proxy.seen import PUBLIC

ADDRESS = "100.64.99.1"
VIP = ADDRESS + "/32"
WITHIN_S = 40.0  # generous: a round of the health check, the readings, a write, on a machine that is busy
Planner = Callable[..., dict[str, Any]]


class Served(Cluster):
    """A cluster whose NAT nodes are proxies as well, at an address that moves."""

    nodes: Nodes

    def boot(self, host: Host) -> None:
        super().boot(host)
        host.exec(["ip", "address", "replace", VIP, "dev", "lo"])
        self.nodes.boot(host)

    def write_config(self, node: str, **changes: Any) -> Path:
        service = {"name": "proxy", "file": str(self.nodes.verdict(node)), "destinations": [VIP]}
        return super().write_config(node, services=[service], **changes)

    def address_of(self, zone: str) -> str | None:
        """The node that clients of a zone find at the address."""
        owner: str | None = self.lab.owner(zone, VIP)
        return owner

    def requests(self, host: str, proxies: str = ADDRESS, **times: float) -> subprocess.Popen[str]:
        """Start a client of the proxy, or of the first one that answers of several (comma between)."""
        return self.nodes.requests(host, proxies, **times)

    def services(self, node: str) -> dict[str, Any]:
        """The row of the proxy in a node's status."""
        [row] = self.status(node)["services"]
        return dict(row)

    def problems(self, node: str) -> list[str]:
        """The subjects of the problems with services that a node names."""
        return [each["subject"] for each in self.status(node)["problems"] if each["code"] == "service_unwell"]


@contextmanager
def running_served(
    planner: Planner, engine: str = "tinyproxy", settings: dict[str, Any] | None = None
) -> Iterator[Served]:
    """A settled cluster. Each node trusts its proxy."""
    plan = planner(
        engine=engine,
        sources=["10.0.0.0/16"],
        health_destinations=[],
        address=ADDRESS,
        nat_destinations=[DEFAULT_ROUTE, VIP],
    )
    with tempfile.TemporaryDirectory(prefix="proxy-moves-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the engine's user
        nodes = Nodes(plan, folder / "nodes")
        nodes.folder.mkdir()

        def make(*arguments: Any) -> Served:
            made = Served(*arguments)
            made.nodes = nodes
            return made

        def lab_is_up(cluster: Cluster) -> None:
            nodes.lab = cluster.lab

        settings = {"destinations": [DEFAULT_ROUTE, VIP], **(settings or {})}
        with running_cluster(folder, settings=settings, make=make, prepare=lab_is_up) as cluster:
            assert isinstance(cluster, Served)
            for node in PUBLIC:
                cluster.wait(f"{node} trusts its proxy", lambda node=node: cluster.services(node)["trusted"], WITHIN_S)
            yield cluster
