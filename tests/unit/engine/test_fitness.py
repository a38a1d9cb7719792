# SPDX-License-Identifier: GPL-3.0-or-later
"""When this node may write at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import (
    ACTIVE,
    WITNESS,
)
from nat_failover.model.evidence import Report

from .policy_case import (
    ME,
    PEER,
    THIRD,
    Case,
    routes,
)


def test_a_witness_judges_and_writes_nothing():
    case = Case((ME, PEER, THIRD), witness=ME)
    case.me = replace(case.me, forwarding=False, fact="", state=WITNESS)
    case.silent(PEER, seconds=100)
    case.point(PEER, None, "missing")
    plan = case.decide()
    assert {v.peer: v.kind for v in plan.verdicts} == {PEER: "failed", THIRD: "healthy"}
    assert (plan.routes, plan.fence, plan.flare) == ((), (), False) and plan.forbidden == "this node is a witness"
    assert plan.probe == {PEER: 0.1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"forwarding": False, "fact": "ip_forward=0"}, "does not forward"),
        ({"internet": False}, "internet"),
        ({"ec2": False}, "EC2 API"),
    ],
)
def test_an_unfit_node_writes_nothing(change, words):
    case = Case()
    case.point(ME, None, "missing")
    case.me = replace(case.me, **change)
    plan = case.decide()
    assert plan.routes == () and words in plan.forbidden


def test_mode_observe_reports_the_withheld_writes():
    case = Case(mode="observe")
    case.silent()
    plan = case.decide()
    assert plan.routes == () and plan.forbidden == "mode is observe"
    assert [str(action) for action in plan.withheld] == ["adopt rtb-0bbbbbbb 0.0.0.0/0"]


@pytest.mark.parametrize(
    "mine, shown, reason",
    [
        ("", "i-00000009", "EC2 shows nat-a as i-00000009, and this machine is i-00000000"),
        ("i-00000009", "i-00000009", ""),
        ("i-00000008", "i-00000009", "EC2 shows nat-a as i-00000009, and this machine is i-00000008"),
        ("", "", ""),
    ],
)
def test_a_machine_that_is_no_longer_its_node_writes_nothing(mine, shown, reason):
    case = Case()
    case.me = replace(case.me, instance_id=mine)
    case.instances[ME] = replace(case.instances[ME], instance_id=shown)
    case.point(PEER, None, "missing")
    case.heard[PEER] = replace(case.heard[PEER], report=Report(ACTIVE, False, "ip_forward=0"))
    plan = case.decide()
    assert plan.forbidden == reason
    assert bool(plan.routes) is (not reason)


def test_a_node_that_does_not_know_its_instance_writes_nothing():
    case = Case()
    nodes = (replace(case.config.nodes[0], instance_id=""), case.config.nodes[1])
    case.config = replace(case.config, nodes=nodes)
    case.point(ME, None, "missing")
    assert "does not know its instance id" in case.decide().forbidden
    case.me = replace(case.me, instance_id="i-00000000")
    assert routes(case.decide()) == [("mend", ME)]
