# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk, and a journal that takes nothing: neither holds up a heartbeat or a takeover, and both are told."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.hosts.host import Host
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


def exhaust(cluster: Cluster, node: str) -> None:
    """Events until one finds no room: the file's last page may have some left on a full disk."""
    for _number in range(40):
        if "history_unwritten" in codes(cluster, node):
            return
        cluster.run(node, "pause", "--for", "1h")
        cluster.run(node, "unpause")
    raise AssertionError("each event has found room")


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
        exhaust(cluster, "nat-a")
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


class Unread(Cluster):
    """nat-a is a unit of systemd whose journal takes nothing: its socket is full, and so is the stream behind stderr."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.journal = self.folder / "journal"
        self.journal.mkdir()
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind(str(self.journal / "socket"))
        self._stderr = os.pipe()
        os.set_blocking(self._stderr[1], False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self._stderr[1], bytes(4096))
        os.set_blocking(self._stderr[1], True)

    def stuff(self) -> int:
        """Fill the socket as other programs of the host would. Returns the number of their entries."""
        sent = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"MESSAGE=of another program\n", str(self.journal / "socket"))
                    sent += 1
        return sent

    def entries(self, count: int) -> list[bytes]:
        """The next entries that the journal reads."""
        self.receiver.settimeout(10)
        return [self.receiver.recv(1 << 18) for _number in range(count)]

    def start(self, host: Host) -> None:
        if host.name != "nat-a":
            super().start(host)
            return
        self.write_config(host.name)
        host.exec(self.command(host.name, "rules", "apply"), env=self.environment())
        # A mount namespace of its own, in which the journal's folder is the one of this test.
        script = (
            f"mount -t tmpfs none /run && mkdir -p /run/systemd && ln -s {self.journal} /run/systemd/journal && exec "
        )
        argv = ["unshare", "--mount", "sh", "-ec", script + shlex.join(self.command(host.name, "run"))]
        environment = {**self.environment(), "JOURNAL_STREAM": "8:1"}
        self._services[host.name] = host.popen(argv, env=environment, stderr=self._stderr[1])

    def close(self) -> None:
        """Nobody reads any more."""
        self.receiver.close()
        for descriptor in self._stderr:
            os.close(descriptor)


def test_a_journal_that_hangs_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made: list[Unread] = []

        def make(*arguments: Any) -> Unread:
            made.append(Unread(*arguments))
            stack.callback(made[0].close)
            return made[0]

        cluster = stack.enter_context(running_cluster(tmp_path, make=make))
        unread = made[0]
        queued = unread.stuff()
        death_and_return(cluster)
        lost = cluster.status("nat-a")["lost_lines"]
        assert lost > 0 and "lost_lines" in codes(cluster, "nat-a")
        assert any("nat-b is failed" in each["text"] for each in cluster.recorded("nat-a")), (
            "the disk has what it lacks"
        )
        unread.entries(queued)
        assert cluster.run("nat-a", "drain", "--reason", "the journal works again").returncode == 0
        while b"lines are missing before this one" not in unread.entries(1)[0]:
            pass  # each line that came before it, or a timeout of the socket
        assert cluster.run("nat-a", "resume").returncode == 0
        cluster.service("nat-a").terminate()
        assert cluster.service("nat-a").wait(20) == 0, "its end waits for nobody either"
