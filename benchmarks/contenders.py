# SPDX-License-Identifier: GPL-3.0-or-later
"""The contenders: the service by profile, the article's loop, and keepalived. Each builds a lab of its own, ready to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lab.tags import CLUSTER_TAG
from lab.testing import RunningLab, running_lab
from tests.integration.e2e.cluster import Cluster, running_cluster
from tests.integration.e2e.identities import running_identities
from tests.integration.e2e.synchronised import Synchronised

from .keepalived import Keepalived, Synced
from .scripted import RETURN_S, Article

UNTAGGED = "-untagged"  # behind a profile: the instances do not carry the cluster's tag, and are found by their ids
# The return is watched within seconds; the fence keeps its default delay. Neither has a part in the detection.
# A call may take as long as the slowest API that is measured.
OURS: dict[str, Any] = {
    "return": {"after_s": RETURN_S, "max_s": 20},
    "fence": {},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 4, "poll_s": 5},
}
# The default profile with identities, by level, the first one first: options of ``running_identities``.
IDENTITIES: dict[str, dict[str, Any]] = {"identities": {}, "synchronised": {"make": Synchronised}}
SYNCED = "-sync"  # behind keepalived: with conntrackd, and an Elastic IP that moves


class Contender(Protocol):
    """A running cluster of somebody's."""

    lab: RunningLab

    def verdict_at(self, since: float) -> float | None:
        """When (monotonic) the failure was concluded, if that is known."""

    def is_back(self, node: str) -> bool:
        """Whether a node that booted is ready to take over from its peer."""


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

    def is_back(self, node: str) -> bool:
        """It has seen each peer well, and its conntrackd is arranged."""
        try:
            status = self.cluster.status(node)
        except AssertionError:
            return False
        well = all(row["verdict"] == "healthy" for row in status["verdicts"]) and status["self"]["forwarding"]
        return bool(well and (not isinstance(self.cluster, Synchronised) or self.cluster.arranged(node)))


def _keep(_cluster: Cluster) -> None:
    """The instances keep their tags."""


def _untag(cluster: Cluster) -> None:
    """The instances lose the tag by which the service finds them at once."""
    instances = [zone.instance_id for zone in cluster.lab.ids.zones.values()]
    cluster.lab.client().delete_tags(Resources=instances, Tags=[{"Key": CLUSTER_TAG}])


@contextmanager
def running(name: str, folder: Path, return_s: float = RETURN_S) -> Iterator[Contender]:
    """A contender, settled: ``default`` and ``fast`` are profiles, also with ``UNTAGGED`` behind them; see ``IDENTITIES``.

    ``return_s``: how long a node that was dead is well before it takes its claims back, of those that know such a time.
    """
    ours = {**OURS, "return": {"after_s": return_s, "max_s": 10 * return_s}}
    if name in IDENTITIES:
        with running_identities(folder, settings=ours, **IDENTITIES[name]) as cluster:
            if isinstance(cluster, Synchronised):
                nodes = [zone.node for zone in cluster.lab.ids.zones.values()]
                cluster.wait("conntrackd is arranged", lambda: all(map(cluster.arranged, nodes)), 30)
            yield Ours(cluster)
        return
    profile = name.removesuffix(UNTAGGED)
    if profile in ("default", "fast", "calm"):
        settings = {"profile": profile, **ours}
        with running_cluster(folder, settings=settings, prepare=_keep if profile == name else _untag) as cluster:
            yield Ours(cluster)
        return
    made = _peer(name, folder, return_s)
    with running_lab(on_boot=made.boot, source_dest_check=False, with_egress=isinstance(made, Synced)) as lab:
        made.lab = lab
        for zone in lab.ids.zones.values():
            made.start(lab.host(zone.node))
        made.settle()
        yield made


def _peer(name: str, folder: Path, return_s: float) -> Article | Keepalived:
    if name == "article":
        return Article(folder)
    kind = Synced if name.endswith(SYNCED) else Keepalived
    return kind(folder, float(name.removesuffix(SYNCED).partition("-")[2]), return_s)
