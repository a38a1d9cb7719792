# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units of a node: which there should be, and which are not as they should be.

Pure: no Ansible.
"""

from __future__ import annotations

import typing as t

SERVICE = "nat-failover.service"
WEB = "nat-failover-web.service"
HOOKS = "nat-failover-hooks.service"
CLOUDWATCH = "nat-failover-cloudwatch.service"
SYNC = "nat-failover-sync.service"
Unit = dict[str, t.Any]


def wanted(
    witness: bool, canary: bool, enabled: bool, state: str, beside: t.Mapping[str, bool] | None = None
) -> list[Unit]:
    """The units in the order in which they are to be started.

    The hand-over comes last, since systemd stops in the reverse order. ``enabled`` and ``state``
    are those of the service. A witness has the service only. ``beside``: further units, and whether
    they are wanted.
    """
    service = _unit(SERVICE, enabled, state)
    further = [_unit(name) for name, want in (beside or {}).items() if want]
    if witness:
        return [service, *further]
    return [
        *further,
        _unit("nat-failover-rules.service"),
        _unit("nat-failover-repair.socket"),
        _unit("nat-failover-canary.service", canary, "started" if canary else "stopped"),
        service,
        _unit("nat-failover-handover.service"),
    ]


def differing(units: t.Sequence[Unit], shown: str) -> list[Unit]:
    """Those that systemd does not plainly show to be as wanted, with ``reload``: whether systemd
    must read them again.

    ``shown`` is what ``systemctl show`` writes with the properties Id, ActiveState, UnitFileState,
    NeedDaemonReload. An interrupted run may have written a unit that systemd has not read again:
    such a unit is restarted. The service's own is known by other means (tasks/inspect.yml).
    """
    states = _blocks(shown)
    result = []
    for unit in units:
        state = states.get(unit["name"], {})
        stale = state.get("NeedDaemonReload") == "yes"
        active = "active" if unit["state"] == "started" else "inactive"
        right = state.get("ActiveState") == active and state.get("UnitFileState") == _file_state(unit["enabled"])
        if stale or not right:
            again = stale and unit["state"] == "started" and unit["name"] != SERVICE
            result.append({**unit, "reload": stale, **({"state": "restarted"} if again else {})})
    return result


def quoted(word: str) -> str:
    """A word of a command line as systemd reads it (systemd.service(5), systemd.unit(5))."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def _unit(name: str, enabled: bool = True, state: str = "started") -> Unit:
    return {"name": name, "enabled": enabled, "state": state}


def _file_state(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _blocks(shown: str) -> dict[str, dict[str, str]]:
    """Properties by unit; a block a unit, an empty line between."""
    result = {}
    for block in shown.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in properties:
            result[properties["Id"]] = properties
    return result
