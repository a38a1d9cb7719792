# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's orders to take claims: each law holds but the one that the order is about."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.order import By
from nat_failover.policy import decide
from nat_failover.service.evidence import gather
from nat_failover.service.take import Take

from .standing import CLAIM_A, CLAIM_B, NOW, TABLE_A, TABLE_B, standing

BY = By("alice", "maintenance is over")


@pytest.fixture
def parts(monkeypatch):
    """nat-a whose decisions are carried out at once, as EC2 would, while an order waits."""
    parts = standing()
    parts.written = []
    report = Report(forwarding=True, views={"nat-a": "healthy"})
    parts.memory = replace(parts.memory, fit_since=NOW - 5, flaps=3)

    def act():
        heard = {"nat-b": Heard(heartbeat_at=parts.runtime.at, report=report, boot_id="b")}
        monkeypatch.setattr(parts.transport, "heard", lambda: heard)
        me = parts.collector.me
        parts.collector.me = replace(me, internet_at=parts.runtime.at, ec2_at=parts.runtime.at)
        reader = parts.collector.reader
        reader.routes = {claim: replace(view, read_at=parts.runtime.at) for claim, view in reader.routes.items()}
        parts.memory, parts.plan = decide.decide(parts.config, parts.memory, gather(parts, parts.runtime.at))
        for action in parts.plan.routes:
            parts.written.append((action.kind, action.claim))
            if not parts.refuses:
                reader.routes[action.claim] = RouteView("active", action.interface_id, parts.runtime.at)

    async def sleep(seconds):
        parts.runtime.at += seconds
        act()

    async def read_since(_moment):
        return None

    parts.refuses = False
    monkeypatch.setattr(parts.runtime, "sleep", sleep)
    monkeypatch.setattr(parts.collector, "read_since", read_since)
    monkeypatch.setattr(parts.collector, "find_tables", lambda: None)
    parts.collector.wake = act
    return parts


def away(parts, claim=CLAIM_A, target="eni-nat-b"):
    parts.collector.reader.routes[claim] = RouteView("active", target, NOW)


def give_back(parts, table=""):
    return asyncio.run(Take(parts).give_back(table, BY))


def adopt(parts, table, sure=True):
    return asyncio.run(Take(parts).adopt(table, sure, BY))


def test_a_return_that_is_ordered_skips_the_damping(parts):
    away(parts)
    assert give_back(parts) == {"changed": True, "state": f"{CLAIM_A}: at home"}
    assert parts.written == [("return", CLAIM_A)] and parts.ordered == frozenset()
    [event] = [event for event in parts.events.events if event["kind"] == "ordered"]
    assert (event["actor"], event["reason"], event["order"]) == ("alice", "maintenance is over", "return")


def test_without_the_order_the_damping_holds(parts):
    away(parts)
    asyncio.run(parts.runtime.sleep(0.1))
    assert parts.written == []


def test_a_manual_return_is_what_the_order_is_for(parts):
    parts.config = replace(parts.config, returns=replace(parts.config.returns, policy="manual"))
    away(parts)
    assert give_back(parts, TABLE_A)["changed"]


def test_nothing_is_changed_where_all_is_at_home(parts):
    assert give_back(parts) == {"changed": False, "state": "at home"}
    assert parts.written == []


REFUSALS = {
    "a pause": (lambda parts: None, "the cluster is paused until"),
    "a drain": (
        lambda parts: vars(parts.drain).update(state="drained", operator="kernel"),
        r"this node is drained \(kernel\); end that first",
    ),
    "no forwarding": (
        lambda parts: setattr(
            parts.collector, "me", replace(parts.collector.me, forwarding=False, fact="ip_forward=0")
        ),
        r"this node does not forward \(ip_forward=0\); laws L1 and L4",
    ),
    "observe": (lambda parts: setattr(parts, "config", replace(parts.config, mode="observe")), "mode is observe"),
}


@pytest.mark.parametrize("situation", REFUSALS)
@pytest.mark.parametrize("order", [give_back, lambda parts: adopt(parts, TABLE_A)])
def test_a_node_that_may_own_nothing_refuses_with_the_reason(parts, monkeypatch, situation, order):
    away(parts)
    happen, text = REFUSALS[situation]
    happen(parts)
    if situation == "a pause":
        view = parts.collector.reader.instances["nat-b"]
        tags = {"nat-failover:pause": "2026-11-29T12:00:00Z"}
        parts.collector.reader.instances["nat-b"] = replace(view, tags=tags)
        monkeypatch.setattr(parts.runtime, "wall_time", lambda: 1795950000.0)
    with pytest.raises(NatFailoverError, match=text):
        order(parts)
    assert parts.written == [] and parts.ordered == frozenset()


def test_a_return_of_a_route_that_targets_a_stranger_names_the_other_order(parts):
    away(parts, target="igw-1")
    with pytest.raises(NatFailoverError, match=f"law L8.*nat-failover adopt {TABLE_A}"):
        give_back(parts, TABLE_A)
    assert give_back(parts) == {"changed": False, "state": "at home"}, "all: drift is left alone"
    assert parts.written == []


@pytest.mark.parametrize(
    ("table", "text"), [(TABLE_B, "the home of .* is nat-b; run this there"), ("rtb-9", "no claim is on")]
)
def test_a_table_of_another_home_is_refused(parts, table, text):
    for order in (give_back, adopt):
        with pytest.raises(NatFailoverError, match=text):
            order(parts, table)


def test_drift_is_adopted_on_an_order_that_is_sure(parts):
    away(parts, target="igw-1")
    with pytest.raises(NatFailoverError, match=f"{TABLE_A} 0.0.0.0/0 from igw-1 to eni-nat-a; add --yes"):
        adopt(parts, TABLE_A, sure=False)
    assert parts.written == []
    assert adopt(parts, TABLE_A) == {"changed": True, "state": f"moved {CLAIM_A} from igw-1 to eni-nat-a"}
    assert parts.written == [("adopt", CLAIM_A)]
    assert adopt(parts, TABLE_A)["changed"] is False


def test_an_order_that_ec2_refuses_ends_with_its_reason(parts):
    parts.refuses = True
    parts.executor._refusals.note(("route", TABLE_A, "0.0.0.0/0"), "return", "denied; allow it", "X", NOW)
    away(parts)
    with pytest.raises(NatFailoverError, match="not taken within 20 s: denied; allow it"):
        give_back(parts)
    assert parts.ordered == frozenset()


def test_a_witness_owns_nothing(parts):
    parts.drain.state = "witness"
    with pytest.raises(NatFailoverError, match="this node is a witness"):
        give_back(parts)


def test_the_claims_of_others_stay_with_them(parts):
    away(parts)
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", "igw-1", NOW)
    give_back(parts)
    assert parts.collector.routes[CLAIM_B].target == "igw-1"


def test_a_switchover_goes_to_the_peer_that_is_the_heir(parts):
    asyncio.run(parts.runtime.sleep(0.1))
    Take(parts).require_heir("nat-b")


@pytest.mark.parametrize("verdict", ["failed", "sick", "unmanaged", "partitioned"])
def test_a_switchover_to_a_peer_that_is_not_well_is_refused(parts, verdict):
    asyncio.run(parts.runtime.sleep(0.1))
    peers = {name: replace(peer, verdict=verdict) for name, peer in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)
    with pytest.raises(NatFailoverError, match=f"nat-b could not take over now: it is {verdict}"):
        Take(parts).require_heir("nat-b")
