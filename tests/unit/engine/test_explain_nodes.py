# SPDX-License-Identifier: GPL-3.0-or-later
"""The explanation of a claim or a peer where there are more than two nodes, a lock or synchronised connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.memory import ServiceMemory
from nat_failover.model.plan import LOCK_KEY
from nat_failover.policy import heirs
from nat_failover.policy.explain import explain

from . import policy_case, service_case, test_fence_lock, test_synchronised
from .policy_case import ME, NOW, PEER, TABLES, THIRD
from .service_case import VIP


def told(case, subject):
    return next(each for each in explain(case.config, case.memory, case.evidence()) if each.subject == subject)


def trio():
    return policy_case.Case((ME, PEER, THIRD))


def test_a_claim_that_is_here_goes_home_by_itself():
    case = trio()
    case.point(PEER, "eni-" + ME)
    found = told(case, TABLES[PEER])
    assert found.waits == ("nat-b takes it back by itself, once it has proven its forwarding (it is healthy now)",)
    assert (found.would, found.met) == ("", 0)


@pytest.mark.parametrize("returns", ["auto", "manual"])
def test_a_claim_with_a_third_node_waits_for_its_home(returns):
    case = trio()
    case.config = replace(case.config, returns=replace(case.config.returns, policy=returns))
    case.point(THIRD, "eni-" + PEER)
    assert told(case, TABLES[THIRD]).waits == (
        "nat-b serves it; nat-c takes it back once it has proven its forwarding",
    )


@pytest.mark.parametrize(("state", "fact", "words"), [
    ("drained", "", "drained"), ("active", "no canary", "no canary"),
])  # fmt: skip
def test_a_node_that_may_own_nothing_says_why(state, fact, words):
    case = trio()
    case.point(ME, "eni-" + PEER)
    case.me = replace(case.me, state=state, fact=fact, forwarding=not fact)
    [text] = told(case, TABLES[ME]).waits
    assert text.startswith("this node may own no claims now (") and words in text


def heir_of(home):
    """The node that takes a claim when its home has died, and the third one."""
    case = trio()
    names = [name for name in (ME, PEER, THIRD) if name != home]
    drawn = heirs.heir(case.claim(home), names)
    return drawn, next(name for name in names if name != drawn)


def test_an_heir_that_is_not_this_node_is_named():
    lost = next(home for home in (PEER, THIRD) if heir_of(home)[0] != ME)
    case = trio()
    case.silent(lost, seconds=5, verdict="failed", since=NOW - 4)
    found = told(case, TABLES[lost])
    assert found.would == "adopt " + str(case.claim(lost)) and found.waits == (
        f"{heir_of(lost)[0]} is the heir and takes it",
    )


def test_an_heir_whose_reading_is_older_than_the_doubt_reads_first():
    lost = next(home for home in (PEER, THIRD) if heir_of(home)[0] == ME)
    case = trio()
    case.silent(lost, seconds=5, verdict="failed", since=NOW - 4)
    case.routes = {claim: replace(view, read_at=NOW - 9) for claim, view in case.routes.items()}
    assert told(case, TABLES[lost]).waits == (
        "EC2's reading of the route is older than the doubt in its owner; it is read anew",
    )


def test_the_heir_of_a_served_claim_is_a_node_at_which_the_service_works():
    case = service_case.cluster((ME, PEER, THIRD))
    claim = next(each for each in case.config.claims if (each.home, each.destination) == (PEER, VIP))
    drawn = heirs.heir(claim, [ME, THIRD])
    other = THIRD if drawn == ME else ME
    if drawn == ME:
        service_case.own(case, unwell=True)
        case.memory = replace(case.memory, services={"proxy": ServiceMemory(None, 1)})
    else:
        service_case.reports(case, service_case.ILL, THIRD)
    found = [each for each in explain(case.config, case.memory, case.evidence()) if each.subject == TABLES[PEER]]
    [text] = next(each for each in found if VIP in each.now).waits
    assert text.startswith(f"it is at home; {other} takes it when nat-b fails")


def test_a_fence_names_the_lock_that_comes_first():
    case = test_fence_lock.dead()
    waits = told(case, PEER).waits
    assert "the fence lock comes first: the lock is free" in waits
    case.busy = (LOCK_KEY,)
    assert not any("lock comes first" in text for text in told(case, PEER).waits), "a write of it is under way"


def test_a_return_that_is_due_in_this_moment_waits_for_flows():
    case = test_synchronised.synchronised(flows={ME: 4008})
    case.memory = replace(case.memory, fit_since=NOW - case.config.returns.after)
    evidence = case.evidence
    case.evidence = lambda: replace(evidence(), flows={ME: 1001})
    [text] = told(case, TABLES[ME]).waits
    assert text == "1001 of the 4008 connections of nat-b have arrived here; the return waits 60 s at most"
