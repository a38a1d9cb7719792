# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that EC2 is about to take serves what no other node does, and no node does that an operator drains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import DRAINED, DRAINING
from nat_failover.model.evidence import Report

from .policy_case import INTERRUPTED, ME, PEER, THIRD
from .service_case import HOLD, ILL, UNWELL, VIP, cluster, moves, own, point, reports, since


def leaves(case, notice="spot interruption: stop at noon"):
    """This node drains, for a notice of EC2 or (without one) for an operator."""
    case.me = replace(case.me, state=DRAINED, interruption=notice)


def test_a_node_with_a_notice_serves_until_its_end_what_is_served_nowhere_else():
    case = cluster()
    leaves(case)
    reports(case, ILL)
    assert moves(case) == [("adopt", PEER, VIP)], "and no default route"
    point(case, PEER, ME)
    assert moves(case) == [], "there it stays"
    case = cluster()
    own(case, unwell=True)
    reports(case, INTERRUPTED)
    point(case, ME, PEER)
    assert moves(case) == [("adopt", PEER, "0.0.0.0/0")], "and takes nothing that it does not serve"


def test_a_node_that_an_operator_drains_takes_nothing_although_its_service_works():
    case = cluster()
    leaves(case, notice="")
    reports(case, ILL)
    assert moves(case) == []
    case.silent()
    assert moves(case) == []


def test_a_node_with_a_notice_takes_nothing_that_it_does_not_serve():
    case = cluster()
    leaves(case)
    own(case, unwell=True)
    reports(case, ILL)
    assert moves(case) == []


@pytest.mark.parametrize("state", [DRAINING, DRAINED])
def test_a_claim_leaves_a_node_with_a_notice_when_its_service_works_elsewhere(state):
    case = cluster()
    reports(case, replace(INTERRUPTED, state=state))
    point(case, ME, PEER)
    assert moves(case)[-1] == ("adopt", PEER, VIP)
    assert ("adopt", ME, VIP) in moves(case), "at once: the peer is about to go"
    since(case, HOLD - 0.1)
    assert ("adopt", ME, VIP) not in moves(case), "but not before it is trusted"


def test_a_third_node_that_serves_comes_before_one_with_a_notice():
    case = cluster((ME, PEER, THIRD))
    leaves(case)
    reports(case, ILL)
    assert moves(case) == [], "the third one takes it"
    reports(case, ILL, THIRD)
    assert sorted(moves(case)) == [("adopt", PEER, VIP), ("adopt", THIRD, VIP)]


def test_of_two_nodes_with_notices_one_takes_only_what_the_other_does_not_serve():
    case = cluster()
    leaves(case)
    reports(case, INTERRUPTED)
    assert moves(case) == []
    reports(case, replace(INTERRUPTED, unwell=UNWELL))
    assert moves(case) == [("adopt", PEER, VIP)]


def test_a_claim_that_a_draining_node_serves_goes_to_no_other_that_is_about_to_go():
    case = cluster((ME, PEER, THIRD))
    leaves(case)
    reports(case, INTERRUPTED, PEER)
    reports(case, ILL, THIRD)
    assert ("adopt", PEER, VIP) not in moves(case)
    reports(case, Report(DRAINED, True), PEER)
    assert ("adopt", PEER, VIP) not in moves(case), "nor what a node serves that an operator drains"
    reports(case, replace(ILL, state=DRAINED), PEER)
    assert ("adopt", PEER, VIP) in moves(case), "that node serves it no more, and its operator wants it empty"


def test_the_heir_of_a_dead_node_may_have_a_notice_if_only_there_the_service_works():
    case = cluster((ME, PEER, THIRD))
    leaves(case)
    reports(case, ILL, PEER)
    case.silent(THIRD)
    assert moves(case) == [("adopt", PEER, VIP), ("adopt", THIRD, VIP)]
    point(case, ME, "nobody", state="blackhole")
    assert ("mend", ME, VIP) in moves(case)
