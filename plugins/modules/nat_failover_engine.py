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
  - Writes the Python package C(nat_failover), which travels with this module, into a folder of the node and removes files of older versions from there.
  - Used by the role P(aws_ha.egress.nat_instance#role); there is no need to call it yourself. All files go in one task and one round trip, and what the
    service runs is exactly what the modules run.
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
"""

EXAMPLES = r"""
- name: Install the engine
  aws_ha.egress.nat_failover_engine:
"""

RETURN = r"""
version:
  description: Version of the engine.
  returned: success
  type: str
  sample: 1.0.0
files:
  description: The files that were written or removed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [policy.py, service.py]
"""

import hashlib
import importlib.util
import os
import pkgutil
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

# Ansible sends along what is imported from here, directly or not: with the command, everything that the service needs.
from ansible_collections.aws_ha.egress.plugins.module_utils import nat_failover
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover import cli

PACKAGE = cli.__package__
FOLDER_MODE = 0o755
FILE_MODE = 0o644


def carried() -> dict:
    """The package's source files by name, wherever Ansible has put them (in a zip, as a rule)."""
    names = {"__init__.py": PACKAGE}
    names.update(
        (found.name + ".py", "%s.%s" % (PACKAGE, found.name)) for found in pkgutil.iter_modules(nat_failover.__path__)
    )
    return {file: importlib.util.find_spec(name).loader.get_source(name).encode() for file, name in names.items()}


def installed(folder: str) -> dict:
    """Content, owner and mode of the Python files that are there now."""
    files = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if name.endswith(".py") and os.path.isfile(path):
            status = os.stat(path)
            with open(path, "rb") as stream:
                files[name] = (stream.read(), status.st_uid, stat.S_IMODE(status.st_mode))
    return files


def ensure_folder(path: str) -> None:
    """The folder, for its owner to write and for all to read."""
    os.makedirs(path, mode=FOLDER_MODE, exist_ok=True)
    os.chown(path, os.geteuid(), -1)
    os.chmod(path, FOLDER_MODE)


def write(module: AnsibleModule, path: str, content: bytes) -> None:
    """Replace a file at once: whoever reads it sees the old or the new one."""
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.chmod(temporary, FILE_MODE)
    module.atomic_move(temporary, path)
    # It keeps owner and mode of the file that was there before.
    os.chown(path, os.geteuid(), -1)
    os.chmod(path, FILE_MODE)


def folder_is_right(path: str) -> bool:
    """Whether it is there and nobody but its owner, who is us, may write."""
    if not os.path.isdir(path):
        return False
    status = os.stat(path)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == FOLDER_MODE


def render(version: str, files: dict) -> dict:
    """What diff mode shows."""
    return {
        "version": version,
        "files": {
            name: "%s %04o uid %d" % (hashlib.sha256(content).hexdigest()[:16], mode, owner)
            for name, (content, owner, mode) in sorted(files.items())
        },
    }


def version_of(files: dict) -> str:
    """The version that an installed package says it is."""
    for line in files.get("__init__.py", (b"", 0, 0))[0].decode(errors="replace").splitlines():
        if line.startswith("__version__ = "):
            return line.split('"')[1] if line.count('"') == 2 else ""
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "default": "/usr/local/lib/nat-failover"}},
        supports_check_mode=True,
    )
    parent = module.params["path"]
    folder = os.path.join(parent, "nat_failover")
    wanted = {name: (content, os.geteuid(), FILE_MODE) for name, content in carried().items()}
    present = installed(folder)
    stale = sorted(present.keys() - wanted.keys())
    differing = sorted(name for name in wanted if present.get(name) != wanted[name])
    folders = [path for path in (parent, folder) if not folder_is_right(path)]
    if not module.check_mode:
        try:
            for path in folders:
                ensure_folder(path)
            for name in differing:
                write(module, os.path.join(folder, name), wanted[name][0])
            for name in stale:
                os.unlink(os.path.join(folder, name))
        except OSError as error:
            module.fail_json(msg="%s cannot be written: %s; run this as root" % (folder, error.strerror or error))
    module.exit_json(
        changed=bool(differing or stale or folders),
        version=nat_failover.__version__,
        files=differing + stale,
        diff={"before": render(version_of(present), present), "after": render(nat_failover.__version__, wanted)},
    )


if __name__ == "__main__":
    main()
