# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's connection to a host of a crowd: enters its network and its disk, and writes down what that took."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from typing import Any

from ansible.errors import AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: lab_crowd
short_description: run tasks on a host of a lab's crowd
description: Enters the network namespace and the disk of a host that C(lab.fleet) has made.
author: The aws_ha.egress contributors (@aws-ha)
options:
  namespace:
    description: The host's network namespace.
    type: str
    vars: [{name: ansible_lab_namespace}]
  root:
    description: The host's disk.
    type: path
    vars: [{name: ansible_lab_root}]
  log:
    description: A file to which each round trip adds a line of JSON.
    type: path
    vars: [{name: ansible_lab_log}]
"""


class Connection(ConnectionBase):
    """Each ``exec_command``, ``put_file`` and ``fetch_file`` is a round trip, as it would be over SSH."""

    transport = "lab_crowd"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        began, cost = time.monotonic(), _spent()
        root = self.get_option("root")
        done = subprocess.run(
            [
                *("nsenter", f"--net=/run/netns/{self.get_option('namespace')}", f"--root={root}", f"--wd={root}"),
                *("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"),
                *("LANG=C.UTF-8", "/bin/sh", "-c", cmd),
            ],
            input=in_data or b"",
            capture_output=True,
            check=False,
        )
        self._tell("exec", len(in_data or b"") + len(cmd), began, _spent() - cost)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        began = time.monotonic()
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"{in_path} is not there")
        shutil.copyfile(in_path, self._here(out_path))
        self._tell("put", os.path.getsize(in_path), began, 0.0)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        began = time.monotonic()
        shutil.copyfile(self._here(in_path), out_path)
        self._tell("fetch", os.path.getsize(out_path), began, 0.0)

    def close(self) -> None:
        self._connected = False

    def _here(self, path: str) -> str:
        return os.path.join(self.get_option("root"), path.lstrip("/"))

    def _tell(self, kind: str, size: int, began: float, cpu_s: float) -> None:
        log = self.get_option("log")
        if log:
            row: dict[str, Any] = {
                "host": self._play_context.remote_addr,
                "kind": kind,
                "bytes": size,
                "seconds": round(time.monotonic() - began, 4),
                "cpu_s": round(cpu_s, 4),
            }
            with open(log, "a", encoding="utf-8") as stream:  # one write of a short line: hosts do not mix theirs
                stream.write(json.dumps(row) + "\n")


def _spent() -> float:
    """CPU seconds of what this process has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
