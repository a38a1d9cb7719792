#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_host_info
short_description: The facts of a host that the role nat_instance needs, in one round trip
version_added: 1.1.0
description:
  - Returns the installed files, the files that a running service has not read yet, and settings of the kernel.
  - Used by the role P(aws_ha.egress.nat_instance#role). A playbook need not call it.
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
    description: Files that every installed node has.
    type: list
    elements: path
    default: []
  optional:
    description: Files that a node may have.
    type: list
    elements: path
    default: []
    version_added: 1.1.0
  config:
    description: The configuration of the service.
    type: path
  socket:
    description: The file that the service touches after each reading of its files.
    type: path
  known:
    description: Files, and folders with Python files, which the service reads.
    type: list
    elements: path
    default: []
  user:
    description: The user of the service.
    type: str
  needed_users:
    description: Users that must exist on the host.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  user_groups:
    description: Groups that O(user) should be in besides its primary one.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  sysctls:
    description: Kernel settings to read, named by their paths below C(/proc/sys).
    type: list
    elements: str
    default: []
  sysctl_files:
    description: Kernel settings, named likewise, of which the files of sysctl.d(5) are searched.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  python:
    description: An interpreter whose version, and the version of its boto3, are wanted. It runs as under the service.
    type: path
  unit:
    description: The unit of that service.
    type: str
    default: nat-failover.service
    version_added: 1.1.0
  unit_content:
    description: The content of that unit, or the relevant part of its section C([Service]) - the user and the sandbox. Without it the interpreter runs as is.
    type: str
    default: ""
    version_added: 1.1.0
  flowtable_wanted:
    description: Whether to find out if the kernel has flow tables. It takes a while, since the kernel lists all of its functions.
    type: bool
    default: false
    version_added: 1.1.0
  executables:
    description: Programs that any user should be able to run.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  package_query:
    description: A command that writes C(installed NAME) for each installed package, and may fail for the others.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Read the facts of the host
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
  description: The files that are newer than O(socket). Empty if the service does not run, since it has no socket then.
  returned: success
  type: list
  elements: str
  sample: [/etc/nat-failover/config.json]
optional:
  description: The files of O(optional) that exist.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/nat-failover-web.service]
executable_problems:
  description: The programs of O(executables) that not every user can run, each with the reason.
  returned: success
  type: dict
  sample: {"/opt/hooks/chat": "is not there"}
config:
  description: The text of O(config), empty if it is missing.
  returned: success
  type: str
  sample: '{"cluster": "prod"}'
user:
  description: Home, shell, primary group of O(user), and those of O(user_groups) that it is in; empty if it is missing.
  returned: success
  type: dict
  sample: {"home": "/nonexistent", "shell": "/usr/sbin/nologin", "group": "nat-failover", "groups": ["nat-failover-read"]}
missing_users:
  description: The users of O(needed_users) that do not exist.
  returned: success
  type: list
  elements: str
  sample: [cwagent]
memory_kib:
  description: Memory of the host, in KiB.
  returned: success
  type: int
  sample: 425000
online_cpus:
  description: The CPUs that are online, as the kernel lists them; empty if that is not known.
  returned: success
  type: str
  sample: 0-3
kernel:
  description: The release of the running kernel.
  returned: success
  type: str
  sample: 6.1.0-28-cloud-amd64
flowtable:
  description: Whether the running kernel has flow tables of nftables, also as a module that is not loaded yet. False without O(flowtable_wanted).
  returned: success
  type: bool
  sample: true
ssh_connection:
  description: Address and port of the SSH connection that runs this module; empty without one.
  returned: success
  type: dict
  sample: {"address": "192.0.2.7", "port": 22}
sysctls:
  description: The settings of O(sysctls) that exist, by name.
  returned: success
  type: dict
  sample: {"net/ipv4/ip_forward": "1"}
sysctl_files:
  description: Per setting of O(sysctl_files), each file that sets it with its value, in the order in which systemd applies them.
  returned: success
  type: dict
  sample: {"net/netfilter/nf_conntrack_tcp_loose": [["/etc/sysctl.d/90-nat-failover.conf", "1"]]}
python:
  description: Versions of O(python) and of its boto3; fewer lines if one of them is missing.
  returned: success
  type: list
  elements: str
  sample: ["3.11", "1.26.27"]
python_problem:
  description: The reason why the service cannot use an interpreter that root can use; empty without such a reason.
  returned: success
  type: str
  sample: ""
packages:
  description: The output of O(package_query).
  returned: success
  type: list
  elements: str
  sample: [installed iptables]
"""

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _as_service


def text(path: str) -> str:
    """The content of a file; empty without one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
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
    """The files that have changed after the socket was touched."""
    try:
        told = os.stat(socket).st_mtime_ns
    except FileNotFoundError:
        return []
    files = [file for path in paths for file in sources(path)]
    return [file for file in files if os.path.isfile(file) and os.stat(file).st_mtime_ns > told]


def user_of(name: str, groups: list) -> dict:
    """The entry of the user database, with those of ``groups`` that it is in. Empty if there is
    none.
    """
    try:
        found = pwd.getpwnam(name)
        entry = {"home": found.pw_dir, "shell": found.pw_shell, "group": grp.getgrgid(found.pw_gid).gr_name}
    except KeyError:
        return {}
    return {**entry, "groups": [group for group in groups if name in members(group)]}


def members(group: str) -> list:
    """The users of a group; empty if it is missing."""
    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return []


def executable_problem(path: str) -> str:
    """The reason why not every user can run a program; empty if every user can."""
    if not os.path.isfile(path):
        return "is not there" if not os.path.exists(path) else "is no file"
    if not os.stat(path).st_mode & stat.S_IXOTH:
        return "is not executable for every user (chmod 0755)"
    folder = os.path.dirname(os.path.realpath(path))
    while folder != "/":
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return f"lies in {folder}, which not every user can enter"
        folder = os.path.dirname(folder)
    return ""


def ssh_connection(pid: int, proc: str = "/proc") -> dict:
    """The source of the SSH connection above a process, and its port here.

    Source: the variable SSH_CONNECTION of sshd(8). The environment of each parent counts, since
    sudo removes the variable.
    """
    while pid > 1:
        for each in text("%s/%d/environ" % (proc, pid)).split("\0"):
            name, _is, value = each.partition("=")
            words = value.split()
            if name == "SSH_CONNECTION" and len(words) == 4 and words[3].isdigit():
                return {"address": words[0].partition("%")[0], "port": int(words[3])}
        parent = [
            line.split()[1] for line in text("%s/%d/status" % (proc, pid)).splitlines() if line.startswith("PPid:")
        ]
        pid = int(parent[0]) if parent else 0
    return {}


def settings(names: list) -> dict:
    """The settings as the kernel writes them, without the end of the line."""
    found = {name: text("/proc/sys/" + name).strip() for name in names}
    return {name: value for name, value in found.items() if value}


# A name in an earlier folder hides the same name in a later one (sysctl.d(5)).
SYSCTL_FOLDERS = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d")


def settings_of_files(names: list, root: str = "/") -> dict:
    """Per setting, the pairs of a file and the value in it, in the order in which systemd applies
    them.
    """
    found = {name: [] for name in names}
    for path in sysctl_paths(root) if names else []:
        for line in text(path).splitlines():
            key, _is, value = line.strip().lstrip("-").partition("=")
            name = key.strip()
            # sysctl.d(5): where the first separator is a dot, dots and slashes change places.
            if "/" not in name.split(".")[0]:
                name = name.translate(str.maketrans("./", "/."))
            if name in found:
                found[name].append(["/" + os.path.relpath(path, root), value.strip()])
    return found


def sysctl_paths(root: str) -> list:
    """The files of sysctl.d(5) in the order in which systemd applies them."""
    files = {}
    for folder in SYSCTL_FOLDERS:
        where = os.path.join(root, folder)
        for name in os.listdir(where) if os.path.isdir(where) else []:
            if name.endswith(".conf"):
                files.setdefault(name, os.path.join(where, name))
    return [files[name] for name in sorted(files)]


FLOWTABLE = "nft_flow_offload"


def has_flowtable(release: str, root: str = "/") -> bool:
    """Whether a kernel has flow tables: built in, loaded, or as a module that can be loaded.

    A kernel that has them lists their functions in /proc/kallsyms (proc(5)).
    """
    if (FLOWTABLE + "_eval") in text(os.path.join(root, "proc/kallsyms")):
        return True
    folder = os.path.join(root, "lib/modules", release)
    return any(
        ("/%s.ko" % FLOWTABLE) in text(os.path.join(folder, name)) for name in ("modules.builtin", "modules.dep")
    )


ASK = "import sys; print('%d.%d' % sys.version_info[:2]); import boto3; print(boto3.__version__)"


def said(module: AnsibleModule, argv: list) -> list:
    """The lines that a command writes, if it writes any."""
    if not argv:
        return []
    try:
        return module.run_command(argv, handle_exceptions=False)[1].splitlines()
    except OSError:
        return []


def interpreter(module: AnsibleModule) -> tuple:
    """(lines of the interpreter when the service runs it, the reason why they differ from those for
    root or "").
    """
    given = module.params
    if not given["python"]:
        return [], ""
    # -I: neither the caller's environment nor the current folder decides on the imports of root.
    argv = [given["python"], "-I", "-c", ASK]
    by_root = said(module, argv)
    if not given["unit_content"] or not by_root:
        return by_root, ""
    outcome = _as_service.run(module, argv, given["unit"], given["unit_content"], {})
    answer = outcome.out.splitlines()
    if answer == by_root:
        return answer, ""
    reason = "cannot execute it" if outcome.code == _as_service.NOT_EXECUTED else "finds less with it"
    return (
        answer,
        "root can use it, and the service, another user in a sandbox without /home, /root and /run/user, %s" % reason,
    )


def main() -> None:
    paths = {"type": "list", "elements": "path", "default": []}
    words = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "installed": paths,
            "optional": paths,
            "known": paths,
            "config": {"type": "path"},
            "socket": {"type": "path"},
            "user": {"type": "str"},
            "needed_users": words,
            "user_groups": words,
            "sysctls": words,
            "sysctl_files": words,
            "python": {"type": "path"},
            "unit": {"type": "str", "default": "nat-failover.service"},
            "unit_content": {"type": "str", "default": ""},
            "flowtable_wanted": {"type": "bool", "default": False},
            "executables": words,
            "package_query": words,
        },
        supports_check_mode=True,
    )
    given = module.params
    memory = [line.split()[1] for line in text("/proc/meminfo").splitlines() if line.startswith("MemTotal:")]
    python, python_problem = interpreter(module)
    module.exit_json(
        changed=False,
        pristine=not all(os.path.exists(path) for path in given["installed"]),
        unknown=newer(given["known"], given["socket"]) if given["socket"] else [],
        optional=[path for path in given["optional"] if os.path.lexists(path)],
        executable_problems={path: why for path in given["executables"] for why in [executable_problem(path)] if why},
        config=text(given["config"]) if given["config"] else "",
        user=user_of(given["user"], given["user_groups"]) if given["user"] else {},
        missing_users=[name for name in given["needed_users"] if not user_of(name, [])],
        memory_kib=int(memory[0]) if memory else 0,
        online_cpus=text("/sys/devices/system/cpu/online").strip(),
        kernel=os.uname().release,
        flowtable=given["flowtable_wanted"] and has_flowtable(os.uname().release),
        ssh_connection=ssh_connection(os.getpid()),
        sysctls=settings(given["sysctls"]),
        sysctl_files=settings_of_files(given["sysctl_files"]),
        python=python,
        python_problem=python_problem,
        packages=said(module, given["package_query"]),
    )


if __name__ == "__main__":
    main()
