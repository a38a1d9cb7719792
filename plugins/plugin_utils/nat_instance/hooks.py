# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that a node runs on events.

Pure: no Ansible.
"""

from __future__ import annotations

import typing as t

from ...module_utils.nat_failover.errors import ConfigError
from ...module_utils.nat_failover.hooks import settings
from .units import quoted

VARIABLE = "nat_instance_hooks"


def plan(asked: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """``enabled``, ``arguments`` for systemd's ExecStart, and ``problem``: the first objection in
    one line, or empty.

    ``host``: what nat_failover_host_info returns, with the reasons for which programs cannot run.
    """
    given = asked["hooks"]
    if not given:
        return {"enabled": False, "arguments": "", "problem": ""}
    try:
        made = settings.parse_all(given, VARIABLE)
    except ConfigError as error:
        return {"enabled": True, "arguments": "", "problem": str(error)}
    reasons = host.get("executable_problems", {})
    for index, hook in enumerate(made):
        if hook.run[0] in reasons:
            problem = f"{VARIABLE}[{index}].run: {hook.run[0]} {reasons[hook.run[0]]}"
            return {"enabled": True, "arguments": "", "problem": f"{problem}; install the program before the role runs"}
    words = ["hooks", *(word for hook in made for word in ("--hook", hook.text()))]
    return {"enabled": True, "arguments": " ".join(quoted(word) for word in words), "problem": ""}
