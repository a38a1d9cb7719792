# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks against the lab's machines, over SSH, as an operator would."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .. import render
from ..errors import LabError
from .show import Show

ROOT = Path(__file__).resolve().parents[2]
# Shorter than the defaults (30 s each), so that the whole story fits into a minute and a half; detection is as by default.
PACE = {"nat_instance_fence": {"after_s": 10, "stagger_s": 10}, "nat_instance_return": {"after_s": 5}}
# The lab's machines have what they need, and reach no package mirror: they live in a box.
HERE = {"nat_instance_sources": ["10.0.0.0/16"], "nat_instance_manage_packages": False}


def write_inventory(status: dict[str, Any], folder: Path, **more: dict[str, Any]) -> Path:
    """The inventory, with more groups of all nodes and their variables.

    It is readable by root only: it holds the heartbeat key, which an operator would keep in a vault.
    """
    inventory = render.inventory(status)
    variables = inventory["all"]["children"][render.GROUP]["vars"]
    variables.update(PACE, **HERE, nat_instance_heartbeat_key=secrets.token_hex(32))
    nodes = inventory["all"]["children"][render.GROUP]["hosts"]
    for name, node in nodes.items():
        node["nat_iam_interface_id"] = status["hosts"][name]["interface_id"]
    for group, values in more.items():
        inventory["all"]["children"][group] = {"hosts": {name: {} for name in nodes}, "vars": values}
    file = folder / "inventory.yml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    return file


def play(show: Show, inventory: Path, log: Path, playbook: str, **variables: object) -> int:
    """One run of a playbook; returns how many tasks changed something. A failure is a ``LabError`` with the end of the output."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), f"playbooks/{playbook}.yml"]
    command += [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    environment = {**os.environ, "ANSIBLE_HOST_KEY_CHECKING": "True", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOWS": "1"}
    output = []
    with log.open("a", encoding="utf-8") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            for line in process.stdout or ():
                sink.write(line)
                output.append(line.rstrip())
                task = re.match(r"(?:TASK|RUNNING HANDLER) \[(?:.* : )?(.*?)\] \*", line)
                if task and not _included(task.group(1)):
                    show.passing(task.group(1))
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.terminate()
            code = process.wait()
    if code:
        tail = "\n".join(output[-25:])
        raise LabError(f"ansible-playbook ended with {code}; its output is in {log}\n{tail}")
    return sum(int(number) for number in re.findall(r"^nat-\S+\s+: ok=\d+\s+changed=(\d+)", "\n".join(output), re.M))


def _included(task: str) -> bool:
    return task.startswith(("Include ", "Gathering "))
