# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims that depend on a service: they move without the others, to a node where it works, and come back damped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import DRAINED, DRAINING
from nat_failover.model.evidence import Report
from nat_failover.model.memory import ServiceMemory
from nat_failover.policy import decide, services
from nat_failover.policy.case import Case as PolicyCase

from .policy_case import ME, NOW, PEER, THIRD, Case, steps
from .service_case import AFTER, HOLD, ILL, UNWELL, VIP, cluster, moves, own, point, reports, since

# --- a service dies -----------------------------------------------------------------------------------------------


def test_a_dead_service_moves_its_own_routes_and_no_default_route():
    case = cluster()
    reports(case, ILL)
    plan = case.decide()
    assert [(each.kind, each.claim.home, each.claim.destination) for each in plan.routes] == [("adopt", PEER, VIP)]
    assert plan.routes[0].reason.endswith("nat-b reports that its service proxy does not work")
    assert plan.fence == () and plan.verdicts[0].kind == "healthy"


def test_nothing_moves_while_the_service_works_nowhere():
    case = cluster()
    reports(case, ILL)
    own(case, unwell=True)
    assert moves(case) == []


def test_a_node_without_the_service_keeps_what_it_has_and_takes_nothing():
    case = cluster()
    own(case, unwell=True)
    assert moves(case) == []
    point(case, PEER, ME)  # it holds the peer's as well
    assert moves(case) == []


def test_a_third_node_is_the_heir_if_the_service_works_only_there():
    case = cluster((ME, PEER, THIRD))
    reports(case, ILL)
    own(case, unwell=True)
    assert moves(case) == []
    case = cluster((ME, PEER, THIRD))
    reports(case, ILL)
    reports(case, ILL, THIRD)
    assert sorted(moves(case)) == [("adopt", PEER, VIP), ("adopt", THIRD, VIP)]


def test_what_a_service_concerns_is_what_the_configuration_of_this_node_says():
    case = Case(destinations=["0.0.0.0/0", VIP])
    reports(case, ILL)
    assert moves(case) == []


def test_a_node_that_waits_after_a_freeze_believes_no_older_report():
    case = cluster()
    reports(case, ILL)
    case.memory = replace(case.memory, awake_since=NOW - 0.1, last_tick=NOW - 0.05)
    assert moves(case) == []


@pytest.mark.parametrize("verdict", ["silent", "partitioned", "unmanaged", "unknown"])
def test_only_of_a_healthy_peer_the_report_is_believed(verdict):
    case = cluster()
    reports(case, ILL)
    view = PolicyCase.of(case.config, case.memory, case.evidence())
    claim = next(each for each in case.config.claims if each.home == PEER and each.destination == VIP)
    assert services.claim_vacancy(view, claim, PEER)
    peers = {PEER: replace(case.memory.peers[PEER], verdict=verdict)}
    view = PolicyCase.of(case.config, replace(case.memory, peers=peers), case.evidence())
    assert services.claim_vacancy(view, claim, PEER) == ""


# --- a node dies ----------------------------------------------------------------------------------------------------


def test_a_dead_node_loses_all_routes_even_to_a_node_without_the_service():
    """A route that still pointed to the dead node would keep it from being fenced."""
    case = cluster()
    own(case, unwell=True)
    case.silent()
    assert sorted(moves(case)) == [("adopt", PEER, "0.0.0.0/0"), ("adopt", PEER, VIP)]


def test_the_heir_of_a_dead_node_is_one_where_the_service_works():
    case = cluster((ME, PEER, THIRD))
    reports(case, ILL, PEER)
    case.silent(THIRD)
    assert ("adopt", THIRD, VIP) in moves(case)
    case = cluster((ME, PEER, THIRD))
    own(case, unwell=True)
    case.silent(THIRD)
    assert ("adopt", THIRD, VIP) not in moves(case)


def test_a_broken_route_is_mended_by_a_node_where_the_service_works():
    case = cluster()
    reports(case, ILL)
    point(case, PEER, "nobody", state="blackhole")
    assert moves(case) == [("mend", PEER, VIP)]
    own(case, unwell=True)
    assert moves(case) == []  # the home mends it
    case = cluster()
    own(case, unwell=True)
    point(case, ME, "nobody", state="blackhole")
    assert moves(case) == []
    reports(case, ILL)
    assert moves(case) == [("mend", ME, VIP)], "it works nowhere, and there is nothing to lose"


# --- drains ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DRAINING, DRAINED])
def test_a_draining_node_keeps_a_route_that_it_alone_serves(state):
    case = cluster()
    own(case, unwell=True)
    reports(case, Report(state, True))
    assert moves(case) == [("adopt", PEER, "0.0.0.0/0")]


def test_a_draining_node_gives_up_a_route_that_no_node_serves():
    case = cluster()
    own(case, unwell=True)
    reports(case, replace(ILL, state=DRAINING))
    assert sorted(moves(case)) == [("adopt", PEER, "0.0.0.0/0"), ("adopt", PEER, VIP)]


@pytest.mark.parametrize(("failures", "needed"), [(0, AFTER), (1, AFTER), (2, 2 * AFTER), (4, 8 * AFTER), (40, 1800.0)])
def test_routes_come_home_when_the_service_has_worked_for_long_enough(failures, needed):
    case = cluster()
    point(case, ME, PEER)
    case.memory = replace(case.memory, fit_since=NOW - 4000, awake_since=NOW - 4000)
    since(case, needed - 0.1, failures)
    assert moves(case) == []
    since(case, needed, failures)
    assert moves(case) == [("return", ME, VIP)]


def test_a_default_route_does_not_wait_for_the_service():
    case = cluster()
    point(case, ME, PEER, "0.0.0.0/0")
    own(case, unwell=True)
    assert moves(case) == [("return", ME, "0.0.0.0/0")]


def test_an_order_of_an_operator_spares_the_damping():
    case = cluster()
    point(case, ME, PEER)
    since(case, 1)
    evidence = replace(case.evidence(), ordered=frozenset(case.config.claims))
    _memory, plan = decide.decide(case.config, case.memory, evidence)
    assert [each.kind for each in plan.routes] == ["return"]


def test_the_loss_of_such_a_route_does_not_delay_the_return_of_others():
    case = cluster()
    mine = frozenset(each for each in case.config.claims if each.home == ME)
    case.memory = replace(case.memory, own_claims=mine, returned_at=NOW - 10)
    own(case, unwell=True)
    point(case, ME, PEER)
    case.decide()
    assert case.memory.lost_at is None and case.memory.flaps == 0
    assert case.memory.peers[PEER].took_own_claim_at == NOW  # it is a sign of life all the same


def test_the_loss_of_such_a_route_while_the_service_worked_counts_like_any_other():
    case = cluster()
    mine = frozenset(each for each in case.config.claims if each.home == ME)
    case.memory = replace(case.memory, own_claims=mine, returned_at=NOW - 10)
    point(case, ME, PEER)
    case.decide()
    assert case.memory.lost_at == NOW and case.memory.flaps == 1


# --- the memory of a service ------------------------------------------------------------------------------------------


def noted(known, unwell, now=NOW):
    case = cluster()
    case.now = now
    case.memory = replace(case.memory, services={} if known is None else {"proxy": known})
    own(case, unwell)
    return services.note(PolicyCase.of(case.config, case.memory, case.evidence())).services["proxy"]


def test_failures_are_counted_and_forgotten_after_a_long_quiet_time():
    assert noted(None, False) == ServiceMemory(NOW)
    assert noted(None, True) == ServiceMemory(None)
    assert noted(ServiceMemory(None), False) == ServiceMemory(NOW)  # a boot is no failure
    assert noted(ServiceMemory(NOW - 100), True) == ServiceMemory(None, 1)
    assert noted(ServiceMemory(NOW - 100, 1), True) == ServiceMemory(None, 2)
    assert noted(ServiceMemory(None, 2), True) == ServiceMemory(None, 2)
    assert noted(ServiceMemory(None, 2), False) == ServiceMemory(NOW, 2)
    assert noted(ServiceMemory(NOW - 1800, 2), False) == ServiceMemory(NOW - 1800, 2)
    assert noted(ServiceMemory(NOW - 1801, 2), False) == ServiceMemory(NOW - 1801, 0)
    assert noted(ServiceMemory(NOW - 1801, 2), True) == ServiceMemory(None, 1)


@pytest.mark.parametrize(
    ("known", "unwell"),
    [
        (ServiceMemory(None), True),
        (ServiceMemory(NOW, 0), False),
        (ServiceMemory(NOW - HOLD + 0.1, 1), True),
        (ServiceMemory(NOW - HOLD, 1), False),
        (ServiceMemory(NOW - 2 * HOLD + 0.1, 2), True),
        (ServiceMemory(NOW - 2 * HOLD, 2), False),
        (ServiceMemory(NOW - 1799, 60), True),
        (ServiceMemory(NOW - 1800, 60), False),
    ],
)
def test_a_service_that_failed_is_reported_as_unwell_for_a_while(known, unwell):
    case = cluster()
    case.memory = replace(case.memory, services={"proxy": known})
    assert services.unwell(case.config, case.memory, NOW) == (UNWELL if unwell else frozenset())


def test_a_service_that_a_reload_adds_is_taken_for_well_until_it_is_read():
    case = cluster()
    assert services.unwell(case.config, replace(case.memory, services={}), NOW) == frozenset()


def test_a_cluster_without_services_remembers_none():
    case = Case()
    assert services.note(PolicyCase.of(case.config, case.memory, case.evidence())) is case.memory
    case.memory = replace(case.memory, services={"proxy": ServiceMemory(NOW)})  # a reload has removed it
    assert services.note(PolicyCase.of(case.config, case.memory, case.evidence())).services == {}


def test_no_service_leads_to_a_fence():
    case = cluster()
    reports(case, ILL)
    point(case, PEER, ME)
    assert steps(case) == []
