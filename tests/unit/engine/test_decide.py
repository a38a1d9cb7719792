# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole tick: the table of states, and a cluster where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.policy import decide as policy
from nat_failover.policy import fence_objections, heirs, ownership
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import (
    PEER,
    Case,
    dead,
    fence_case,
)


@pytest.mark.parametrize("kind", policy.STATES)
def test_the_table_of_states_is_what_the_policy_does(kind):
    """Each row of the theory of operation, on a peer with that verdict."""
    state = policy.STATES[kind]
    case = Case()
    case.memory = replace(case.memory, peers={PEER: replace(case.memory.peers[PEER], verdict=kind)})
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    vacancy = ownership.vacancy_reason(about.peer(PEER))
    assert bool(vacancy) == (state.claims == policy.MOVE)
    assert (PEER in heirs.eligible_nodes(about)) == state.owner

    fence = fence_case(dead(verdict=kind))
    assert (fence_objections.objection(fence) == "") == state.fence


def test_a_healthy_cluster_does_nothing():
    plan = Case().decide()
    assert (plan.routes, plan.fence, plan.withheld, plan.probe, plan.flare) == ((), (), (), {}, False)
    assert plan.forbidden == ""
