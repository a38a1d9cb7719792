# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as an operator runs them, against the lab's API. No host and no root: what needs nodes is tested by molecule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import image
from lab.running_api import RunningApi

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A run of a playbook with tens of AWS modules takes a minute, and on a busy machine several."""
    for item in items:
        if "integration/playbooks" in item.nodeid:
            item.add_marker(pytest.mark.timeout(2400))


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``results`` are (task, host, result) in order."""

    code: int
    text: str
    stats: dict[str, dict[str, int]]
    results: tuple[tuple[str, str, dict[str, Any]], ...]

    @property
    def changed(self) -> int:
        return sum(host["changed"] for host in self.stats.values())

    def messages(self) -> str:
        """The messages of the failed tasks, in one line."""
        said = (str(result.get("msg", "")) for _task, _host, result in self.results if result.get("failed"))
        return " ".join(" ".join(said).split())


class Playbooks:
    """Runs playbooks of this checkout with the operator's credentials."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        link = folder / "collections" / "ansible_collections" / "aws_ha" / "egress"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT, target_is_directory=True)
        (folder / "none.yml").write_text("{}\n", encoding="ascii")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))},
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_INJECT_FACT_VARS": "0",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "PYTHONPATH": str(image.BYTECODE.parent),
            "LAB_ANSIBLE_ARCHIVES": str(folder / "archives"),
            "LC_ALL": "C.UTF-8",
            "PWD": str(folder),
            **environment,
        }

    @classmethod
    def against(cls, api: RunningApi, folder: Path) -> Playbooks:
        """With the operator's credentials for a served API."""
        access = api.credentials()
        return cls(
            folder,
            {
                "AWS_ENDPOINT_URL": api.endpoint,
                "AWS_REGION": api.api.region,
                "AWS_ACCESS_KEY_ID": access["aws_access_key_id"],
                "AWS_SECRET_ACCESS_KEY": access["aws_secret_access_key"],
            },
        )

    @contextmanager
    def keys_in_a_profile(self, name: str) -> Iterator[None]:
        """The credentials are known by a profile only, as those of another account are."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        before, config = dict(self.environment), self.folder / "aws.ini"
        lines = [f"[profile {name}]", *(f"{each.lower()} = {self.environment.pop(each)}" for each in names)]
        config.write_text("\n".join(lines), encoding="ascii")
        self.environment.update(AWS_CONFIG_FILE=str(config), AWS_SHARED_CREDENTIALS_FILE="/nowhere")
        try:
            yield
        finally:
            self.environment = before

    def start(self, argv: list[str], inventory: Path) -> subprocess.Popen[bytes]:
        """One of Ansible's commands, which goes on while the test does."""
        words = [str(ANSIBLE.with_name(argv[0])), "-i", str(inventory), *argv[1:]]
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=nowhere, stderr=nowhere)

    def call(
        self, argv: list[str], inventory: Path | None = None, limit_s: float = 1500
    ) -> subprocess.CompletedProcess[str]:
        """One of Ansible's commands, in the folder."""
        words = [str(ANSIBLE.with_name(argv[0])), "-i", str(inventory or self.folder / "none.yml"), *argv[1:]]
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=limit_s
        )

    def run(self, name: str, *flags: str, inventory: Path | None = None, **extra: Any) -> Outcome:
        """A playbook of the collection by its short name."""
        done = self.call(["ansible-playbook", f"aws_ha.egress.{name}", "-e", json.dumps(extra), *flags], inventory)
        start = done.stdout.find("{\n")
        assert start >= 0, done.stdout + done.stderr
        data = json.JSONDecoder().raw_decode(done.stdout[start:])[0]
        results = tuple(
            (task["task"]["name"], host, result)
            for play in data["plays"]
            for task in play["tasks"]
            for host, result in task["hosts"].items()
        )
        return Outcome(done.returncode, done.stdout + done.stderr, data["stats"], results)
