# SPDX-License-Identifier: GPL-3.0-or-later
"""The contenders: the service by profile, the article's loop, and keepalived. Each builds a lab of its own, ready to fail."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lab.fabric.names import INTERFACE
from lab.hosts.host import Host
from lab.testing import RunningLab, forward, running_lab
from lab.vpc import CLUSTER_TAG, ZoneIds
from tests.integration.e2e.cluster import Cluster, running_cluster

ENDPOINT = "http://198.51.100.53"
PEERS = Path(__file__).parent / "peers"
CALL = [sys.executable, str(PEERS / "ec2_call.py")]
UNTAGGED = "-untagged"  # behind a profile: the instances do not carry the cluster's tag, and are found by their ids
# The return is watched within seconds; the fence keeps its default delay. Neither has a part in the detection.
# A call may take as long as the slowest API that is measured.
OURS: dict[str, Any] = {
    "return": {"after_s": 2, "max_s": 20},
    "fence": {},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 4, "poll_s": 5},
}


class Contender(Protocol):
    """A running cluster of somebody's."""

    lab: RunningLab

    def verdict_at(self, since: float) -> float | None:
        """When (monotonic) the failure was concluded, if that is known."""


class Ours:
    """The service of this collection."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.lab = cluster.lab

    def verdict_at(self, since: float) -> float | None:
        """The survivor's first verdict that says neither healthy nor unknown."""
        for event in self.cluster.status("nat-b")["events"]:
            bad = event.get("verdict") not in (None, "healthy", "unknown", "silent")
            if event["kind"] == "verdict" and event["monotonic"] >= since - 0.001 and bad:
                return float(event["monotonic"])
        return None


class Scripted:
    """A peer whose processes write ``failed <monotonic time>`` into a file for each node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lab: RunningLab = None  # type: ignore[assignment]  # set as soon as there is one

    def boot(self, host: Host) -> None:
        """The boot of the instance. The first boot comes before the ids are known."""
        forward(host)
        if self.lab is not None:
            self.start(host)

    def start(self, host: Host) -> None:
        raise NotImplementedError

    def zones(self, node: str) -> tuple[ZoneIds, ZoneIds]:
        """The own zone and the other one."""
        own = self.lab.ids.node(node)
        return own, next(zone for zone in self.lab.ids.zones.values() if zone is not own)

    def spawn(self, host: Host, argv: list[str]) -> None:
        with (self.folder / f"{host.name}.log").open("ab") as log:
            host.popen(argv, stdout=log, stderr=log)

    def verdict_at(self, since: float) -> float | None:
        """The first that the survivor wrote down."""
        times = [at for word, at in self.said("nat-b") if word == "failed" and at >= since]
        return min(times, default=None)

    def said(self, node: str) -> list[tuple[str, float]]:
        log = self.folder / f"{node}.log"
        lines = [line.split() for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
        return [(words[0], float(words[1])) for words in lines if len(words) == 2 and words[0] in ("ready", "failed")]

    def wait(self, node: str, word: str, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while word not in [each for each, _at in self.said(node)]:
            if time.monotonic() > end:
                raise TimeoutError(f"{node} did not say {word}: {(self.folder / f'{node}.log').read_text()[-2000:]}")
            time.sleep(0.05)


class Article(Scripted):
    """The loop of the article."""

    def start(self, host: Host) -> None:
        own, other = self.zones(host.name)
        plan = {
            "own_instance": own.instance_id,
            "own_table": own.route_table,
            "peer_instance": other.instance_id,
            "peer_table": other.route_table,
            "peer_address": other.private_ip,
            "endpoint": ENDPOINT,
            "call": CALL,
        }
        path = self.folder / f"{host.name}.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        self.spawn(host, [sys.executable, str(PEERS / "article_monitor.py"), str(path)])

    def settle(self) -> None:
        for node in ("nat-a", "nat-b"):
            self.wait(node, "ready")
        time.sleep(3.0)  # the first look at a peer that is well


class Keepalived(Scripted):
    """Unicast VRRP, an instance for each zone, its home with the higher priority; who becomes master replaces the route."""

    def __init__(self, folder: Path, advert_s: float) -> None:
        super().__init__(folder)
        self.advert_s = advert_s

    def start(self, host: Host) -> None:
        home = self.folder / host.name
        home.mkdir(exist_ok=True)
        (home / "keepalived.conf").write_text(self.configuration(host.name, home), encoding="ascii")
        words = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", str(home / "keepalived.conf")]
        self.spawn(host, [*words, "-p", str(home / "pid"), "-r", str(home / "vrrp.pid")])

    def configuration(self, node: str, home: Path) -> str:
        """Also writes the notify scripts that it names."""
        own, other = self.zones(node)
        text = "global_defs {\n  script_user root\n  enable_script_security\n  vrrp_version 3\n}\n"
        for number, zone in enumerate(self.lab.ids.zones.values()):
            script = home / f"master-{zone.zone}"
            route = {
                "RouteTableId": zone.route_table,
                "DestinationCidrBlock": "0.0.0.0/0",
                "NetworkInterfaceId": own.interface_id,
            }
            word = "ready" if zone is own else "failed"
            stamp = f'echo "{word} $(date +%s.%N)" >> {self.folder}/{node}.log'
            script.write_text(
                f"#!/bin/sh\n{stamp}\nexec {' '.join(CALL)} {ENDPOINT} replace_route '{json.dumps(route)}'\n"
            )
            script.chmod(0o755)
            text += (
                f"vrrp_instance {zone.zone} {{\n  state BACKUP\n  interface {INTERFACE}\n  virtual_router_id {51 + number}\n"
                f"  priority {150 if zone is own else 100}\n  advert_int {self.advert_s}\n"
                f"  unicast_src_ip {own.private_ip}\n  unicast_peer {{\n    {other.private_ip}\n  }}\n"
                # It insists on an address to move; this one is of no use to anybody.
                f"  virtual_ipaddress {{\n    192.0.2.{1 + number}/32 dev lo\n  }}\n"
                f'  notify_master "{script}"\n}}\n'
            )
        return text

    def said(self, node: str) -> list[tuple[str, float]]:
        """A shell has no monotonic clock; within a measurement the two clocks differ by a constant."""
        offset = time.time() - time.monotonic()
        return [(word, at - offset) for word, at in super().said(node)]

    def settle(self) -> None:
        for node in ("nat-a", "nat-b"):
            self.wait(node, "ready")
        time.sleep(
            3.0
        )  # both were master of everything for a moment, and the last call won: put the routes where they belong
        for zone in self.lab.ids.zones.values():
            self.lab.client().replace_route(
                RouteTableId=zone.route_table, DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=zone.interface_id
            )


def _keep(_cluster: Cluster) -> None:
    """The instances keep their tags."""


def _untag(cluster: Cluster) -> None:
    """The instances lose the tag by which the service finds them at once."""
    instances = [zone.instance_id for zone in cluster.lab.ids.zones.values()]
    cluster.lab.client().delete_tags(Resources=instances, Tags=[{"Key": CLUSTER_TAG}])


@contextmanager
def running(name: str, folder: Path) -> Iterator[Contender]:
    """A contender, settled: ``default`` and ``fast`` are profiles, also with ``UNTAGGED`` behind them."""
    profile = name.removesuffix(UNTAGGED)
    if profile in ("default", "fast", "calm"):
        settings = {"profile": profile, **OURS}
        with running_cluster(folder, settings=settings, prepare=_keep if profile == name else _untag) as cluster:
            yield Ours(cluster)
        return
    made = Article(folder) if name == "article" else Keepalived(folder, float(name.partition("-")[2]))
    with running_lab(on_boot=made.boot, source_dest_check=False) as lab:
        made.lab = lab
        for zone in lab.ids.zones.values():
            made.start(lab.host(zone.node))
        made.settle()
        yield made
