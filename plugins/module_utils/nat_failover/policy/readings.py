# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The age of a reading of EC2 that a write may rest on. Pure.

An operator may have edited a route or an Elastic IP since (L8). A reading from before a freeze of
this node leads to no conclusion (L10).
"""

from __future__ import annotations

from ..model.evidence import HEALTHY
from ..model.plan import SetRoute
from .case import AnyCase, Case


def recent(case: AnyCase) -> float:
    """The moment since which a reading is recent, where nothing is in a hurry."""
    ec2 = case.config.ec2
    return max(case.evidence.now - ec2.connect_timeout - ec2.read_timeout, case.memory.awake_since)


def polled(case: AnyCase) -> float:
    """The moment since which a reading is that of the last poll, and the poll's call."""
    return max(case.evidence.now - case.config.ec2.reading_age, case.memory.awake_since)


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
        return polled(case)
    return float("-inf")


def _hands_over(case: Case, owner: str | None) -> bool:
    peer = case.memory.peers.get(owner or "")
    return peer is not None and peer.verdict == HEALTHY and case.leaves(owner or "")
