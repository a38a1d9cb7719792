# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk holds up no heartbeat and no takeover, and is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.e2e.cluster import Cluster, running_cluster

pytestmark = pytest.mark.timeout(300)  # a node that was killed is fenced, and boots
DISK_BYTES = 64 << 10


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A filesystem of its own."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "small", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no byte free."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        with pytest.raises(OSError, match="No space left on device"):
            while True:
                stream.write(bytes(512))
    return path


def codes(cluster: Cluster, node: str) -> set[str]:
    """The codes of the problems of a node."""
    return {problem["code"] for problem in cluster.status(node)["problems"]}


def death_and_return(cluster: Cluster) -> None:
    """nat-b dies, nat-a takes its route over, and nat-b is home again."""
    before = len(cluster.events("nat-a", "adopt"))
    boots = cluster.lab.host("nat-b").boots
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("nat-a takes over", lambda: cluster.lab.owner("b") == "nat-a", 10)
    cluster.fenced("nat-b", boots)
    assert len(cluster.events("nat-a", "adopt")) == before + 1
    assert cluster.misjudged("nat-b", "nat-a") == [], "no heartbeat of nat-a is missed"


def test_a_full_disk_costs_the_history_and_nothing_else(tmp_path: Path) -> None:
    state = tmp_path / "nat-a" / "state"
    with small_disk(state), running_cluster(tmp_path) as cluster:
        filler = fill(state)
        kept = cluster.recorded("nat-a")
        death_and_return(cluster)
        assert "history_unwritten" in codes(cluster, "nat-a")
        shown = cluster.run("nat-a", "status").stdout
        assert f"the history in {state} is not written: [Errno 28] No space left on device" in shown
        told = [event for event in cluster.events("nat-a", "problem") if "is not written" in event]
        assert len(told) == 1, "once, and not with each event"
        filler.unlink()
        assert cluster.run("nat-a", "drain", "--reason", "a disk is replaced").returncode == 0
        assert cluster.run("nat-a", "resume").returncode == 0
        cluster.wait("it is over", lambda: "history_unwritten" not in codes(cluster, "nat-a"))
        assert cluster.recorded("nat-a")[: len(kept)] == kept and len(cluster.recorded("nat-a")) > len(kept)
        assert any("a disk is replaced" in each["text"] for each in cluster.recorded("nat-a"))
        assert cluster.run("nat-a", "history").returncode == 0
