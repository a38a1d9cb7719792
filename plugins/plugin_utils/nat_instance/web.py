# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics and health that a node serves over HTTP.

Pure: no Ansible.
"""

from __future__ import annotations

import typing as t

from ...module_utils.nat_failover.errors import ConfigError
from ...module_utils.nat_failover.web import settings
from .units import quoted

PREFIX = "nat_instance_web."


def wanted(asked: t.Mapping[str, t.Any]) -> bool:
    """Whether the node serves metrics. ``asked``: the variables of the role."""
    given = asked["web"]
    return bool(given.get("enabled", bool(given)))


def plan(asked: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """``enabled``, ``arguments`` for systemd's ExecStart, ``allow``, and ``problem``: the first
    objection in one line, or empty.
    """
    if not wanted(asked):
        return {"enabled": False, "arguments": "", "allow": [], "problem": ""}
    given = {key: value for key, value in asked["web"].items() if key != "enabled"}
    try:
        made = settings.parse(**given, prefix=PREFIX)
    except ConfigError as error:
        return {"enabled": True, "arguments": "", "allow": [], "problem": str(error)}
    words = ["web", "--cluster", asked["cluster"], "--node", asked["name"]]
    words += ["--listen", made.listen, "--port", str(made.port)]
    for network in made.allow:
        words += ["--allow", str(network)]
    for name in made.names:
        words += ["--name", name]
    return {
        "enabled": True,
        "arguments": " ".join(quoted(word) for word in words),
        "allow": [str(network) for network in made.allow],
        "problem": "",
    }
