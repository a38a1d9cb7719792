# SPDX-License-Identifier: GPL-3.0-or-later
"""The failover, live: the survivor's own history, EC2's call log and the packets, in the order of their times."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import launch
from ..api.calls import read_calls
from ..errors import LabError
from ..fabric.names import Names
from ..vpc import DEFAULT_ROUTE
from .show import Show

HISTORY = "/var/lib/nat-failover/history.jsonl"
DIES, SURVIVES, CLIENT, OTHER_CLIENT = "nat-a", "nat-b", "client-a", "client-b"
SHOWN = ("StopInstances", "StartInstances", "RebootInstances", "ReplaceRoute", "CreateRoute", "AssociateAddress")
Call = Callable[..., dict[str, Any]]


def stops(call_log: Path, before: int) -> int:
    """How often EC2 has stopped an instance since it had answered so many calls."""
    return sum(call.ok and call.action == "StopInstances" for call in read_calls(call_log)[before:])


class Story:
    """Asks a running lab, and shows what its nodes do."""

    def __init__(self, names: Names, show: Show) -> None:
        self.names, self.show = names, show

    def status(self) -> dict[str, Any]:
        """The lab's description."""
        return launch.call(self.names, "status")

    def owner(self, zone: str, destination: str = DEFAULT_ROUTE) -> str | None:
        """The owner of a route of a zone's private table, by EC2."""
        found: str | None = self.status()["routes"][zone]["owners"].get(destination)
        return found

    def on(self, host: str, *words: str) -> list[str]:
        """A command line that runs on a host."""
        return [*launch.call(self.names, "command", host=host)["command"], *words]

    def spawn(self, host: str) -> Callable[..., subprocess.Popen[bytes]]:
        """For ``Stream``: starts a process in a host's namespace."""
        return lambda argv, **options: subprocess.Popen(self.on(host, *argv), start_new_session=True, **options)

    def node(self, host: str) -> dict[str, Any]:
        """``nat-failover status --json`` of a node; empty while it does not answer."""
        try:
            command = self.on(host, "nat-failover", "status", "--json")
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            found: dict[str, Any] = json.loads(done.stdout) if done.returncode in (0, 1, 2) else {}
        except (LabError, ValueError, subprocess.TimeoutExpired):
            return {}
        return found

    def sees(self, host: str, peer: str) -> str:
        """A node's verdict on a peer."""
        rows = self.node(host).get("verdicts", [])
        return next((row["verdict"] for row in rows if row["peer"] == peer), "")

    def wait_until_well(self) -> None:
        """Until the nodes see each other."""
        sight = {(DIES, SURVIVES), (SURVIVES, DIES)}
        self.wait(
            "the nodes see each other", lambda: {self.sees(host, peer) for host, peer in sight} == {"healthy"}, 30
        )

    def kill(self) -> float:
        """The node that dies is killed; when (monotonic). Times are shown from then on."""
        killed: float = launch.call(self.names, "fault", kind="kill", host=DIES)["at"]
        self.show.zero(killed)
        self.show.event(killed, "demo", f"{DIES} is killed: its kernel answers nothing, EC2 still says running")
        return killed

    def wait_until_booted(self) -> None:
        """Until its peer has stopped and started it."""
        self.wait(f"{DIES} is started again", lambda: self.status()["hosts"][DIES]["boots"] > 1, 90)
        self.show.event(time.monotonic(), "demo", f"{DIES} has been stopped and started, and boots")

    def wait(self, what: str, true: Callable[[], bool], seconds: float) -> None:
        """Wait for something, and say so when it takes long."""
        begin = told = time.monotonic()
        while not true():
            now = time.monotonic()
            if now - begin > seconds:
                raise LabError(f"not within {seconds:.0f} s: {what}; see `nat-failover status` on the nodes")
            if now - told > 10:
                told = now
                self.show.passing(f"waiting: {what} ({now - begin:.0f} s)")
            time.sleep(0.1)

    @contextlib.contextmanager
    def live(self, host: str, call_log: Path) -> Iterator[None]:
        """Show what a node writes into its history, and the calls that change something in EC2, as they come."""
        # Nothing of the demo may stand in the way of what is measured: one process waits on the node, one thread reads each.
        tail = subprocess.Popen(
            self.on(host, "tail", "-n", "0", "-F", HISTORY),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        ended = threading.Event()
        readers = [
            threading.Thread(target=self._history, args=(host, tail), daemon=True),
            threading.Thread(target=self._calls, args=(call_log, ended), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            ended.set()
            tail.terminate()
            tail.wait()
            for reader in readers:
                reader.join(timeout=2)

    def _history(self, host: str, tail: subprocess.Popen[str]) -> None:
        for line in tail.stdout or ():
            with contextlib.suppress(ValueError, KeyError):
                event = json.loads(line)
                self.show.event(event["monotonic"], host, f"{event['kind']}: {event['text']}")

    def _calls(self, call_log: Path, ended: threading.Event) -> None:
        seen = len(read_calls(call_log))
        while not ended.wait(0.2):
            calls = read_calls(call_log)
            for call in calls[seen:]:
                if call.action in SHOWN:
                    word = "accepted" if call.ok else call.error
                    self.show.event(call.time, "EC2", f"{call.action} by {call.caller}: {word}")
            seen = len(calls)
