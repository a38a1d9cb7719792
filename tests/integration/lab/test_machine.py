# SPDX-License-Identifier: GPL-3.0-or-later
"""NAT nodes as machines: systemd, sshd, a kernel that forgets and a disk that does not. Makes the image the first time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import render, status
from lab.fabric import cleanup
from lab.fabric.names import Names
from lab.testing import RunningLab, running_lab

NAME = f"m{os.getpid()}"


def until(true: Callable[[], bool], limit_s: float = 30) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def ssh(lab: RunningLab, node: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As an operator would."""
    config = folder / "ssh_config"
    config.write_text(render.ssh_config({"name": NAME, **status.describe(lab)}) + "\n", encoding="ascii")
    argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", node, command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_machines(tmp_path: Path) -> None:
    with running_lab(NAME, weight="machine", source_dest_check=False) as lab:
        status.write_known_hosts(lab)
        boots_and_is_reached(lab, tmp_path)
        is_a_nat_instance(lab)
        forgets_at_a_reboot_what_is_not_on_disk(lab, tmp_path)
        dies_and_comes_back(lab)
        is_reached_by_ansible(lab, tmp_path)
        switches_itself_off(lab, tmp_path)
    names = Names(NAME)
    assert (names.namespaces(), names.run.exists(), names.state.exists()) == ([], False, False)
    assert not [path for root in cleanup.cgroup_roots() for path in root.glob(names.namespace("*"))]


def boots_and_is_reached(lab: RunningLab, folder: Path) -> None:
    done = ssh(lab, "nat-a", "hostname; systemctl is-system-running --wait; touch /root/kept", folder)
    assert done.stdout.split() == ["nat-a", "running"], done.stderr
    token = "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
    read = f'curl -s -H "X-aws-ec2-metadata-token: $({token})" http://169.254.169.254/latest/meta-data/instance-id'
    assert lab.exec("nat-b", ["bash", "-c", read]).stdout == lab.ids.node("nat-b").instance_id


def is_a_nat_instance(lab: RunningLab) -> None:
    assert not lab.connect("client-a", "198.51.100.10", 443, 0.5)
    lab.exec("nat-a", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    lab.exec("nat-a", ["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "ens5", "-j", "MASQUERADE"])
    assert lab.connect("client-a", "198.51.100.10", 443)


def forgets_at_a_reboot_what_is_not_on_disk(lab: RunningLab, folder: Path) -> None:
    ssh(lab, "nat-a", "systemctl reboot", folder)
    until(lambda: lab.host("nat-a").boots == 2 and lab.host("nat-a").state == "on")
    lab.host("nat-a").wait_ready()
    done = ssh(lab, "nat-a", "ls /root; cat /proc/sys/net/ipv4/ip_forward; iptables-save -t nat | grep -c MASQ", folder)
    assert done.stdout.split() == ["kept", "0", "0"], done.stderr


def dies_and_comes_back(lab: RunningLab) -> None:
    lab.fault("freeze", "nat-b")
    assert not lab.ping("nat-a", "10.0.1.10", 0.3)
    lab.fault("thaw", "nat-b")
    assert lab.ping("nat-a", "10.0.1.10")
    lab.fault("kill", "nat-b")
    assert not lab.ping("nat-a", "10.0.1.10", 0.3)
    assert lab.instance("nat-b").state == "running"
    ec2, node = lab.client(), lab.ids.node("nat-b").instance_id
    ec2.stop_instances(InstanceIds=[node])
    until(lambda: lab.instance("nat-b").state == "stopped")
    ec2.start_instances(InstanceIds=[node])
    until(lambda: lab.instance("nat-b").state == "running")
    lab.host("nat-b").wait_ready()
    assert lab.ping("nat-a", "10.0.1.10")


def is_reached_by_ansible(lab: RunningLab, folder: Path) -> None:
    inventory = folder / "inventory.yml"
    # JSON is YAML.
    inventory.write_text(json.dumps(render.inventory({"name": NAME, **status.describe(lab)})), encoding="ascii")
    ansible = Path(sys.executable).with_name("ansible")
    argv = [str(ansible), "-i", str(inventory), "nat_nodes", "-m", "ansible.builtin.ping"]
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
    }
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=folder)
    assert done.stdout.count("SUCCESS") == 2, done.stdout + done.stderr


def switches_itself_off(lab: RunningLab, folder: Path) -> None:
    ssh(lab, "nat-b", "systemctl poweroff", folder)
    until(lambda: lab.instance("nat-b").state == "stopped")
    assert lab.host("nat-b").state == "off"
