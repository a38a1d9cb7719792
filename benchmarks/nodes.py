# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of real services as the benchmarks need it: any interpreter, many nodes, and the settings that operators have."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.hosts.host import Host
from lab.vpc import ZoneIds
from tests.integration.e2e.cluster import Cluster, running_cluster

# The defaults, where the tests' cluster has shorter times.
SETTINGS: dict[str, Any] = {
    "return": {"after_s": 30, "max_s": 1800},
    "fence": {"after_s": 30, "stagger_s": 15},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 2, "poll_s": 5},
    "handover": {},
    "unseen_after_s": 60,
}
START_LIMIT_S = 30.0
# Services that may start at the same time: more of them would starve each other of this machine's few cores.
AT_ONCE = 3


class Nodes(Cluster):
    """``python``: what the services run with. ``tables``: by node, when it has other tables than its zone's."""

    python = ""
    tables: Mapping[str, Sequence[str]] = MappingProxyType({})

    def start(self, host: Host) -> None:
        """One after the other where there are many: on machines of their own they would not be in each other's way."""
        super().start(host)
        if len(self.lab.ids.zones) > AT_ONCE:
            self.wait(f"{host.name} has started", (self.folder / host.name / "run" / "control.sock").exists)

    def command(self, node: str, *words: str) -> list[str]:
        interpreter, *rest = super().command(node, *words)
        return [self.python or interpreter, *rest]

    def _member(self, zone: ZoneIds) -> dict[str, Any]:
        member = super()._member(zone)
        return {**member, "route_tables": list(self.tables[zone.node])} if zone.node in self.tables else member

    def settle(self) -> None:
        """Asks each node once a round: the tests' way, every pair, takes too long among many."""
        names = [zone.node for zone in self.lab.ids.zones.values()]
        with ThreadPoolExecutor(4) as pool:
            self.wait("all settled", lambda: all(pool.map(self._settled, names)), 60 + 10 * len(names))

    def _settled(self, node: str) -> bool:
        status = self.status(node)
        verdicts = {row["verdict"] for row in status["verdicts"]}
        own = [claim for claim in status["claims"] if claim["home"] == node]
        return verdicts == {"healthy"} and status["self"]["forwarding"] and all(c["owner"] == node for c in own)

    def start_up(self, node: str) -> float:
        """Stop a node's service and start it anew: seconds from the start of the process to READY=1, which systemd waits for."""
        old = self.service(node)
        old.terminate()
        old.wait(15)
        path = self.folder / "notify.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.log.open("ab") as log:
            notify.bind(str(path))
            notify.settimeout(START_LIMIT_S)
            began = time.monotonic()
            environment = {**self.environment(), "NOTIFY_SOCKET": str(path)}
            process: subprocess.Popen[bytes] = self.lab.host(node).popen(
                self.command(node, "run"), env=environment, stdout=log, stderr=log
            )
            self._services[node] = process
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.monotonic() - began


@contextmanager
def running_nodes(
    folder: Path,
    *,
    python: str = "",
    settings: Mapping[str, Any] | None = None,
    zones: Sequence[str] = ("a", "b"),
    helpers: bool = True,
    prepare: Any = lambda cluster: None,
) -> Iterator[Nodes]:
    """A settled cluster."""

    def make(*arguments: Any) -> Nodes:
        made = Nodes(*arguments)
        made.python = python
        return made

    wanted = {**SETTINGS, **(settings or {})}
    with running_cluster(folder, settings=wanted, helpers=helpers, zones=zones, make=make, prepare=prepare) as cluster:
        assert isinstance(cluster, Nodes)
        yield cluster


def events(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """The events of a node, the oldest first."""
    found: list[dict[str, Any]] = cluster.status(node)["events"]
    return found


def counters(cluster: Cluster, node: str) -> dict[str, int]:
    """The counters of a node's transport."""
    found: dict[str, int] = cluster.status(node)["counters"]
    return found
