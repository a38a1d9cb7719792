# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers cost the cluster nothing: floods of the page, readers that never read, processes beside the service that hang."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.fabric.names import OPS
from tests.integration.e2e.cluster import QUICK, Cluster, running_cluster

pytestmark = pytest.mark.timeout(900)  # a node that was killed is fenced, and boots, before the next death
ADDRESS, PORT = "10.0.0.10", 9743
SILENT = 100  # readers at each of the two sockets
# Kills while the page is flooded. One more follows, while the page's process is stopped.
KILLS = pytest.mark.parametrize("kills", [2, pytest.param(29, marks=pytest.mark.nightly)])
# 16 clients ask again and again, until they are ended.
FLOOD = f"""
import socket, threading
def ask():
    while True:
        try:
            with socket.create_connection(("{ADDRESS}", {PORT}), 2) as client:
                client.sendall(b"GET /status.json HTTP/1.1\\r\\nHost: {ADDRESS}\\r\\n\\r\\n")
                while client.recv(65536):
                    pass
        except OSError:
            pass
for _number in range(16):
    threading.Thread(target=ask).start()
"""


@contextmanager
def beside(cluster: Cluster, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process beside the service of nat-a."""
    path = cluster.folder / "nat-a" / "run" / "status.sock"
    argv = cluster.command("nat-a", *words, "--socket", str(path))
    with cluster.log.open("ab") as log:
        process = cluster.lab.host("nat-a").popen(argv, env=cluster.environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@contextmanager
def flood(cluster: Cluster) -> Iterator[None]:
    """From the operator's host."""
    process = cluster.lab.host(OPS).popen(["python3", "-S", "-c", FLOOD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def silent(path: Path) -> Iterator[None]:
    """Readers that ask for all events and never read the answer."""
    with ExitStack() as stack:
        for _number in range(SILENT):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            client.connect(str(path))
            client.sendall(b'{"do": "events", "after": 0}\n')
        yield


def outcomes(cluster: Cluster) -> dict[str, float]:
    """The requests to the page by their outcome."""
    argv = ["curl", "--silent", "--max-time", "5", f"http://{ADDRESS}:{PORT}/metrics"]
    lines = cluster.lab.exec("nat-a", argv, check=False).stdout.splitlines()
    rows = [line for line in lines if line.startswith("nat_failover_web_requests_total")]
    return {row.partition('outcome="')[2].partition('"')[0]: float(row.rpartition(" ")[2]) for row in rows}


def hanging(folder: Path) -> Path:
    """A program for a hook that marks that it was called, and then does nothing for long."""
    program = folder / "hook"
    program.write_text(f"#!/bin/sh\ntouch {folder}/called\nexec sleep 600\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def cluster(tmp_path: Path, kills: int) -> Iterator[Cluster]:
    """A fence for each kill."""
    settings = {"fence": {**QUICK["fence"], "max_per_hour": kills + 1}}
    with running_cluster(tmp_path, settings=settings) as running:
        yield running


def adoptions(cluster: Cluster) -> int:
    """The takeovers of nat-a since its service started."""
    counts: dict[str, int] = cluster.status("nat-a")["event_counts"]
    return counts.get("adopt", 0)


@KILLS
def test_no_reader_and_no_process_beside_the_service_holds_up_a_heartbeat_or_a_takeover(
    cluster: Cluster, kills: int
) -> None:
    lab, run = cluster.lab, cluster.folder / "nat-a" / "run"
    hook = {"name": "slow", "run": [str(hanging(cluster.folder))], "events": ["drained", "adopt"], "timeout_s": 300}
    seen = {node: len(cluster.events(node, "verdict")) for node in ("nat-a", "nat-b")}
    web = ["web", "--cluster", "lab", "--node", "nat-a", "--listen", ADDRESS, "--allow", "10.0.0.0/16"]
    with ExitStack() as stack:
        process = stack.enter_context(beside(cluster, *web))
        stack.enter_context(beside(cluster, "hooks", "--hook", json.dumps(hook)))
        cluster.wait("the page answers", lambda: outcomes(cluster).get("answered", 0) > 0)
        stack.enter_context(flood(cluster))
        stack.enter_context(silent(run / "status.sock"))
        stack.enter_context(silent(run / "control.sock"))
        time.sleep(6)
        late = {node: len(cluster.events(node, "late")) for node in seen}
        print(f"late: {late}")
        assert {node: len(cluster.events(node, "verdict")) for node in seen} == seen, "all stay healthy to each other"
        for taken in range(1, kills + 1):
            boots = lab.host("nat-b").boots
            lab.fault("kill", "nat-b")
            cluster.wait("nat-a takes over", lambda: lab.owner("b") == "nat-a", 10)
            cluster.fenced("nat-b", boots)
            assert adoptions(cluster) == taken, "each death is one takeover"
        assert cluster.misjudged("nat-b", "nat-a") == [], "no heartbeat of nat-a is missed, in any life of nat-b"
        print(f"takeovers: {cluster.events('nat-a', 'adopt')}")
        process.send_signal(signal.SIGSTOP)  # its clients wait, and nobody else
        boots = lab.host("nat-b").boots
        lab.fault("kill", "nat-b")
        cluster.wait("nat-a takes over", lambda: lab.owner("b") == "nat-a", 10)
        cluster.wait("the hook was called, and hangs", (cluster.folder / "called").exists)
        assert cluster.status("nat-a")["lost_lines"] == 0
        process.send_signal(signal.SIGCONT)
        found: dict[str, float] = {}

        def answers() -> bool:
            """The flood goes on, so that a request may be refused."""
            found.update(outcomes(cluster))
            return bool(found)

        cluster.wait("the page answers again", answers)
        print(f"requests: {found}")
        assert found["rate"] + found["too_many"] > 100, "a flood is refused and counted"
    cluster.fenced("nat-b", boots)
    cluster.wait("files are closed again", lambda: handles(cluster) < SILENT)


def handles(cluster: Cluster) -> int:
    """Open files of the service of nat-a."""
    return len(os.listdir(f"/proc/{cluster.service('nat-a').pid}/fd"))
