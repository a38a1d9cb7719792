#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_engine
short_description: Install the engine of this collection on a NAT node
version_added: 1.0.0
description:
  - Writes the Python package C(nat_failover), which comes with this module, into a folder of the node and removes files of older versions from there.
  - Used by the role P(aws_ha.egress.nat_instance#role). A playbook need not call it. All files go in one task and one round trip, and the service runs
    exactly the code of the modules.
  - The files belong to the user that this runs as, so run it as root.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows names, checksums and modes of the files.
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
options:
  path:
    description: The folder that is to hold the package; the package becomes a folder C(nat_failover) in it.
    type: path
    default: /usr/local/lib/nat-failover
  interpreter:
    description:
      - Path of the Python that runs the package. Its bytecode is written beside the files, since the service's own user may not write it. Each start of
        the service and of the command is shorter for it.
      - Left out, no bytecode is written. Bytecode alone never counts as a change, and check mode writes none.
    type: path
    version_added: 1.1.0
  launcher:
    description: Path of a program to write besides, which every user may run.
    type: path
    version_added: 1.1.0
  launcher_content:
    description: Its content.
    type: str
    version_added: 1.1.0
  launcher_link:
    description: Path of a symbolic link to O(launcher), where sudo finds it on systems whose C(secure_path) leaves C(/usr/local) out.
    type: path
    version_added: 1.1.0
  completion_bash:
    description: Path of a file to write with the completion of the command for bash.
    type: path
    version_added: 1.1.0
  completion_zsh:
    description: Path of a file to write with the completion of the command for zsh.
    type: path
    version_added: 1.1.0
"""

EXAMPLES = r"""
- name: Install the engine
  aws_ha.egress.nat_failover_engine:
    interpreter: /usr/bin/python3
"""

RETURN = r"""
version:
  description: Version of the engine.
  returned: success
  type: str
  sample: 1.0.0
files:
  description: The files that were written or removed, or in check mode would be, by their path below the package.
  returned: success
  type: list
  elements: str
  sample: [policy.py, service.py]
"""

import hashlib
import os
import pkgutil

from ansible.module_utils.basic import AnsibleModule

# Ansible sends along what is imported from here, directly or not: with the command, everything that
# the service needs.
from ansible_collections.aws_ha.egress.plugins.module_utils import _files, nat_failover
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover import cli
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.console import completion

PACKAGE = cli.__package__
FOLDER_MODE = 0o755
FILE_MODE = 0o644


def carried() -> dict:
    """Content of the package's source files by their path below it, wherever Ansible has put them
    (in a zip, as a rule).
    """
    names = ["__init__.py"]
    for found in pkgutil.walk_packages(nat_failover.__path__, PACKAGE + "."):
        path = found.name[len(PACKAGE) + 1 :].replace(".", "/")
        names.append(path + ("/__init__.py" if found.ispkg else ".py"))
    # As data: in a zip, importlib compiles each module that it finds.
    return {name: pkgutil.get_data(PACKAGE, name) for name in names}


def installed(folder: str) -> dict:
    """The Python files that are below a folder now, by their path below it."""
    paths = [
        os.path.join(parent, name)
        for parent, _folders, names in os.walk(folder)
        for name in names
        if name.endswith(".py")
    ]
    found = {os.path.relpath(path, folder): _files.present(path) for path in sorted(paths)}
    return {name: file for name, file in found.items() if file is not None}


def folders_of(parent: str, folder: str, names: list) -> list:
    """The folders that hold these files, each after the one that it lies in."""
    below = {os.path.join(folder, os.path.dirname(name)).rstrip("/") for name in names}
    return [parent, *sorted(below | {folder})]


def remove(path: str, folder: str) -> None:
    """Remove a file of an older version, its bytecode, and the folders that are empty without it."""
    os.unlink(path)
    parent, name = os.path.split(path)
    cache = os.path.join(parent, "__pycache__")
    for entry in os.listdir(cache) if os.path.isdir(cache) else ():
        if entry.split(".")[0] == name[: -len(".py")]:
            os.unlink(os.path.join(cache, entry))
    for empty in (cache, parent):
        if os.path.isdir(empty) and not os.listdir(empty) and empty != folder:
            os.rmdir(empty)


def compile_all(module: AnsibleModule, interpreter: str, folder: str) -> None:
    """Write the bytecode that is missing or old. A failure is a warning: the package works without."""
    # -I: neither the caller's environment nor the current folder decides on the imports of root.
    argv = [interpreter, "-I", "-m", "compileall", "-q", folder]
    try:
        code, out, err = module.run_command(argv, umask=0o022, handle_exceptions=False)
    except OSError as error:
        code, out, err = 1, "", error.strerror or str(error)
    if code != 0:
        said = (err or out).strip().splitlines()
        module.warn(
            f"{interpreter} wrote no bytecode of {folder}: {said[-1] if said else code}; the service works, and starts later"
        )


def render(version: str, files: dict) -> dict:
    """The view of the files in diff mode."""
    return {
        "version": version,
        "files": {
            name: "%s %04o uid %d" % (hashlib.sha256(file.content).hexdigest()[:16], file.mode, file.owner)
            for name, file in sorted(files.items())
        },
    }


def version_of(files: dict) -> str:
    """The version that an installed package says it is."""
    content = files["__init__.py"].content if "__init__.py" in files else b""
    for line in content.decode(errors="replace").splitlines():
        if line.startswith("__version__ = "):
            return line.split('"')[1] if line.count('"') == 2 else ""
    return ""


def plan(parent: str, sources: dict, launcher: str, content: str, completions: dict) -> tuple:
    """(wanted files, present files) by path, with the launcher beside the package.

    ``sources``: as by ``carried``. ``completions``: path -> shell.
    """
    folder = os.path.join(parent, "nat_failover")

    def file(content: bytes, mode: int) -> _files.File:
        return _files.File(content, mode, os.geteuid(), os.getegid())

    wanted = {os.path.join(folder, name): file(content, FILE_MODE) for name, content in sources.items()}
    present = {os.path.join(folder, name): found for name, found in installed(folder).items()}
    if launcher:
        wanted[launcher] = file(content.encode(), FOLDER_MODE)
        there = _files.present(launcher)
        present.update({launcher: there} if there else {})
    commands = cli.build()[1]
    for path, shell in completions.items():
        wanted[path] = file(completion.script(shell, commands).encode(), FILE_MODE)
        there = _files.present(path)
        present.update({path: there} if there else {})
    return wanted, present


def link_problem(link: str, target: str) -> str:
    """Why a link cannot be made: something else lies there; empty: it can, or is there."""
    if not link or not os.path.lexists(link) or (os.path.islink(link) and os.readlink(link) == target):
        return ""
    return "%s is there and is not a link to %s; rename or remove it" % (link, target)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/usr/local/lib/nat-failover"},
            "interpreter": {"type": "path"},
            "launcher": {"type": "path"},
            "launcher_content": {"type": "str"},
            "launcher_link": {"type": "path"},
            "completion_bash": {"type": "path"},
            "completion_zsh": {"type": "path"},
        },
        required_together=[("launcher", "launcher_content")],
        required_by={"launcher_link": ("launcher",)},
        supports_check_mode=True,
    )
    parent, link, launcher = (module.params[name] for name in ("path", "launcher_link", "launcher"))
    problem = link_problem(link, launcher)
    if problem:
        module.fail_json(msg=problem)
    links = [link] if link and not os.path.lexists(link) else []
    folder = os.path.join(parent, "nat_failover")
    asked = {shell: module.params["completion_" + shell] for shell in completion.SHELLS}
    completions = {path: shell for shell, path in asked.items() if path}
    sources = carried()
    wanted, present = plan(parent, sources, launcher, module.params["launcher_content"], completions)
    stale = sorted(present.keys() - wanted.keys())
    differing = sorted(path for path in wanted if present.get(path) != wanted[path])
    folders = [path for path in folders_of(parent, folder, sources) if not _files.folder_is_right(path, FOLDER_MODE)]
    if not module.check_mode:
        try:
            for path in folders:
                _files.ensure_folder(path, FOLDER_MODE)
            for path in completions:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            for path in differing:
                _files.write(module, path, wanted[path])
            for path in links:
                os.symlink(launcher, path)
            for path in stale:
                remove(path, folder)
        except OSError as error:
            module.fail_json(msg=f"{folder} cannot be written: {error.strerror or error}; run this as root")
        if module.params["interpreter"]:
            compile_all(module, module.params["interpreter"], folder)

    def name_of(path: str) -> str:
        if path in completions:
            return path
        return os.path.relpath(path, folder) if path.startswith(folder + os.sep) else os.path.basename(path)

    before, after = ({name_of(path): file for path, file in files.items()} for files in (present, wanted))
    module.exit_json(
        changed=bool(differing or stale or folders or links),
        version=nat_failover.__version__,
        files=[name_of(path) for path in differing + links + stale],
        diff={"before": render(version_of(before), before), "after": render(nat_failover.__version__, after)},
    )


if __name__ == "__main__":
    main()
