# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the health checks: an HTTP code and one line."""

from __future__ import annotations

import typing as t

from . import judgement
from .snapshot import Snapshot

Answer = tuple[int, str]


def healthz(snapshot: Snapshot) -> Answer:
    """200 while the service answers. Its loop answers, so a loop that hangs does not."""
    if snapshot.status is None:
        return 503, f"the service does not answer: {snapshot.problem}"
    return 200, "the service answers"


def readyz(snapshot: Snapshot) -> Answer:
    """200 while this node could take over a peer's routes now."""
    if snapshot.status is None:
        return healthz(snapshot)
    found = judgement.objections(snapshot.status)
    return (503, "; ".join(found)) if found else (200, "this node can take over")


def nat(snapshot: Snapshot) -> Answer:
    """200 while this node's own forwarding is proven, for load balancers."""
    if snapshot.status is None:
        return healthz(snapshot)
    me = snapshot.status.get("self", {})
    return (
        (200, "this node forwards") if me.get("forwarding") else (503, f"this node does not forward: {me.get('fact')}")
    )


def cluster(snapshot: Snapshot) -> Answer:
    """200 while no route is known to lead nowhere, as this node sees it."""
    if snapshot.status is None:
        return healthz(snapshot)
    dark = judgement.dark(snapshot.status)
    return (503, f"no node serves: {', '.join(dark)}") if dark else (200, "no route is known to lead nowhere")


CHECKS: t.Mapping[str, t.Callable[[Snapshot], Answer]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/nat": nat,
    "/cluster": cluster,
}
