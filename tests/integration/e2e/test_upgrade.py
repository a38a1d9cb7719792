# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling upgrade from the engine before the rooms: no route moves, and no node is taken for dead."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.e2e.cluster import LAUNCHER, ROOT, Cluster, running_cluster

BEFORE = "c452dd6bef00eab619ccb9bfd4d56b4be6a201cd"
PARTS = ("plugins/module_utils/nat_failover", "roles/nat_instance/files/main.py")


class Upgrading(Cluster):
    """``engines``: the tree that a node's engine and launcher are from; this one where none is named."""

    def __init__(self, *arguments: Any, engines: dict[str, Path]) -> None:
        super().__init__(*arguments)
        self.engines = engines

    def command(self, node: str, *words: str) -> list[str]:
        tree = self.engines.get(node)
        if tree is None:
            return super().command(node, *words)
        launcher = tree / LAUNCHER.relative_to(ROOT)
        config = self.folder / node / "config.json"
        path = f"PYTHONPATH={tree / 'plugins' / 'module_utils'}"
        return ["env", path, sys.executable, str(launcher), "--config", str(config), *words]

    def status(self, node: str) -> dict[str, Any]:
        """As the command of the node's own engine says it."""
        done = self.run(node, "status", "--json")
        # Well, degraded or critical. The older engine returns 1 and prints nothing when its service does not answer.
        assert done.returncode in (0, 1, 2) and done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def history(self, node: str) -> list[dict[str, Any]]:
        """All events of a node, also those of its older service. Its service may be in the middle of a line."""
        lines = (self.folder / node / "state" / "history.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine of the commit before the rooms, from this repository's history."""
    argv = ["git", "-c", "safe.directory=*", "archive", BEFORE, *PARTS]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, f"the history of this repository is needed (git fetch --unshallow): {done.stderr!r}"
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder)
    return folder


def test_an_upgrade_of_one_node_after_the_other_moves_nothing(older: Path, tmp_path: Path) -> None:
    engines = {"nat-a": older, "nat-b": older}
    with running_cluster(tmp_path, make=functools.partial(Upgrading, engines=engines)) as cluster:
        assert isinstance(cluster, Upgrading)
        lab = cluster.lab
        with lab.stream("client-a") as stream, lab.stream("client-b") as other:
            stream.wait_for_answer()
            other.wait_for_answer()
            for node in ("nat-a", "nat-b"):
                cluster.service(node).terminate()
                cluster.service(node).wait(10)
                del engines[node]
                cluster.start(lab.host(node))
                cluster.settle()  # old and new understand each other, then new and new
            stream.wait_for_answer()
            other.wait_for_answer()
        assert cluster.writes() == []
        assert stream.result().packets_lost == other.result().packets_lost == 0
        verdicts = {
            (node, event["verdict"])
            for node in ("nat-a", "nat-b")
            for event in cluster.history(node)
            if event["kind"] == "verdict"
        }
        assert not {kind for _node, kind in verdicts} & {"failed", "silent", "sick", "partitioned"}, verdicts
        assert len([event for event in cluster.history("nat-a") if event["kind"] == "started"]) == 2
