# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines of the lab, set up by site.yml as an operator would, for the playbooks that work on a running cluster."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import render, status
from lab.fabric import cleanup
from lab.fabric.names import INTERNET
from lab.testing import RunningLab, running_lab
from tests.integration.playbooks.conftest import Outcome, Playbooks

NAME = f"{cleanup.TESTS}{os.getpid()}"
KEY = "the-first-key-of-the-lab-0123456789"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here boots machines."""
    for item in items:
        if "integration/fleet" in item.nodeid:
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.timeout(2400))
            if os.geteuid() != 0:
                raise pytest.UsageError("tests/integration/fleet boots machines: run it as root")


class Fleet:
    """A lab with an inventory of it, and the operator's Ansible."""

    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.lab = lab
        self.playbooks = Playbooks.against(lab, folder)
        self.inventory = folder / "inventory.yml"
        self.write_inventory(nat_instance_heartbeat_key=KEY)

    def write_inventory(self, of_hosts: dict[str, dict[str, Any]] | None = None, **variables: Any) -> None:
        """The lab's own inventory with more variables of the group, and of single hosts."""
        inventory = render.inventory({"name": NAME, **status.describe(self.lab)})
        inventory["all"]["children"][render.GROUP]["vars"].update(
            nat_instance_sources=["10.0.0.0/16"],
            nat_instance_manage_packages=False,
            nat_instance_return={"after_s": 2},
            **variables,
        )
        for host, given in (of_hosts or {}).items():
            inventory["all"]["children"][render.GROUP]["hosts"][host].update(given)
        self.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")

    def run(self, name: str, *flags: str, **extra: Any) -> Outcome:
        """A playbook that must succeed."""
        outcome = self.playbooks.run(name, *flags, inventory=self.inventory, **extra)
        assert outcome.code == 0, outcome.text[-8000:]
        return outcome

    def refused(self, name: str, *flags: str, **extra: Any) -> str:
        """A playbook that must fail; what it said."""
        outcome = self.playbooks.run(name, *flags, inventory=self.inventory, **extra)
        assert outcome.code != 0, outcome.text[-8000:]
        return outcome.messages()

    def node(self, node: str, *argv: str) -> str:
        """Run something on a node."""
        return str(self.lab.exec(node, list(argv)).stdout)

    def status(self, node: str) -> dict[str, Any]:
        """The status of a node's service."""
        done = self.lab.exec(node, "nat-failover status --json".split(), check=False)
        assert done.returncode in (0, 1, 2), done.stdout + done.stderr  # well, degraded, critical
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def seen(self, client: str) -> str:
        """The public address with which a client is seen on the internet; "" without internet."""
        argv = ["curl", "--silent", "--max-time", "2", f"http://{INTERNET}/"]
        return str(self.lab.exec(client, argv, check=False).stdout).strip()

    def writes(self) -> list[str]:
        """The calls that have changed EC2 so far, without flares and the service's own tags."""
        quiet = ("Describe", "Get", "CreateTags", "DeleteTags", "AssumeRole")
        return [f"{call.action} by {call.caller}" for call in self.lab.calls() if not call.action.startswith(quiet)]

    def wait(
        self, what: str, true: Callable[[], bool], seconds: float = 60.0, tell: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until something is true. ``tell``: what a failure says besides."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds} s: {what}{tell()}"
            time.sleep(0.2)

    def wait_to_see(self, what: str, client: str, address: str, seconds: float = 120.0) -> None:
        """Wait until a client is seen on the internet with a public address; a failure tells what was seen, and what the nodes say."""
        seen = []

        def is_seen() -> bool:
            seen.append(self.seen(client))
            return seen[-1] == address

        def tell() -> str:
            ask = "nat-failover status".split()
            told = [self.lab.exec(node, ask, check=False).stdout for node in ("nat-a", "nat-b")]
            return f"; {client} is seen as '{seen[-1]}'\n" + "\n".join(told)

        self.wait(what, is_seen, seconds, tell)

    def settle(self) -> None:
        """Every claim is at home."""
        for zone in self.lab.ids.zones:
            self.wait(f"zone {zone} at home", lambda zone=zone: self.lab.owner(zone) == f"nat-{zone}")  # type: ignore[misc]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all: each test leaves everything at home."""
    with running_lab(NAME, weight="machine", enforce_iam=True, instance_type="t3.small") as lab:
        status.write_known_hosts(lab)
        made = Fleet(lab, tmp_path_factory.mktemp("fleet"))
        made.run("site")
        made.settle()
        yield made
