# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on many hosts: how long ``site.yml`` takes, what it costs your machine and each host, and which tasks that is."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lab.fabric import cleanup
from lab.fabric.names import Names
from lab.fleet.hosts import CONNECTION, Crowd, crowd
from lab.running_api import running_api
from tests.integration.playbooks.conftest import Playbooks

from .campaign import Key, Part, Row
from .summary import median

HOSTS, QUICK_HOSTS = (2, 20, 100), (2, 20)
PASSES = ("first", "second")
FORKS = 5  # Ansible's default
FIGURES = ("wall_s", "operator_cpu_s", "host_cpu_s", "trips", "sent_kb")


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 3):
        for count in QUICK_HOSTS if quick else HOSTS:
            yield {"hosts": count, "run": run}


def measure(key: Key) -> Row:
    """Both runs on hosts that nobody has configured before; figures are per host."""
    names = Names(f"{cleanup.TESTS}{os.getpid()}")
    cleanup.sweep_tests()
    cleanup.record(names, "owner", os.getpid())
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, running_api(enforce_iam=True) as api:
            with crowd(api, names, key["hosts"] // 2) as hosts:
                playbooks = Playbooks.against(api, Path(folder))
                playbooks.environment |= {"ANSIBLE_CONNECTION_PLUGINS": str(CONNECTION), "ANSIBLE_FORKS": str(FORKS)}
                return {name: _pass(playbooks, hosts, name) for name in PASSES}
    finally:
        cleanup.remove(names)


def _pass(playbooks: Playbooks, hosts: Crowd, name: str) -> Row:
    log, inventory = (playbooks.folder / f"{name}.{kind}" for kind in ("jsonl", "yml"))
    inventory.write_text(yaml.safe_dump(hosts.inventory(log)), encoding="utf-8")
    began, spent = time.monotonic(), _spent()
    done = playbooks.call(["ansible-playbook", "aws_ha.egress.site"], inventory, limit_s=3600)
    wall, cpu = time.monotonic() - began, _spent() - spent
    if done.returncode != 0:
        raise RuntimeError(f"site ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    told = json.loads(done.stdout[done.stdout.index("{\n") :])
    changed = sum(host["changed"] for host in told["stats"].values())
    if name == "second" and changed:
        raise RuntimeError(f"the second run changed {changed} things")
    trips = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    count = len(hosts.members)
    on_hosts = sum(trip["cpu_s"] for trip in trips)
    return {
        "wall_s": round(wall / count, 3),
        "operator_cpu_s": round((cpu - on_hosts) / count, 3),
        "host_cpu_s": round(on_hosts / count, 3),
        "trips": round(len(trips) / count, 1),
        "sent_kb": round(sum(trip["bytes"] for trip in trips) / count / 1000),
        "changed": round(changed / count, 1),
        "tasks": _tasks(told, count),
    }


def _tasks(told: dict[str, Any], count: int) -> dict[str, float]:
    """Seconds per host by task, in the order of the run; a handler that runs twice counts twice."""
    found: dict[str, float] = {}
    for play in told["plays"]:
        for task in play["tasks"]:
            times = task["task"]["duration"]
            if "end" in times:
                name = task["task"]["name"].partition(" : ")[2] or task["task"]["name"]
                took = (_moment(times["end"]) - _moment(times["start"])).total_seconds()
                found[name] = found.get(name, 0.0) + took / count
    return {name: round(seconds, 3) for name, seconds in found.items()}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.rstrip("Z"))


def _spent() -> float:
    """CPU seconds of everything that this process has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def groups(rows: Sequence[Row]) -> dict[tuple[int, str], list[Row]]:
    """The measurements of a run, by (number of hosts, first or second)."""
    counts = sorted({row["hosts"] for row in rows})
    return {(count, name): [row[name] for row in rows if row["hosts"] == count] for count in counts for name in PASSES}


def figures(rows: list[Row]) -> dict[str, float]:
    """Medians, per host."""
    return {
        f"{count} hosts, {name} run: {figure}": median([each[figure] for each in members])
        for (count, name), members in groups(rows).items()
        for figure in FIGURES
    }


PART = Part("rollout", ("hosts", "run"), plan, measure, figures)
