#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_service
short_description: Let the service of a NAT node read its files, and wait until it is ready
version_added: 1.1.0
description:
  - Reloads or restarts the service, if necessary, and waits until it works by exactly the configuration and keys on the node, and EC2 answers it.
  - A reload that the service refuses, a service that does not start or crashes again and again, and one that EC2 does not answer fail the task, with
    the reason and the last lines of the journal.
  - Used by the role P(aws_ha.egress.nat_instance#role). A playbook need not call it.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: The service is neither reloaded nor restarted. With O(state=current) the module judges it by the present files.
  diff_mode:
    support: N/A
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
options:
  state:
    description:
      - V(current) reloads the service only if it works by other files than those on the node, as after an interrupted run.
      - V(reloaded) and V(restarted) do it in any case.
    type: str
    choices: [current, reloaded, restarted]
    default: current
  config:
    description: The configuration file.
    type: path
    default: /etc/nat-failover/config.json
  unit:
    description: The unit of the service.
    type: str
    default: nat-failover.service
  online:
    description: Whether the service is ready only once EC2 answers it.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait until the service is ready.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: The service works by the present files
  aws_ha.egress.nat_failover_service:
    state: current
"""

RETURN = r"""
summary:
  description: The summary of the service, in one line; empty in check mode if it would be reloaded or restarted.
  returned: success
  type: str
  sample: active, forwarding, owns 1 of 2 claims; nat-b healthy
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.config import load
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.service.sender import send_request

EVERY = 0.3  # seconds between two questions
REFUSED_FOR = 3  # seconds after which a refusal is that of this reload
LINES = 4  # of the journal
LONGEST = 300  # characters of a line


def lag(status: object, digest: str) -> str:
    """Why the service does not work by the files with ``digest`` yet; empty: it does.

    ``status`` is None without a service.
    """
    if status is None:
        return "it does not run"
    settings = status.get("settings")
    if settings is None:
        return "it is of an older version, which does not tell by which files it works; restart it"
    if settings["digest"] != digest:
        refused = "it refused the reload: %s" % settings["refused"]
        return refused if settings["refused"] else "it still works by its previous configuration and keys"
    return ""


def problem(status: object, digest: str, online: bool) -> str:
    """Why the service is not ready; empty: it is."""
    behind = lag(status, digest)
    if behind or not online:
        return behind
    return "" if status["self"]["ec2"] else "it works by the new files, and the EC2 API does not answer it"


def last_words(lines: str) -> str:
    """The end of the journal in one line."""
    found = [line.strip()[:LONGEST] for line in lines.splitlines() if line.strip()]
    return " | ".join(found[-LINES:]) or "nothing"


def unit_state(shown: str) -> str:
    """The state of a unit that does not run, as systemd shows it, in words; empty for a unit that
    runs.
    """
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if state.get("ActiveState") == "active":
        return ""
    return " (systemd: %s, %s, result %s, %s restarts)" % tuple(
        state.get(name, "unknown") for name in ("ActiveState", "SubState", "Result", "NRestarts")
    )


class Waiting:
    """The service of this node, until it is ready or the time is over."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.unit = module.params["unit"]
        loaded = load.load_all(module.params["config"])
        self.digest, self.directory = loaded.digest, loaded.config.runtime_directory

    def status(self) -> object:
        """The status of the service; None while it does not answer."""
        try:
            return send_request(self.directory, {"do": "status"}, 5)
        except NatFailoverError:
            return None

    def is_stopped(self) -> bool:
        """Whether systemd neither runs the service nor tries to."""
        shown = self.module.run_command(["systemctl", "show", "--property=ActiveState", self.unit])[1]
        return shown.strip() in ("ActiveState=inactive", "")

    def systemctl(self, verb: str) -> str:
        """Why systemctl failed; empty: it did not."""
        code, out, err = self.module.run_command(["systemctl", verb, self.unit])
        return ("systemctl %s: %s" % (verb, " ".join((err or out).split()))) if code else ""

    def until_ready(self) -> dict:
        """The status of the ready service; otherwise the module ends with the reason."""
        began, wait = time.monotonic(), self.module.params["wait_timeout"]
        while True:
            status = self.status()
            why = problem(status, self.digest, self.module.params["online"])
            if not why:
                return status
            # A signal starts a reload, so an older refusal may still stand for a moment.
            refused = bool(status) and bool((status.get("settings") or {}).get("refused"))
            if time.monotonic() - began > (min(wait, REFUSED_FOR) if refused else wait):
                self.fail(why)
            time.sleep(EVERY)

    def fail(self, why: str) -> None:
        """End with the reason and with the journal's last words."""
        show = ["systemctl", "show", "--property=ActiveState,SubState,Result,NRestarts", self.unit]
        journal = ["journalctl", "--unit", self.unit, "--lines", str(LINES), "--output", "cat", "--no-pager", "--quiet"]
        words = (self.unit, why, unit_state(self.module.run_command(show)[1]))
        tail = last_words(self.module.run_command(journal)[1])
        self.module.fail_json(msg="%s is not ready: %s%s. Its journal ends with: %s" % (*words, tail))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["current", "reloaded", "restarted"], "default": "current"},
            "config": {"type": "path", "default": "/etc/nat-failover/config.json"},
            "unit": {"type": "str", "default": "nat-failover.service"},
            "online": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        waiting = Waiting(module)
    except NatFailoverError as error:
        module.fail_json(msg=str(error))
    verb = {"reloaded": "reload-or-restart", "restarted": "restart"}.get(module.params["state"], "")
    if not verb:
        status = waiting.status()
        verb = "reload-or-restart" if status is not None and lag(status, waiting.digest) else ""
        if status is None and module.check_mode and waiting.is_stopped():
            module.exit_json(changed=False, summary="")  # another task starts it
    if verb and module.check_mode:
        module.exit_json(changed=True, summary="")
    failed = waiting.systemctl(verb) if verb else ""
    if failed:
        waiting.fail(failed)
    module.exit_json(changed=bool(verb), summary=waiting.until_ready()["summary"])


if __name__ == "__main__":
    main()
