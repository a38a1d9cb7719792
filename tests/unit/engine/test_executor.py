# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor's writes, its later readings, and the number of its tries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.act.executor import BACKOFF_MOST, Executor
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import AddressView, Claim
from nat_failover.model.plan import Plan, SetAddress, SetRoute

from .executed import ADOPT, CLAIM, OLD, Cloud, Runtime, carry_out


@pytest.fixture
def cloud():
    return Cloud(Runtime())


# --- routes ----------------------------------------------------------------------------------------------------------


def test_a_route_is_written_read_again_and_reported(cloud):
    [(kind, text, more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert cloud.written == [("write_route", "rtb-1")] and cloud.noted.target == "eni-a"
    assert kind == "adopt" and text == "rtb-1: nat-b is failed; done in 62 ms"
    assert more == {"route_table": "rtb-1", "action": "adopt", "ms": 62.5}
    assert cloud.executor.replaced == {CLAIM: OLD}


def test_writes_back_off_while_ec2_still_shows_the_old_target(cloud):
    """An answer that says yes is no proof (L9): a route that EC2 does not show is not hammered."""
    cloud.applies = False

    def tick():
        cloud.runtime.seconds += 0.1

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 600, between=tick)  # a minute of decisions
    assert 5 <= len(cloud.written) <= 6 + 60 / (BACKOFF_MOST / 2)
    assert len(events) == 1 and cloud.executor.replaced == {}, "the same obstacle again is no news"
    [(refusal, next_at)] = cloud.executor.refused()
    assert refusal.attempts == len(cloud.written) and next_at > refusal.last_at
    assert events[0][1] == (
        "adopt rtb-1: nat-b is failed; route rtb-1 0.0.0.0/0 still targets eni-b (active) 62 ms after the write; retrying"
    )


def test_a_failure_goes_on_when_its_pause_ends_between_a_decision_and_its_actions(cloud):
    """The plan could not contain the key: that it does not is no sign that nothing wants it any more."""
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def slow_decision():
        cloud.runtime.seconds += 60

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 4, between_decision_and_act=slow_decision)
    assert [kind for kind, _text, _more in events] == ["failed"]
    [(refusal, _next_at)] = cloud.executor.refused()
    assert refusal.attempts == len(cloud.written) == 2


def test_a_route_that_fails_again_and_again_backs_off_and_then_is_tried_at_once(cloud):
    cloud.fails["write_route"] = "InternalError"
    carry_out(cloud, *[Plan(routes=(ADOPT,))] * 20)
    assert len(cloud.written) == 1
    cloud.written.clear()
    cloud.fails.clear()
    carry_out(cloud, *[Plan(routes=(ADOPT,))] * 3)
    assert len(cloud.written) == 3, "a success leaves no back-off behind"


@pytest.mark.parametrize("code", ["Timeout", "EndpointUnreachable", "BadAnswer"])
def test_a_write_whose_answer_was_lost_is_done_if_the_reading_shows_it(cloud, code):
    cloud.fails["write_route"] = code
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert kind == "adopt" and "done in" in text and len(cloud.written) == 1


def test_when_the_reading_fails_too_the_failure_of_the_write_is_reported(cloud):
    cloud.fails.update(write_route="Timeout", describe_routes="RequestLimitExceeded")
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert kind == "failed" and "ec2:write_route" in text and "(Timeout)" in text


def test_throttling_is_reported_once_until_a_success(cloud):
    routes = tuple(
        SetRoute(Claim(f"rtb-{n}", "0.0.0.0/0", "nat-b"), "eni-a", "nat-a", OLD, "adopt", "x") for n in range(5)
    )
    cloud.fails["write_route"] = "RequestLimitExceeded"
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=routes))
    assert kind == "failed" and text.endswith("throttled writes are tried again at the pace that EC2 allows")
    assert cloud.executor.busy(0.0) == {route.key for route in routes}


def test_a_defect_in_one_action_does_not_end_the_others(cloud, caplog):
    other = SetRoute(Claim("rtb-2", "0.0.0.0/0", "nat-b"), "eni-a", "nat-a", OLD, "adopt", "adopt rtb-2")
    write = cloud.write_route
    cloud.write_route = lambda claim, interface: write(claim, interface) if claim != CLAIM else claim.no_such_name
    events = carry_out(cloud, Plan(routes=(ADOPT, other)))
    assert sorted(kind for kind, _text, _more in events) == ["adopt", "failed"]
    assert any("unexpected AttributeError" in text for _kind, text, _more in events)


# --- fences ----------------------------------------------------------------------------------------------------------


def test_a_refusal_is_one_line_for_one_reason_and_has_an_end(cloud):
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def pass_time():
        cloud.runtime.seconds += 0.1
        if len(cloud.written) == 5:
            cloud.fails["write_route"] = "InternalError"
        if len(cloud.written) == 7:
            cloud.fails.clear()

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 900, between=pass_time)
    assert [kind for kind, _text, _more in events[:4]] == ["failed", "failed", "adopt", "failed_ended"]
    assert [more.get("code") for _kind, _text, more in events[:2]] == ["UnauthorizedOperation", "InternalError"]
    assert events[3][1] == "route rtb-1 0.0.0.0/0: done after 7 failed attempts"
    assert cloud.executor.refused() == []


def test_a_refusal_of_what_nothing_wants_any_more_has_an_end_too(cloud):
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def pass_time():
        cloud.runtime.seconds += 1.0

    events = carry_out(cloud, Plan(routes=(ADOPT,)), *[Plan()] * 20, between=pass_time)
    assert [kind for kind, _text, _more in events] == ["failed", "failed_ended"]
    assert events[1][1] == "route rtb-1 0.0.0.0/0: not wanted any more, after 1 failed attempts"
    assert events[1][2]["attempts"] == 1 and cloud.executor.refused() == []


# --- the flare -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "unseen"),
    [
        ([""], [""]),
        (["TagLimitExceeded"], ["TagLimitExceeded"]),
        (["UnauthorizedOperation", "", "TagPolicyViolation"], ["UnauthorizedOperation", "", "TagPolicyViolation"]),
        (["Timeout"] * 2, []),
        (["Timeout"] * 3, ["Timeout"]),
        (["InternalError"] * 2 + [""] + ["InternalError"] * 2, [""]),
    ],
)
def test_a_node_knows_that_its_flare_cannot_be_written(cloud, codes, unseen):
    noted = []
    cloud.note_unseen = noted.append
    executor = object.__new__(Executor)
    executor._collector = cloud
    failures = 0
    for code in codes:
        failures = executor._note_flare(failures + 1 if code else 0, code, f"refused ({code})" if code else "")
    assert noted == [f"refused ({code})" if code else "" for code in unseen]


# --- Elastic IPs of identities ---------------------------------------------------------------------------------------


MOVE = SetAddress(
    "nat-b", "eipalloc-b", "eni-a", "10.0.0.21", None, "address eipalloc-b of nat-b from nat-b to nat-a: adopt"
)


def test_an_elastic_ip_is_moved_read_again_and_reported(cloud):
    [(kind, text, more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert cloud.written == [("associate_address", "eipalloc-b")] and cloud.noted == {"eipalloc-b": cloud.elastic}
    assert kind == "address" and text == "eipalloc-b of nat-b from nat-b to nat-a: adopt; done in 62 ms"
    assert (more["allocation"], more["identity"]) == ("eipalloc-b", "nat-b")


def test_an_elastic_ip_whose_move_is_not_seen_is_tried_again(cloud):
    cloud.applies = False
    [(kind, text, _more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert kind == "address" and "eipalloc-b is still at eni-b (10.0.1.20) 62 ms after the write; retrying" in text


def test_a_lost_answer_to_the_move_of_an_elastic_ip_is_decided_by_a_reading(cloud):
    cloud.fails["associate_address"] = "Timeout"
    [(kind, text, _more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert kind == "address" and text.endswith("ms")


def test_a_refusal_holds_up_no_route_and_is_not_repeated_soon(cloud):
    cloud.fails["associate_address"] = "UnauthorizedOperation"

    def tick():
        cloud.runtime.seconds += 0.1

    plan = Plan(routes=(ADOPT,), addresses=(MOVE,))
    events = carry_out(cloud, plan, *[Plan(addresses=(MOVE,))] * 100, between=tick)  # ten seconds of decisions
    assert sorted(kind for kind, _text, _more in events) == ["adopt", "failed"]
    assert cloud.written.count(("associate_address", "eipalloc-b")) == 1


# --- an Elastic IP that comes after its routes -----------------------------------------------------------------------


OTHER = SetRoute(Claim("rtb-2", "0.0.0.0/0", "nat-b"), "eni-a", "nat-a", OLD, "adopt", "adopt rtb-2: nat-b is draining")
FOLLOWS = replace(MOVE, after=(CLAIM,))


def moves(cloud):
    return [word for word, *_rest in cloud.written]


def test_it_is_moved_once_ec2_has_answered_the_write_of_its_route_and_before_that_is_read_again(cloud):
    reads = []
    read = cloud.describe_routes
    cloud.describe_routes = lambda claims: reads.append(len(cloud.written)) or read(claims)
    events = carry_out(cloud, Plan(routes=(ADOPT,), addresses=(FOLLOWS,)))
    assert moves(cloud) == ["write_route", "associate_address"] and reads == [2]
    assert sorted(kind for kind, _text, _more in events) == ["address", "adopt"]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded", "InternalError"])
def test_if_the_write_of_its_route_is_refused_it_stays_and_is_free_for_the_next_plan(cloud, code):
    """Nothing but the route has failed: the next attempt of the route brings it along."""
    cloud.fails["write_route"] = code
    events = carry_out(cloud, Plan(routes=(ADOPT,), addresses=(FOLLOWS,)))
    assert moves(cloud) == ["write_route"] and [kind for kind, _text, _more in events] == ["failed"]
    assert FOLLOWS.key not in cloud.executor.busy(cloud.runtime.seconds)
    assert [refusal.key for refusal, _next_at in cloud.executor.refused()] == [ADOPT.key]


def test_if_the_answer_to_its_route_is_lost_it_stays_until_a_reading_shows_the_route(cloud):
    """The next decision sees the route here, and then the Elastic IP waits for nothing."""
    cloud.fails["write_route"] = "Timeout"
    events = carry_out(cloud, Plan(routes=(ADOPT,), addresses=(FOLLOWS,)))
    assert moves(cloud) == ["write_route"] and [kind for kind, _text, _more in events] == ["adopt"]
    assert cloud.noted.target == "eni-a"
    carry_out(cloud, Plan(addresses=(MOVE,)))
    assert moves(cloud) == ["write_route", "associate_address"]


@pytest.mark.parametrize("fails", ["rtb-1", "rtb-2"])
def test_of_two_tables_one_fails_and_it_stays(cloud, fails):
    write = cloud.write_route

    def write_route(claim, interface):
        cloud.fails = {"write_route": "InternalError"} if claim.route_table == fails else {}
        write(claim, interface)

    cloud.write_route = write_route
    both = replace(MOVE, after=(CLAIM, OTHER.claim))
    carry_out(cloud, Plan(routes=(ADOPT, OTHER), addresses=(both,)))
    assert moves(cloud) == ["write_route", "write_route"]
    cloud.fails, cloud.write_route = {}, write
    carry_out(cloud, Plan(routes=(OTHER,), addresses=(replace(MOVE, after=(OTHER.claim,)),)))
    assert moves(cloud)[2:] == ["write_route", "associate_address"]


def test_it_does_not_wait_for_a_route_that_nobody_writes(cloud):
    carry_out(cloud, Plan(addresses=(FOLLOWS,)))
    assert cloud.written == []


def test_a_defect_in_the_write_of_its_route_does_not_leave_it_waiting(cloud, caplog):
    cloud.write_route = lambda claim, interface: claim.no_such_name
    carry_out(cloud, Plan(routes=(ADOPT,), addresses=(FOLLOWS,)))
    assert cloud.written == [] and FOLLOWS.key not in cloud.executor.busy(cloud.runtime.seconds)


def test_a_renewed_reading_that_shows_it_where_it_was_lets_it_move(cloud):
    renews = replace(FOLLOWS, before=cloud.elastic, renews=True)
    carry_out(cloud, Plan(routes=(ADOPT,), addresses=(renews,)))
    assert moves(cloud) == ["write_route", "associate_address"]


def test_a_renewed_reading_that_shows_it_elsewhere_leaves_it_there_and_moves_the_route(cloud):
    """An operator has associated it with something else since the last reading (L8)."""
    renews = replace(FOLLOWS, before=cloud.elastic, renews=True)
    cloud.elastic = AddressView("203.0.113.11", "eni-elsewhere", "10.0.9.9", 0.0)
    seen = []
    cloud.note_addresses = seen.append
    carry_out(cloud, Plan(routes=(ADOPT,), addresses=(renews,)))
    assert moves(cloud) == ["write_route"] and seen == [{"eipalloc-b": cloud.elastic}]
    assert renews.key not in cloud.executor.busy(cloud.runtime.seconds)


def test_a_refused_reading_costs_the_elastic_ip_and_not_the_route(cloud):
    def refuse(allocations):
        raise Ec2Error("ec2:DescribeAddresses", "it", "UnauthorizedOperation", "no", retryable=False)

    cloud.describe_addresses = refuse
    events = carry_out(cloud, Plan(routes=(ADOPT,), addresses=(replace(FOLLOWS, renews=True),)))
    assert moves(cloud) == ["write_route"]
    assert sorted(kind for kind, _text, _more in events) == ["adopt", "failed"]
