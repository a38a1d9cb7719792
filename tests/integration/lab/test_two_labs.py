# SPDX-License-Identifier: GPL-3.0-or-later
"""Two labs have hosts of the same names, addresses and instance ids. Nothing that ssh or Ansible keeps of one may serve the other."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab import render
from lab.fabric import cleanup
from lab.fabric.names import Names

ROOT = Path(__file__).resolve().parents[3]
SOCKET_PATH = 108  # sun_path of unix(7), with the byte that ends it
DRAFT = 17  # ssh makes the socket under a longer name first: a dot and 16 characters
DIGEST = 40  # what ssh puts in place of %C


def described(name: str) -> dict[str, Any]:
    """As ``lab status --json`` would show two nodes."""
    nodes = {
        f"nat-{zone}": {"address": f"10.0.{number}.10", "instance_id": f"i-{number}", "route_tables": [f"rtb-{number}"]}
        for number, zone in enumerate("ab")
    }
    return {"name": name, "hosts": nodes, "cluster": "lab", "region": "eu-west-1", "ipv6": False}


def ansible_options(name: str) -> dict[str, dict[str, str]]:
    """The options of ssh that Ansible is given, by host."""
    hosts = render.inventory(described(name))["all"]["children"]["nat_nodes"]["hosts"]
    found = {}
    for host, variables in hosts.items():
        words = shlex.split(variables["ansible_ssh_common_args"])
        pairs = (word.partition("=") for word in words if word != "-o")
        found[host] = {"HostName": variables["ansible_host"], **{key: value for key, _equals, value in pairs}}
    return found


def ssh_options(name: str) -> dict[str, dict[str, str]]:
    """The same of ``lab ssh-config``."""
    found: dict[str, dict[str, str]] = {}
    for line in render.ssh_config(described(name)).splitlines():
        key, _space, value = line.strip().partition(" ")
        if key == "Host":
            found[value] = {}
        else:
            found[list(found)[-1]][key] = value
    return found


@pytest.mark.parametrize("options", [ansible_options, ssh_options])
def test_all_that_ssh_goes_by_differs_between_two_labs(options: Any) -> None:
    one, two = options("one"), options("two")
    assert list(one) == list(two) == ["nat-a", "nat-b"]
    for host, of_one in one.items():
        keyed = ("HostName", "ControlPath", "UserKnownHostsFile", "ProxyCommand")
        assert [key for key in keyed if of_one[key] == two[host][key]] == []
        assert of_one["StrictHostKeyChecking"] == "yes"
    assert one["nat-a"]["HostName"] != one["nat-b"]["HostName"], "ssh's %C goes by the name of the host"


def test_the_control_path_of_the_longest_name_fits_into_a_socket_address() -> None:
    names = Names("n" * 20)
    assert Path(names.ssh_control).parent == names.run, "it goes with the lab"
    assert len(names.ssh_control.replace("%C", "c" * DIGEST)) + DRAFT < SOCKET_PATH


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ansible_meets_the_machines_of_its_own_lab_though_it_has_just_met_the_others(tmp_path: Path) -> None:
    labs = [f"x{letter}{os.getpid()}" for letter in "ab"]
    environment = {**os.environ, "HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "ansible")}
    try:
        for name in labs:
            command(["-m", "lab", "up", "--name", name, "--zones", "a", "--weight", "machine"], environment)
            inventory = command(["-m", "lab", "inventory", "--name", name], environment)
            (tmp_path / f"{name}.yml").write_text(inventory, encoding="utf-8")
        keys = {name: command(["-m", "lab", *exec_of(name)], environment).strip() for name in labs}
        assert len(set(keys.values())) == 2, "machines of their own"
        for name in (*labs, *labs):
            assert keys[name] in by_ansible(tmp_path / f"{name}.yml", environment)
    finally:
        for name in labs:
            cleanup.remove(Names(name))


def exec_of(name: str) -> list[str]:
    return ["exec", "--name", name, "nat-a", "cat", "/etc/ssh/ssh_host_ed25519_key.pub"]


def by_ansible(inventory: Path, environment: dict[str, str]) -> str:
    """The answer of the host of this name, over a connection that Ansible keeps for a minute."""
    ask = {"argv": ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]}
    play = ["-m", "ansible.cli.adhoc", "-i", str(inventory), "nat-a", "-m", "ansible.builtin.command"]
    return command([*play, "-a", json.dumps(ask)], environment)


def command(words: list[str], environment: dict[str, str]) -> str:
    """Run a module of Python; its output."""
    argv = [sys.executable, *words]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
