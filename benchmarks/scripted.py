# SPDX-License-Identifier: GPL-3.0-or-later
"""Contenders made of scripts on bare hosts: what they have in common, and the loop of the article."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lab.hosts.host import Host
from lab.testing import RunningLab, forward
from lab.vpc import ZoneIds

ENDPOINT = "http://198.51.100.53"
PEERS = Path(__file__).parent / "peers"
RETURN_S = 2.0  # of the contenders that know a return: so soon that it can be watched. It has no part in the detection
CALL = [sys.executable, str(PEERS / "ec2_call.py")]


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

    def is_back(self, node: str) -> bool:
        """Its processes have been started."""
        return True

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
