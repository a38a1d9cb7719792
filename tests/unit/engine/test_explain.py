# SPDX-License-Identifier: GPL-3.0-or-later
"""The explanation of a claim or a peer agrees with the decision, and names all that it waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.cluster import TAG_FENCE, RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.memory import ServiceMemory
from nat_failover.policy import decide, fence_objections, fitness
from nat_failover.policy.case import Fence
from nat_failover.policy.explain import explain
from nat_failover.service.commands import Commands
from nat_failover.service.evidence import gather

from .standing import CLAIM_A, CLAIM_B, NOW, SERVED, VIP, standing


@pytest.fixture
def parts(monkeypatch):
    parts = standing()
    heard(parts, monkeypatch)
    parts.memory = replace(parts.memory, last_tick=NOW)
    return parts


def heard(parts, monkeypatch, at=NOW - 0.1, unanswered=0, **report):
    found = {
        "nat-b": Heard(heartbeat_at=at, report=Report(forwarding=True, **report), boot_id="b", unanswered=unanswered)
    }
    monkeypatch.setattr(parts.transport, "heard", lambda: found)


def peer(parts, **changes):
    peers = {name: replace(each, **changes) for name, each in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)


def failed(parts, monkeypatch, since=5.0):
    heard(parts, monkeypatch, at=NOW - since - 1, unanswered=40)
    peer(
        parts,
        verdict="failed",
        since=NOW - since,
        suspected_at=NOW - since - 0.5,
        proven_at=NOW - since,
        seen_healthy=True,
    )
    me = parts.collector.me
    parts.collector.me = replace(me, internet_at=NOW, ec2_at=NOW)
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", "eni-nat-b", NOW)


def about(parts, subject):
    return next(each for each in explain(parts.config, parts.memory, gather(parts, NOW)) if each.subject == subject)


def test_a_claim_at_home_names_its_heir(parts):
    found = about(parts, CLAIM_B.route_table)
    assert found.now == f"{CLAIM_B} is with nat-b (EC2: active, read 2.0 s ago), home nat-b"
    assert (found.would, found.waits) == (
        "",
        ("it is at home; nat-a takes it when nat-b fails, does not forward, or drains",),
    )


@pytest.mark.parametrize("read_at, ec2", [(NOW - 16, True), (NOW - 2, False)])
def test_an_old_reading_is_not_told_as_the_present(parts, read_at, ec2):
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", "eni-nat-b", read_at)
    parts.collector.me = replace(parts.collector.me, ec2=ec2)
    found = about(parts, CLAIM_B.route_table)
    assert found.now.startswith(f"{CLAIM_B} was last seen with nat-b (EC2: active, read ")
    assert (found.would, found.waits) == (
        "",
        ("this node cannot read where it leads now: ask a node that EC2 answers",),
    )


def test_a_claim_of_a_failed_peer_is_taken_now_as_the_decision_takes_it(parts, monkeypatch):
    failed(parts, monkeypatch)
    found = about(parts, CLAIM_B.route_table)
    _memory, plan = decide.decide(parts.config, parts.memory, gather(parts, NOW))
    assert [action.kind for action in plan.routes] == ["adopt"]
    assert (found.would, found.waits) == (f"adopt {CLAIM_B}: nat-b has failed", ())


@pytest.mark.parametrize("gate", ["the mode", "EC2", "the uplink and EC2"])
def test_all_gates_are_named_and_not_only_the_first(parts, monkeypatch, gate):
    failed(parts, monkeypatch)
    if gate == "the mode":
        parts.config = replace(parts.config, mode="observe")
        expected = ["mode is observe"]
    else:
        lost = {"ec2": False, "internet": gate == "EC2"}
        parts.collector.me = replace(parts.collector.me, **lost)
        expected = ["this node does not reach the internet"] if gate != "EC2" else []
        expected.append("the EC2 API does not answer this node")
    text = " | ".join(about(parts, CLAIM_B.route_table).waits)
    assert all(each in text for each in expected)
    _memory, plan = decide.decide(parts.config, parts.memory, gather(parts, NOW))
    assert plan.routes == ()


def test_a_return_counts_its_seconds(parts):
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW)
    parts.memory = replace(parts.memory, fit_since=NOW - 42, flaps=2)
    found = about(parts, CLAIM_A.route_table)
    assert found.would == f"return {CLAIM_A}"
    assert found.waits == ("forwarding is proven for 42 of 120 s, doubled by 2 flaps; 78 s are left",)


def test_a_manual_return_names_the_command(parts):
    parts.config = replace(parts.config, returns=replace(parts.config.returns, policy="manual"))
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW)
    assert about(parts, CLAIM_A.route_table).waits == (
        "the return policy is manual: `nat-failover return` takes it back",
    )


def test_a_partitioned_owner_keeps_its_routes(parts):
    peer(parts, verdict="partitioned")
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW)
    parts.config = replace(parts.config, returns=replace(parts.config.returns, policy="manual"))
    assert about(parts, CLAIM_A.route_table).waits == ("nat-b is partitioned: by that verdict its routes stay",)


def test_drift_is_left_alone(parts):
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", "igw-1", NOW)
    found = about(parts, CLAIM_B.route_table)
    assert found.would == "" and "which is no node of this cluster; the route is left alone" in found.waits[0]
    assert found.now.startswith(f"{CLAIM_B} is with igw-1 (")


def test_a_fence_names_each_objection_that_holds(parts, monkeypatch):
    failed(parts, monkeypatch)
    found = about(parts, "nat-b")
    assert found.would == "stop and start nat-b" and "its routes move: it has failed" in found.now
    assert "it was silent and without a flare for 5 of 30 s" in found.waits
    assert "a route still targets it" in found.waits
    evidence = gather(parts, NOW)
    fence = Fence(
        fitness.assess(parts.config, parts.memory, evidence),
        "nat-b",
        parts.memory.peers["nat-b"],
        evidence.instances["nat-b"],
    )
    assert found.met == [holds for holds, _text in fence_objections.objections(fence)].count(False) > 5
    parts.config = replace(parts.config, fence=replace(parts.config.fence, policy="none"))
    assert about(parts, "nat-b").waits[0] == "the fence policy is none"


def test_a_fence_under_way_names_its_holder(parts, monkeypatch):
    failed(parts, monkeypatch)
    view = parts.collector.reader.instances["nat-b"]
    parts.collector.reader.instances["nat-b"] = replace(view, state="stopping", tags={TAG_FENCE: "nat-a:stop"})
    found = about(parts, "nat-b")
    assert (found.would, found.waits) == ("", ("nat-a has begun a fence (stage stop)",))
    parts.collector.reader.instances["nat-b"] = replace(view, state="stopped", tags={TAG_FENCE: "nat-a:stop"})
    assert about(parts, "nat-b").would == "start nat-b: nat-a stopped it"


def test_a_healthy_peer_is_not_fenced(parts):
    found = about(parts, "nat-b")
    assert found.waits == ("a fence needs the verdict failed; it is healthy",)
    assert found.now.startswith("nat-b is healthy for 60 s: ")


@pytest.mark.parametrize("shown", [True, False])
def test_a_peer_whose_instance_is_not_known_is_not_fenced(parts, shown):
    instances = parts.collector.reader.instances
    view = instances.pop("nat-b")
    if shown:
        instances["nat-b"] = replace(view, instance_id="")
    assert about(parts, "nat-b").waits == ("EC2 has not shown its instance yet",)


def test_the_service_adds_the_failures_of_the_actions(parts, monkeypatch):
    failed(parts, monkeypatch)
    parts.executor._refusals.note(("route", CLAIM_B.route_table, "0.0.0.0/0"), "adopt", "denied", "X", NOW - 4)
    answer = Commands(parts, None).explain()
    item = next(each for each in answer["items"] if each["subject"] == CLAIM_B.route_table)
    assert (answer["schema"], item["failures"][0]["attempts"], item["failures"][0]["error"]) == (1, 1, "denied")


# --- services that claims depend on ------------------------------------------------------------------------------------


def served(monkeypatch, home, owner, here, there, since=NOW - 90, **report):
    """The explanation of the route to the service: whether it works on nat-a (``here``) and on nat-b."""
    parts = standing(**SERVED)
    heard(parts, monkeypatch, unwell=frozenset(() if there else {"proxy"}), **report)
    memory = {"proxy": ServiceMemory(since if here else None, 1)}
    me = replace(parts.collector.me, unwell=frozenset(() if here else {"proxy"}), internet_at=NOW, ec2_at=NOW)
    parts.collector.me = me
    parts.memory = replace(parts.memory, last_tick=NOW, fit_since=NOW - 90, services=memory)
    claim = next(each for each in parts.config.claims if (each.home, each.destination) == (home, VIP))
    parts.collector.reader.routes = {claim: RouteView("active", f"eni-{owner}", NOW)}
    return about(parts, claim.route_table)


@pytest.mark.parametrize(
    ("home", "owner", "here", "there", "would", "waits"),
    [
        ("nat-a", "nat-a", True, True, "", "it is at home"),
        ("nat-a", "nat-a", False, True, "", "its service proxy does not work here; nat-b takes it"),
        ("nat-a", "nat-a", False, False, "", "does not work here, nor on any other node that may own claims"),
        ("nat-b", "nat-b", True, True, "", "nat-a takes it when nat-b fails, does not forward, or drains, or when"),
        ("nat-b", "nat-b", True, False, "adopt", ""),
        ("nat-b", "nat-b", False, False, "adopt", "its service proxy works on no other node that may own it"),
        ("nat-a", "nat-b", False, True, "", "its service proxy does not work here"),
        ("nat-a", "nat-b", True, True, "return", ""),
    ],
)
def test_a_claim_that_depends_on_a_service(monkeypatch, home, owner, here, there, would, waits):
    found = served(monkeypatch, home, owner, here, there)
    assert found.would.startswith(would) and bool(found.would) == bool(would)
    assert waits in "".join(found.waits) and bool(found.waits) == bool(waits)


def test_a_claim_waits_until_its_service_has_worked_for_a_while(monkeypatch):
    found = served(monkeypatch, "nat-a", "nat-b", True, True, NOW - 12)
    assert found.would.startswith("return") and found.waits == ("its service proxy has worked here for 12 of 30 s",)


def test_a_claim_waits_for_a_node_with_a_notice_if_its_service_works_only_there(monkeypatch):
    notice = {"state": "drained", "fact": "spot interruption"}
    found = served(monkeypatch, "nat-a", "nat-a", False, True, **notice)
    assert found.waits == ("its service proxy does not work here; nat-b takes it",)
    found = served(monkeypatch, "nat-a", "nat-a", False, True, state="drained")
    assert found.waits == ("its service proxy does not work here, nor on any other node that may own claims",)


def test_a_draining_node_keeps_what_no_other_node_serves(monkeypatch):
    found = served(monkeypatch, "nat-b", "nat-b", False, True, state="draining")
    assert found.waits == ("its service proxy works on no other node that may own it",)
