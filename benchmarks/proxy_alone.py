# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines on their own: what a reload costs clients, and what the table of attacks finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.integration.balanced import until
from tests.integration.proxy.attacks import TRIALS, WALLS, attack
from tests.integration.proxy.conftest import planning, running, running_net
from tests.integration.proxy.nodes import running_nodes

from .campaign import Row

RELOADS = 10
WITHIN_S = 40.0


def reloads(engine: str) -> Row:
    """Ten reloads of one node's proxy under load: requests that failed, and the longest one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, planning(Path(folder)) as planner:
        plan = planner(engine=engine, sources=["10.0.0.0/16"], health_destinations=[])
        with running_nodes(plan) as nodes:
            until(nodes.verdict("nat-a").exists, WITHIN_S)
            seen = nodes.reload_often("nat-a", RELOADS)
    return {
        "reloads": RELOADS,
        "requests": len(seen),
        "failed": sum(not each.ok for each in seen),
        "longest_ms": round(max(each.ended - each.begun for each in seen) * 1000, 1),
    }


def attacks(engine: str, wall: str) -> Row:
    """Connections that arrived where none may, of all trials and rebinding names."""
    variables, change = WALLS[wall]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        planning(Path(folder)) as planner,
        running_net() as net,
    ):
        with running(net, planner(engine=engine, **variables), change):
            found = attack(net)
    return {"trials": len(TRIALS), "leaks": len(found.leaks) + len(found.told)}
