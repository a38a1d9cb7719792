# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics that a node writes for CloudWatch.

Pure: no Ansible.
"""

from __future__ import annotations

import typing as t

from ...module_utils.nat_failover.errors import ConfigError
from ...module_utils.nat_failover.web import emf
from .units import quoted

PREFIX = "nat_instance_cloudwatch."
PATH = "/run/nat-failover-cloudwatch/metrics.log"  # in the RuntimeDirectory of the unit


def plan(asked: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """``enabled``, ``arguments`` for systemd's ExecStart, and ``problem``: the first objection in
    one line, or empty.
    """
    given = asked["cloudwatch"]
    if not given.get("enabled", bool(given)):
        return {"enabled": False, "arguments": "", "problem": ""}
    try:
        way, interval = emf.parse(**{key: given[key] for key in given if key != "enabled"}, prefix=PREFIX)
    except ConfigError as error:
        return {"enabled": True, "arguments": "", "problem": str(error)}
    words = ["cloudwatch", "--cluster", asked["cluster"], "--node", asked["name"], "--interval", str(interval)]
    words += ["--file", PATH] if way == emf.FILE else []
    return {"enabled": True, "arguments": " ".join(quoted(word) for word in words), "problem": ""}
