#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_files
short_description: Write several files of a NAT node in one round trip
version_added: 1.1.0
description:
  - Writes files, in the given order, each replaced at once. A file that is right already stays as it is.
  - Used by the role P(aws_ha.egress.nat_instance#role), on which each file would otherwise take M(ansible.builtin.copy)'s four round trips to
    each host, also without a change. A playbook need not call it.
  - The files belong to the user that this runs as, so run it as root.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: The command of O(files[].validate) does not run.
  diff_mode:
    support: full
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
options:
  folder:
    description: A folder that is made first, with O(folder_mode) and O(group).
    type: path
  folder_mode:
    description: Mode of O(folder), as an octal number in a string.
    type: str
    default: "0755"
  group:
    description: The group of the folder and of the files; by default that of the user.
    type: str
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the file. Its folder must exist.
        type: path
        required: true
      content:
        description: The content of the file.
        type: str
        required: true
      mode:
        description: The file's mode, as an octal number in a string.
        type: str
        default: "0644"
      comments:
        description:
          - With V(false), a file that differs in its comments and empty lines only is right already. Comments are lines that begin with C(#) or C(;).
          - So a comment such as C(ansible_managed), which may hold a time and a user, restarts nothing.
        type: bool
        default: true
        version_added: 1.1.0
      validate:
        description:
          - A command, without a shell, that is run before the file is replaced, with the name of the new one in place of C(%s).
          - If it fails, the task fails, and the old file stays.
        type: str
"""

EXAMPLES = r"""
- name: Two units
  aws_ha.egress.nat_failover_files:
    files:
      - path: /etc/systemd/system/one.service
        content: "{{ lookup('ansible.builtin.template', 'one.service.j2') }}"
      - path: /etc/systemd/system/two.service
        content: "{{ lookup('ansible.builtin.template', 'two.service.j2') }}"
"""

RETURN = r"""
files:
  description: The paths that were written, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/nat-failover.service]
"""

import grp
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _files


def mode_of(module: AnsibleModule, text: str) -> int:
    """0640 out of "0640"."""
    if not re.fullmatch("0?[0-7]{3}", text):
        module.fail_json(msg=f"{text} is no mode of a file; write three octal digits in quotes, e.g. '0644'")
    return int(text, 8)


def group_of(module: AnsibleModule) -> object:
    """The number of the group; -1 if no group is wanted, None if it does not exist yet (check
    mode).
    """
    name = module.params["group"]
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"there is no group {name} on this host; make it first")
        return None


def render(path: str, before: object, after: _files.File) -> dict:
    """The view of one file in diff mode. Its mode is a line only if it changes."""

    def text(file: object) -> str:
        return file.content.decode(errors="replace") if file else ""

    def head(file: object) -> str:
        return "%s (mode %04o, uid %d)" % (path, file.mode, file.owner) if file else path

    same = before is not None and (before.mode, before.owner) == (after.mode, after.owner)
    heads = (path, path) if same else (head(before), head(after))
    return {
        "before": text(before),
        "after": text(after),
        "before_header": heads[0],
        "after_header": heads[1],
    }


def main() -> None:
    file_spec = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "mode": {"type": "str", "default": "0644"},
        "comments": {"type": "bool", "default": True},
        "validate": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path"},
            "folder_mode": {"type": "str", "default": "0755"},
            "group": {"type": "str"},
            "files": {"type": "list", "elements": "dict", "required": True, "options": file_spec},
        },
        supports_check_mode=True,
    )
    group, folder = group_of(module), module.params["folder"]
    folder_mode = mode_of(module, module.params["folder_mode"])
    own = os.getegid() if group == -1 else group
    wanted = [
        (each["path"], _files.File(each["content"].encode(), mode_of(module, each["mode"]), os.geteuid(), own), each)
        for each in module.params["files"]
    ]
    makes_folder = bool(folder) and not _files.folder_is_right(folder, folder_mode, group)
    before = {path: _files.present(path) for path, _file, _given in wanted}
    differing = [
        (path, file, given)
        for path, file, given in wanted
        if not _files.equal(before[path], file, comments=given["comments"])
    ]
    if not module.check_mode:
        try:
            if makes_folder:
                _files.ensure_folder(folder, folder_mode, group)
            for path, file, given in differing:
                _files.write(module, path, file, given["validate"])
        except _files.Refused as refusal:
            module.fail_json(msg=str(refusal))
        except OSError as error:
            name = error.filename or folder
            module.fail_json(msg=f"{name} cannot be written: {error.strerror or error}; run this as root")
    module.exit_json(
        changed=bool(makes_folder or differing),
        files=[path for path, _file, _given in differing],
        diff=[render(path, before[path], file) for path, file, _given in differing],
    )


if __name__ == "__main__":
    main()
