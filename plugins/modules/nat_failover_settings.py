#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_settings
short_description: Replace configuration and heartbeat keys of a NAT node, once the service can work by them
version_added: 1.1.0
description:
  - Writes two files. Before either replaces the present one, the engine of the node validates both together, as the service will read them -
    as its user, in its sandbox, with its environment and its credentials.
  - A refused configuration or key changes nothing.
  - Used by the role P(aws_ha.egress.nat_instance#role). A playbook need not call it.
  - The configuration belongs to the user that this runs as, so run it as root. Its group may read it.
  - The keys belong to the user of the service, and no other user reads them. A member of the group can see the status, and not the keys.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: With O(command) the new content is validated in check mode too.
  diff_mode:
    support: full
    details: Shows the configuration only.
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
options:
  path:
    description: The configuration file. Its folder is made, for the group only.
    type: path
    required: true
  content:
    description: Its content.
    type: str
    required: true
  key_path:
    description: The file of the heartbeat keys, in the same folder.
    type: path
    required: true
  keys:
    description: The heartbeat keys, one a line.
    type: str
    required: true
  group:
    description: The group that may read the configuration, as the members of the group of the service do.
    type: str
    required: true
  user:
    description: The user of the service, who owns the file of the keys with mode 0400.
    type: str
    required: true
  command:
    description: The command of the engine. Without it nothing is validated.
    type: path
  online:
    description: Whether the engine checks the configuration against EC2, too.
    type: bool
    default: true
  unit:
    description: The unit of the service.
    type: str
    default: nat-failover.service
  unit_content:
    description: The content of that unit, as it is or will be.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Configuration and key
  aws_ha.egress.nat_failover_settings:
    path: /etc/nat-failover/config.json
    content: "{{ config | to_nice_json }}\n"
    key_path: /etc/nat-failover/heartbeat.key
    keys: "{{ vault_nat_heartbeat_key }}"
    group: nat-failover
    user: nat-failover
    command: /usr/local/bin/nat-failover
    unit_content: "{{ lookup('ansible.builtin.template', 'nat-failover.service.j2') }}"
"""

RETURN = r"""
files:
  description: The paths that were written, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/nat-failover/config.json]
proven:
  description: The proof of the engine for the new content; empty without a validation.
  returned: success
  type: str
  sample: "ok: 2 nodes, 2 claims; this host is i-0aaaaaaaaaaaaaaaa"
"""

import grp
import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _as_service, _files

CONFIG = "{config}"
KEYS = "{keys}"
FOLDER_MODE = 0o750
FILE_MODE = 0o640
KEY_MODE = 0o400


def argv(command: str, online: bool) -> list:
    """The command that validates; the two places are for the candidates."""
    return [command, "check-config", "--config", CONFIG, "--key-file", KEYS, *["--online"] * online]


def refusal(outcome: _as_service.Outcome, command: str) -> str:
    """Why the candidates are refused; empty: they are not."""
    if outcome.code == 0:
        return ""
    if outcome.code == _as_service.TIMED_OUT:
        return "check-config had no answer in time, run as the service"
    if outcome.code == _as_service.NOT_EXECUTED:
        return "the service cannot execute %s or its interpreter; see nat_instance_python" % command
    words = (outcome.err or outcome.out).strip().splitlines()
    return words[-1] if words else "check-config, run as the service, ended with code %d" % outcome.code


def prove(module: AnsibleModule, content: bytes, keys: bytes) -> str:
    """The proof of the engine for the candidates, in words. A refusal ends the module."""
    given = module.params
    if not given["command"]:
        return ""
    outcome = _as_service.run(
        module,
        argv(given["command"], given["online"]),
        given["unit"],
        given["unit_content"],
        {CONFIG: content, KEYS: keys},
    )
    problem = refusal(outcome, given["command"])
    if problem:
        module.fail_json(msg=problem)
    return outcome.out.strip()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "key_path": {"type": "path", "required": True},
            "keys": {"type": "str", "required": True, "no_log": True},
            "group": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "command": {"type": "path"},
            "online": {"type": "bool", "default": True},
            "unit": {"type": "str", "default": "nat-failover.service"},
            "unit_content": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        group = grp.getgrnam(given["group"]).gr_gid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg="there is no group %s on this host; make it first" % given["group"])
        group = None
    try:
        owner = pwd.getpwnam(given["user"]).pw_uid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg="there is no user %s on this host; make it first" % given["user"])
        owner = os.geteuid()  # on a host without the user there is no file yet, and it differs in any case
    folder = os.path.dirname(given["path"])
    # The key first: a service that starts in between finds a configuration that it knows.
    wanted = {
        given["key_path"]: _files.File(given["keys"].encode(), KEY_MODE, owner, 0),
        given["path"]: _files.File(given["content"].encode(), FILE_MODE, os.geteuid(), group),
    }
    present = {path: _files.present(path) for path in wanted}
    differing = [path for path in wanted if present[path] != wanted[path]]
    makes_folder = not _files.folder_is_right(folder, FOLDER_MODE, group)
    proven = prove(module, given["content"].encode(), given["keys"].encode()) if differing else ""
    if not module.check_mode:
        try:
            if makes_folder:
                _files.ensure_folder(folder, FOLDER_MODE, group)
            for path in differing:
                _files.write(module, path, wanted[path])
        except OSError as error:
            module.fail_json(
                msg="%s cannot be written: %s; run this as root" % (error.filename or folder, error.strerror or error)
            )
    before = present[given["path"]]
    module.exit_json(
        changed=bool(makes_folder or differing),
        files=differing,
        proven=proven,
        diff={
            "before": before.content.decode(errors="replace") if before else "",
            "after": given["content"],
            "before_header": given["path"],
            "after_header": given["path"],
        },
    )


if __name__ == "__main__":
    main()
