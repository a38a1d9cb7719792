#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_host_info
short_description: What the role nat_instance has to know of a host, in one round trip
version_added: 1.1.0
description:
  - Tells what is installed, what a running service does not know yet, and how the kernel is set.
  - Used by the role P(aws_ha.egress.nat_instance#role); there is no need to call it yourself.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
options:
  installed:
    description: Files without which nothing is installed yet.
    type: list
    elements: path
    default: []
  config:
    description: The configuration of the service.
    type: path
  socket:
    description: What the service touches whenever it has read its files.
    type: path
  known:
    description: Files, and folders with Python files, which the service reads.
    type: list
    elements: path
    default: []
  user:
    description: The user of the service.
    type: str
  sysctls:
    description: Kernel settings to read, named by their paths below C(/proc/sys).
    type: list
    elements: str
    default: []
  python:
    description: An interpreter that is asked for its version and for that of its boto3.
    type: path
  package_query:
    description: A command that writes C(installed NAME) for each package that is, and may fail for the others.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the host
  aws_ha.egress.nat_failover_host_info:
    installed: [/usr/local/bin/nat-failover]
    config: /etc/nat-failover/config.json
    python: /usr/bin/python3
    socket: /run/nat-failover/control.sock
    known: [/etc/nat-failover/config.json]
    user: nat-failover
"""

RETURN = r"""
pristine:
  description: Whether any of the files in O(installed) is missing.
  returned: success
  type: bool
  sample: false
unknown:
  description: The files that are newer than O(socket). Empty where the service does not run, which has no socket then.
  returned: success
  type: list
  elements: str
  sample: [/etc/nat-failover/config.json]
config:
  description: The text of O(config), empty if it is not there.
  returned: success
  type: str
  sample: '{"cluster": "prod"}'
user:
  description: Home, shell and primary group of O(user); empty if it is not there.
  returned: success
  type: dict
  sample: {"home": "/nonexistent", "shell": "/usr/sbin/nologin", "group": "nat-failover"}
memory_kib:
  description: Memory of the host, in KiB.
  returned: success
  type: int
  sample: 425000
sysctls:
  description: Those of O(sysctls) that there are, by name.
  returned: success
  type: dict
  sample: {"net/ipv4/ip_forward": "1"}
python:
  description: Versions of O(python) and of its boto3; fewer lines where one of them is missing.
  returned: success
  type: list
  elements: str
  sample: ["3.11", "1.26.27"]
packages:
  description: What O(package_query) has written.
  returned: success
  type: list
  elements: str
  sample: [installed iptables]
"""

import grp
import os
import pwd

from ansible.module_utils.basic import AnsibleModule


def text(path: str) -> str:
    """The content of a file; empty without one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def sources(path: str) -> list:
    """The file itself, or the Python files below a folder."""
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.path.join(parent, name)
        for parent, _folders, names in os.walk(path)
        for name in names
        if name.endswith(".py")
    )


def newer(paths: list, socket: str) -> list:
    """What of it has changed after the socket was touched."""
    try:
        told = os.stat(socket).st_mtime_ns
    except FileNotFoundError:
        return []
    files = [file for path in paths for file in sources(path)]
    return [file for file in files if os.path.isfile(file) and os.stat(file).st_mtime_ns > told]


def user_of(name: str) -> dict:
    """What the user database says."""
    try:
        found = pwd.getpwnam(name)
        return {"home": found.pw_dir, "shell": found.pw_shell, "group": grp.getgrgid(found.pw_gid).gr_name}
    except KeyError:
        return {}


def settings(names: list) -> dict:
    """The kernel's, as it writes them, but without the line's end."""
    found = {name: text("/proc/sys/" + name).strip() for name in names}
    return {name: value for name, value in found.items() if value}


ASK = "import sys; print('%d.%d' % sys.version_info[:2]); import boto3; print(boto3.__version__)"


def said(module: AnsibleModule, argv: list) -> list:
    """The lines that a command writes, if it writes any."""
    if not argv:
        return []
    try:
        return module.run_command(argv, handle_exceptions=False)[1].splitlines()
    except OSError:
        return []


def main() -> None:
    paths = {"type": "list", "elements": "path", "default": []}
    words = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "installed": paths,
            "known": paths,
            "config": {"type": "path"},
            "socket": {"type": "path"},
            "user": {"type": "str"},
            "sysctls": words,
            "python": {"type": "path"},
            "package_query": words,
        },
        supports_check_mode=True,
    )
    given = module.params
    memory = [line.split()[1] for line in text("/proc/meminfo").splitlines() if line.startswith("MemTotal:")]
    module.exit_json(
        changed=False,
        pristine=not all(os.path.exists(path) for path in given["installed"]),
        unknown=newer(given["known"], given["socket"]) if given["socket"] else [],
        config=text(given["config"]) if given["config"] else "",
        user=user_of(given["user"]) if given["user"] else {},
        memory_kib=int(memory[0]) if memory else 0,
        sysctls=settings(given["sysctls"]),
        # -I: neither the caller's environment nor his folder decides what root imports.
        python=said(module, [given["python"], "-I", "-c", ASK] if given["python"] else []),
        packages=said(module, given["package_query"]),
    )


if __name__ == "__main__":
    main()
