# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node has nothing to do: then an incident may bring its next fault forward."""

from __future__ import annotations

import typing as t

from nat_failover.model.cluster import ACTIVE, WITNESS, Claim
from nat_failover.model.evidence import HEALTHY, Evidence
from nat_failover.model.memory import Memory
from nat_failover.model.plan import Plan
from nat_failover.model.settings import Config

from .cloud import HARMLESS, interface


def nothing_to_do(
    config: Config, memory: Memory, plan: Plan, evidence: Evidence, state: str, claims: t.Sized | t.Iterable[Claim]
) -> bool:
    """All is well, and every claim at home: until something new comes in, each further decision would be the same."""
    return (
        not (
            plan.routes
            or plan.addresses
            or plan.fence
            or plan.probe
            or plan.withheld
            or plan.flare
            or plan.drift
            or evidence.busy
        )
        and plan.refresh is None
        and (not plan.forbidden or config.mode == "observe" or state == WITNESS)
        and len(evidence.routes) == len(t.cast(t.Sized, claims))
        and len(evidence.instances) == len(config.nodes)
        and not memory.flaps
        and not memory.astray
        and len(evidence.addresses) == len(config.identities)
        and not evidence.me.unwell
        and not any(each.failures or each.well_since is None for each in memory.services.values())
        and state in (ACTIVE, WITNESS)
        and all(peer.verdict == HEALTHY and not peer.fence_stage for peer in memory.peers.values())
        and all(
            heard.report is not None and heard.report.state in (ACTIVE, WITNESS) and not heard.report.unwell
            for heard in evidence.heard.values()
        )
        and all(view.target == interface(claim.home) for claim, view in evidence.routes.items())
        and all(view.tags.keys() <= HARMLESS for view in evidence.instances.values())
    )
