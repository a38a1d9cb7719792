# SPDX-License-Identifier: GPL-3.0-or-later
"""site over many pairs, a third at a time, interrupted in the middle and run again. One pair is the lab's two machines, the others are a crowd.

ROLLOUT_PAIRS=20 asks for more of them than a gate has time for.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.fabric import netns
from lab.fleet.hosts import CONNECTION, Crowd, crowd
from tests.integration.fleet.conftest import Fleet

CONFIG = "/etc/nat-failover/config.json"
PAIRS = int(os.environ.get("ROLLOUT_PAIRS", "6"))
SERIAL = 2 * PAIRS // 3 + 1
HALF = 12  # round trips to a host, of the 23 that a first run takes
SOCKET = "/run/nat-failover/control.sock"
INSTALLED = (
    *("/etc/nat-failover", "/usr/local/bin", "/usr/local/lib/nat-failover", "/etc/systemd/system"),
    *("/etc/sysctl.d/90-nat-failover.conf", "/etc/modules-load.d"),
)
UNITS = ("nat-failover.service", "nat-failover-canary.service", "nat-failover-repair.socket")
UNITS += ("nat-failover-rules.service", "nat-failover-handover.service")


class Rollout:
    """One inventory of all, with the machines in the second batch."""

    def __init__(self, fleet: Fleet, hosts: Crowd) -> None:
        self.fleet, self.hosts = fleet, hosts
        self.log, self.inventory = (fleet.playbooks.folder / f"rollout.{kind}" for kind in ("jsonl", "yml"))
        made = hosts.inventory(self.log, nat_instance_check_online=False)  # the machines' is asked for
        machines = yaml.safe_load(fleet.inventory.read_text(encoding="utf-8"))["all"]["children"]["nat_nodes"]
        members = made["all"]["children"]["nat_nodes"].pop("hosts")
        shared = made["all"]["children"]["nat_nodes"].pop("vars")
        of_machines = {"ansible_connection": "ssh", **machines["vars"], "nat_instance_unseen_after_s": 11}
        ordered = [(name, {**shared, **given}) for name, given in members.items()]
        ordered[SERIAL:SERIAL] = [(name, {**of_machines, **given}) for name, given in machines["hosts"].items()]
        self.names = [name for name, _given in ordered]
        made["all"]["children"]["nat_nodes"]["hosts"] = dict(ordered)
        self.inventory.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
        self.playbook = ["ansible-playbook", "aws_ha.egress.site", "-e", f"nat_site_serial={SERIAL}"]

    def trips(self) -> Counter[str]:
        """Round trips so far, by host of the crowd."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return Counter(json.loads(line)["host"] for line in lines)

    def interrupt_in_the_second_batch(self) -> None:
        """As when the operator's machine dies. Tasks that are under way on hosts come to their end."""
        process = self.fleet.playbooks.start(self.playbook, self.inventory)
        second = [name for name in self.names[SERIAL : 2 * SERIAL] if name in self.hosts.members]
        try:
            self.fleet.wait("half-way", lambda: any(self.trips()[name] >= HALF for name in second), 900)
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
        self.fleet.wait("nothing is under way", self._is_quiet, 120)

    def _is_quiet(self) -> bool:
        before = self.trips()
        time.sleep(3)
        return self.trips() == before

    def state(self, host: str) -> dict[str, tuple[str, int]]:
        """Content and mode of what is installed on a host of the crowd, its own configuration left out."""
        found = {}
        for path in (self.hosts.file(host, each) for each in INSTALLED):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                ours = file.is_file() and not file.is_symlink() and file.suffix not in (".pyc", ".json")
                if ours and (path.name != "system" or file.name.startswith("nat-failover")):
                    name = str(file.relative_to(self.hosts.members[host].root))
                    found[name] = (hashlib.sha256(file.read_bytes()).hexdigest(), stat.S_IMODE(file.stat().st_mode))
        return found

    def is_complete(self, host: str) -> bool:
        """All units are enabled and active, and the service has been told of everything that it reads."""
        units = self.hosts.file(host, "/run/crowd-units")
        marks = {f"{unit}.{mark}" for unit in UNITS for mark in ("active", "enabled")}
        if not (units.is_dir() and marks <= {file.name for file in units.iterdir()}):
            return False
        known = [self.hosts.file(host, CONFIG), self.hosts.file(host, "/etc/nat-failover/heartbeat.key")]
        known += self.hosts.file(host, "/usr/local/lib/nat-failover/nat_failover").rglob("*.py")
        told = self.hosts.file(host, SOCKET).stat().st_mtime_ns
        return all(file.stat().st_mtime_ns <= told for file in known)

    def config(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.hosts.file(host, CONFIG).read_text(encoding="utf-8"))
        return found

    def nodes(self, host: str) -> list[dict[str, Any]]:
        """The members that a host's configuration must name."""
        cluster = self.hosts.members[host].ids.cluster
        pair = [each.ids for each in self.hosts.members.values() if each.ids.cluster == cluster]
        return [
            {
                "name": ids.name,
                "instance_id": ids.instance_id,
                "route_tables": [ids.route_table],
                "address": ids.address,
            }
            for ids in pair
        ]


@pytest.fixture
def rollout(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rollout]:
    cache = {
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.playbooks.folder / "facts"),
    }
    known = {**fleet.playbooks.environment, **cache, "ANSIBLE_CONNECTION_PLUGINS": str(CONNECTION)}
    monkeypatch.setattr(fleet.playbooks, "environment", known)
    with crowd(fleet.lab, fleet.lab.names, PAIRS - 1) as hosts:
        yield Rollout(fleet, hosts)
    fleet.run("site")  # the machines as they were


@pytest.mark.nightly
def test_a_rollout_that_is_interrupted_ends_where_it_should_when_it_is_run_again(
    fleet: Fleet, rollout: Rollout
) -> None:
    calls, members = len(fleet.lab.calls()), list(rollout.hosts.members)
    rollout.interrupt_in_the_second_batch()
    first, second = rollout.names[:SERIAL], [n for n in rollout.names[SERIAL : 2 * SERIAL] if n in members]
    third = rollout.names[2 * SERIAL :]
    assert all(rollout.is_complete(host) for host in first)
    assert not all(rollout.is_complete(host) for host in second), "it was interrupted in the middle of them"
    assert any(len(rollout.state(host)) > len(rollout.state(third[0])) for host in second)
    assert not any(rollout.hosts.file(host, "/usr/local/bin/nat-failover").exists() for host in third)

    done = fleet.playbooks.run("site", inventory=rollout.inventory, nat_site_serial=SERIAL)
    assert done.code == 0, done.text[-8000:]
    assert {done.stats[host]["changed"] for host in first} == {0}
    wanted = rollout.state(first[0])
    assert len(wanted) > 40
    for host in members:
        assert rollout.is_complete(host), host
        assert rollout.state(host) == wanted, host
        assert rollout.config(host)["self"] == host and rollout.config(host)["nodes"] == rollout.nodes(host)
        assert (
            netns.inside(rollout.hosts.members[host].namespace, Path("/proc/sys/net/ipv4/ip_forward").read_text)
            == "1\n"
        )
        assert not fleet.lab.instance(host).source_dest_check
    for node in ("nat-a", "nat-b"):
        assert json.loads(fleet.node(node, "cat", CONFIG))["unseen_after_s"] == 11
        assert fleet.status(node)["verdicts"][0]["verdict"] == "healthy"
        assert fleet.lab.owner(node[-1]) == node
    moved = [call for call in fleet.lab.calls()[calls:] if call.ok and call.action in ("ReplaceRoute", "StopInstances")]
    assert moved == [], "no route left its home meanwhile, and nobody was fenced"

    peer = {
        path: file.stat()
        for path in ("/etc/nat-failover/config.json", SOCKET)
        for file in [rollout.hosts.file("pair01-b", path)]
    }
    limited = fleet.playbooks.run(
        "site", "--limit", "pair01-a", inventory=rollout.inventory, nat_instance_mode="observe"
    )
    assert limited.code == 0 and list(limited.stats) == ["pair01-a"] and limited.changed > 0
    assert rollout.config("pair01-a")["mode"] == "observe" and rollout.config("pair01-a")["nodes"] == rollout.nodes(
        "pair01-a"
    )
    assert all(rollout.hosts.file("pair01-b", path).stat() == before for path, before in peer.items())
