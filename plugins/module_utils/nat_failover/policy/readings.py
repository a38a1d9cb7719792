# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The age of a reading of EC2 that a write may rest on where nothing is lost meanwhile. Pure.

An operator may have edited a route or an Elastic IP since (L8). ``early.py`` holds the age for a
takeover before EC2 has answered.
"""

from __future__ import annotations

from ..model.evidence import HEALTHY
from ..model.plan import SetRoute
from .case import Case


def recent(case: Case) -> float:
    """The moment since which a reading is recent, where nothing is in a hurry."""
    return case.evidence.now - case.config.ec2.connect_timeout - case.config.ec2.read_timeout


def hold_stale_routes(case: Case, routes: tuple[SetRoute, ...]) -> tuple[tuple[SetRoute, ...], float | None]:
    """(routes to write, the oldest acceptable reading of those held back, or None).

    A route that was read too long ago is held back.
    """
    if not routes:
        return routes, None
    bounds = [(action, _oldest(case, action)) for action in routes]
    held = [oldest for action, oldest in bounds if action.before.read_at < oldest]
    return tuple(action for action, oldest in bounds if action.before.read_at >= oldest), max(held, default=None)


def _oldest(case: Case, action: SetRoute) -> float:
    """The oldest acceptable reading for a write.

    That of a return is as old as a call may take. A node that hands its claims over still forwards:
    these move by the last reading while EC2 answers, and wait if it does not.
    """
    if action.kind == "return":
        return recent(case)
    if action.kind == "adopt" and _hands_over(case, case.owners.get(action.before.target or "")):
        return case.evidence.now - case.config.ec2.reading_age
    return float("-inf")


def _hands_over(case: Case, owner: str | None) -> bool:
    peer = case.memory.peers.get(owner or "")
    return peer is not None and peer.verdict == HEALTHY and case.leaves(owner or "")
