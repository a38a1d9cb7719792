# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's configuration, guard and health check on the lab's bare hosts: what systemd starts on machines, a boot hook starts here."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import downloads
from lab.fabric import netns
from lab.fabric.names import WEB_NAME
from lab.hosts.host import Host
from lab.testing import RunningLab, running_lab
from tests.integration.proxy.conftest import FILES, PROGRAMS, render, wait
from tests.integration.proxy.seen import Request, ended

# A program of the role with its places below a folder of its own.
PLACED = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import {program} as program
for name, path in {places}.items():
    setattr(program, name, path)
sys.exit(program.main(sys.argv[2:]))
"""


class Nodes:
    """Both NAT nodes of a lab as proxies."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.lab: RunningLab = None  # type: ignore[assignment]  # set as soon as there is one
        self._engines: dict[str, subprocess.Popen[bytes]] = {}

    def home(self, node: str) -> Path:
        return self.folder / node

    def boot(self, host: Host) -> None:
        """Guard, engine, health check, in the order of the role's units."""
        home = self.home(host.name)
        for place in (home, home / "run", home / "state/health", home / "request"):
            place.mkdir(parents=True, exist_ok=True)
        self.verdict(host.name).unlink(missing_ok=True)  # /run is empty after a boot
        settings = {**self.plan["node"], "config": str(home / f"{self.plan['engine']}.conf")}
        (home / "proxy.json").write_text(json.dumps(settings), encoding="ascii")
        host.exec(self._program(host.name, "proxy_guard", "apply"))
        with (home / "log").open("ab") as log:
            host.popen(self._program(host.name, "proxy_health", "run"), stdout=log, stderr=log)
        self.start_engine(host)

    def start_engine(self, host: Host) -> None:
        """The proxy alone. It listens afterwards."""
        home, user = self.home(host.name), pwd.getpwnam(self.plan["user"])
        os.chown(home / "run", user.pw_uid, user.pw_gid)
        (home / "run/aws-ha-egress.pid").unlink(missing_ok=True)
        config = render(self.plan, home)
        with (home / "log").open("ab") as log:
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
            argv = [*as_user, *PROGRAMS[self.plan["engine"]], str(config)]
            engine = self._engines[host.name] = host.popen(argv, stdout=log, stderr=log)
        tables = [Path(f"/proc/{engine.pid}/net/{name}") for name in ("tcp", "tcp6")]
        mark = f":{self.plan['port']:04X} "
        wait(lambda: engine.poll() is None and any(mark in each.read_text() for each in tables), self.plan["engine"])

    def requests(self, host: str, proxies: str, *urls: str, **times: float) -> subprocess.Popen[str]:
        """Start a client of proxies (comma between)."""
        argv = downloads.command(proxies, str(self.lab.ca), *(urls or [WEB_NAME]), **times)
        process: subprocess.Popen[str] = self.lab.host(host).popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return process

    def reload(self, node: str) -> Any:
        """The ``ExecReload`` of the engine's unit: its result."""
        pid = f"MAINPID={self._engines[node].pid}"
        return self.lab.exec(node, ["env", pid, *self._program(node, "proxy_reload", "reload")], check=False)

    def reload_often(self, node: str, times: int) -> list[Request]:
        """The requests of a client of a node's proxy while it reloads so many times. Each reload must succeed.

        The client waits for longer than others: a connection that is held is begun anew after a second (RFC 6298).
        """
        client = self.requests("client-a", self.lab.host(node).address, interval_s=0.05, limit_s=5.0)
        time.sleep(1)
        try:
            for _number in range(times):
                done = self.reload(node)
                assert done.returncode == 0, done.stderr
                time.sleep(1.5)  # a connection that was held has been begun anew before the next reload
        finally:
            seen = ended(client)
        return seen

    def health(self, node: str, verb: str) -> None:
        """The command ``proxy-health`` on a node."""
        self.lab.exec(node, self._program(node, "proxy_health", verb))

    def verdict(self, node: str) -> Path:
        """The file in which the health check of a node writes its verdict."""
        return self.home(node) / "verdict.json"

    def kill_engine(self, node: str) -> None:
        """The proxy's processes die; nothing starts them again."""
        netns.send([pid for pid in self.lab.host(node).processes() if self.is_engine(pid)], signal.SIGKILL)
        self._engines[node].wait()

    def pids(self, node: str, program: str) -> list[int]:
        """The processes of a node whose command line names a program of the role, or the engine."""
        found = self.lab.host(node).processes()
        if program == self.plan["engine"]:
            return [pid for pid in found if self.is_engine(pid)]
        return [pid for pid in found if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def is_engine(self, pid: int) -> bool:
        """Whether a process of a node belongs to the engine."""
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == self.plan["engine"]

    def log(self) -> str:
        """The ends of the nodes' logs."""
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*/log"))

    def _program(self, node: str, program: str, verb: str) -> list[str]:
        home = self.home(node)
        places = {"SETTINGS": f"{home}/proxy.json"}
        if program == "proxy_reload":
            places |= {"CHECK": str(FILES / "proxy_check.py"), "FILTER": f"{home}/filter"}
        if program == "proxy_health":
            places |= {"STATE": f"{home}/state", "DRAINED": f"{home}/state/drained"}
            places |= {"RESTARTS": f"{home}/state/health/restarts.json", "REQUEST": f"{home}/request/restart"}
            places |= {"VERDICT": str(self.verdict(node))}
        return [sys.executable, "-c", PLACED.format(program=program, places=places), str(FILES), verb]


@contextmanager
def running_nodes(plan: dict[str, Any]) -> Iterator[Nodes]:
    """A lab in which both nodes are proxies, and clients have no other way to the internet."""
    folder = Path(tempfile.mkdtemp(prefix="proxy-nodes-"))
    folder.chmod(0o755)  # for the engine's user
    nodes = Nodes(plan, folder)
    try:
        with running_lab(on_boot=nodes.boot) as lab:
            nodes.lab = lab
            yield nodes
    finally:
        shutil.rmtree(folder, ignore_errors=True)
