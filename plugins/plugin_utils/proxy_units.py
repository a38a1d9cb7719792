# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which units of a node are not as they should be, by what ``systemctl show`` says of them.

Pure.
"""

from __future__ import annotations

import typing as t

Unit = dict[str, t.Any]


def _shown(text: str) -> dict[str, dict[str, str]]:
    """The properties of each unit, by its name."""
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def differing(text: str, units: t.Sequence[t.Mapping[str, t.Any]]) -> list[Unit]:
    """Those of ``units`` (``name``, ``enabled``, ``state``) that are not so, each with ``reload``:
    systemd has an older file of it.
    """
    shown, found = _shown(text), []
    for unit in units:
        seen = shown.get(unit["name"], {})
        stale = seen.get("NeedDaemonReload", "no") == "yes"
        active = "active" if unit["state"] == "started" else "inactive"
        enabled = "enabled" if unit["enabled"] else "disabled"
        if stale or seen.get("ActiveState") != active or seen.get("UnitFileState") != enabled:
            found.append({**unit, "reload": stale})
    return found


def to_stop(text: str) -> list[Unit]:
    """Those that systemd has a file of and that run, or would at the next boot."""
    return [
        {"name": name}
        for name, seen in _shown(text).items()
        if seen.get("LoadState") == "loaded"
        and (seen.get("ActiveState") not in ("inactive", "failed") or seen.get("UnitFileState") == "enabled")
    ]
