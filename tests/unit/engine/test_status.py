# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a service for peers, systemd and operators, by the evidence that it stands on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nat_failover.model import screen
from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Lock, Report, WitnessView
from nat_failover.model.plan import Plan, SetRoute
from nat_failover.policy import pause as pauses
from nat_failover.policy.interruption import SPOT, Interruption
from nat_failover.service import status

from .standing import CLAIM_A, CLAIM_B, MOVING, NOW, RAW, moving, standing

NOTICE = "spot interruption: stop at noon"
WATCHED = [*RAW["nodes"], {"name": "nat-w", "instance_id": "i-0000000c", "witness": True}]


def change_peer(parts, **changes):
    peers = {name: replace(peer, **changes) for name, peer in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)


def pause(parts):
    view = parts.collector.instances["nat-b"]
    tags = {"nat-failover:pause": pauses.value(time.time() + 3600)}
    parts.collector.reader.instances["nat-b"] = replace(view, tags=tags)


def lose_forwarding(parts):
    parts.collector.me = replace(parts.collector.me, fact="ip_forward=0")


def lose_a_route(parts):
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW)


SUMMARIES = {
    "all is well": (lambda parts: None, "active, forwarding, owns 1 of 2 claims; nat-b healthy"),
    "a claim is lost": (lose_a_route, "active, forwarding, owns 0 of 2 claims; nat-b healthy"),
    "no forwarding": (lose_forwarding, "active, NOT forwarding (ip_forward=0), owns 1 of 2 claims; nat-b healthy"),
    "a pause": (pause, "PAUSED, active, forwarding, owns 1 of 2 claims; nat-b healthy"),
    "a failed peer": (
        lambda parts: change_peer(parts, verdict="failed"),
        "active, forwarding, owns 1 of 2 claims; nat-b failed",
    ),
    "a drain": (
        lambda parts: vars(parts.drain).update(state="drained", operator="kernel update"),
        "drained (kernel update), forwarding, owns 1 of 2 claims; nat-b healthy",
    ),
    "no peer yet": (
        lambda parts: setattr(parts, "memory", replace(parts.memory, peers={})),
        "active, forwarding, owns 1 of 2 claims; no peers",
    ),
}


@pytest.mark.parametrize("situation", SUMMARIES)
def test_the_summary_is_one_line_for_each_situation(situation):
    happen, line = SUMMARIES[situation]
    parts = standing()
    happen(parts)
    assert status.summary(parts) == line


@pytest.mark.parametrize(
    ("internet", "line"),
    [(True, "witness; nat-b healthy"), (False, "witness, NOT well (the internet is not reachable); nat-b healthy")],
)
def test_the_summary_of_a_witness(internet, line):
    parts = standing(nodes=WATCHED, self="nat-w")
    parts.collector.me = replace(parts.collector.me, internet=internet)
    assert status.summary(parts) == line
    assert not status.report(parts).forwarding, "a witness forwards nothing"


@pytest.mark.parametrize(
    ("verdict", "suspected_at", "view"),
    [("healthy", None, "healthy"), ("healthy", NOW, "suspected"), ("failed", NOW - 5, "failed")],
)
def test_a_late_peer_is_not_reported_as_healthy(verdict, suspected_at, view):
    parts = standing()
    change_peer(parts, verdict=verdict, suspected_at=suspected_at)
    assert status.report(parts).views == {"nat-b": view}


def test_a_drain_for_an_interruption_is_reported_with_its_reason_while_the_node_forwards():
    parts = standing()
    parts.drain.state, parts.drain.interruptions = "draining", (Interruption(SPOT, NOTICE),)
    report = status.report(parts)
    assert (report.forwarding, report.fact, report.last_resort) == (True, NOTICE, True)
    parts.drain.operator = "kernel update"
    assert status.report(parts).fact == "", "after an operator's drain it is no heir of last resort"


def test_the_keys_of_the_status_are_an_interface():
    found = json.loads(json.dumps(status.status(standing())))
    assert set(found) == {
        *("cluster", "node", "mode", "forbidden", "paused", "state", "why", "tagged", "notices", "boot_id"),
        *("settings", "summary", "self", "instances", "claims", "verdicts", "proposed", "drift", "withheld"),
        *("witness", "counters", "event_counts", "events"),
        *("schema", "version", "at", "level", "problems", "can_act", "cannot_act", "unfit", "ec2", "imds"),
        *("failures", "fences", "incident", "last_incident", "lost_lines", "services", "identities"),
        "state_sync",
    }
    assert (found["schema"], found["level"], found["problems"], found["can_act"]) == (1, "well", [], True)
    assert set(found["self"]) == {
        *("state", "forwarding", "fact", "views", "signs", "seals", "internet", "ec2", "canary", "facts", "warnings"),
        *("internet_s_ago", "ec2_s_ago", "defects", "unwell", "flows", "hindrance"),
    }


def test_each_claim_has_its_owner_and_the_age_of_its_reading():
    parts = standing()
    parts.collector.reader.routes[CLAIM_B] = RouteView("blackhole", "eni-of-another", NOW - 0.5)
    rows = status.status(parts)["claims"]
    assert rows[0] == {
        "route_table": CLAIM_A.route_table,
        "destination": "0.0.0.0/0",
        "home": "nat-a",
        "owner": "nat-a",
        "target": "eni-nat-a",
        "state": "active",
        "read_s_ago": 2.0,
        "old": False,
        "served": True,
        "at_home": True,
        "drift": False,
        "service": "",
        "refused": False,
    }
    assert (rows[1]["owner"], rows[1]["target"], rows[1]["state"]) == (None, "eni-of-another", "blackhole")


def test_a_verdict_has_the_age_of_the_heartbeat_and_the_state_of_the_peer(monkeypatch):
    parts = standing()
    [row] = status.status(parts)["verdicts"]
    assert (row["peer"], row["since_s"], row["heartbeat_ms_ago"], row["state"]) == ("nat-b", 60.0, None, None)
    heard = {"nat-b": Heard(heartbeat_at=NOW - 0.25, report=Report(state="drained"))}
    monkeypatch.setattr(parts.transport, "heard", lambda: heard)
    [row] = status.status(parts)["verdicts"]
    assert (row["heartbeat_ms_ago"], row["state"]) == (250, "drained")


def test_the_evidence_is_of_now_and_not_of_the_moment_of_the_verdict(monkeypatch):
    parts = standing()
    heard = {"nat-b": Heard(heartbeat_at=NOW - 0.25, report=Report(forwarding=True, views={"nat-a": "healthy"}))}
    monkeypatch.setattr(parts.transport, "heard", lambda: heard)
    [row] = status.status(parts)["verdicts"]
    assert "heartbeat 250 ms ago" in row["evidence"] and row["evidence_then"] == "heartbeat 40 ms ago"
    assert (row["view"], row["hears_me"]) == ("healthy", True)


def test_a_withheld_route_is_proposed():
    parts = standing()
    before = parts.collector.routes[CLAIM_B]
    action = SetRoute(CLAIM_B, "eni-nat-a", "nat-a", before, "adopt", "nat-b is failed")
    parts.plan = Plan(withheld=(action,), forbidden="mode observe")
    found = status.status(parts)
    place = {"route_table": CLAIM_B.route_table, "destination": "0.0.0.0/0", "owner": "nat-a", "target": "eni-nat-a"}
    assert (found["proposed"], found["forbidden"]) == ([place], "mode observe")


def test_the_witness_table_in_words():
    parts = standing()
    assert status.status(parts)["witness"] == ""
    parts.witness.table = SimpleNamespace(table="prod-witness")
    assert status.status(parts)["witness"] == "prod-witness not read yet"
    parts.witness.view = WitnessView({}, None, NOW)
    assert status.status(parts)["witness"] == "prod-witness answers"
    parts.witness.view = WitnessView({}, Lock("nat-b", "nat-a", "1"), NOW)
    assert status.status(parts)["witness"] == "prod-witness answers; nat-b holds the fence lock for nat-a"
    parts.witness.problem = "timed out"
    assert status.status(parts)["witness"] == "prod-witness does not answer, so no fence is begun: timed out"


def test_the_first_line_of_the_journal_names_node_mode_and_claims():
    line = status.start_line(standing(mode="route"))
    assert line == "nat-a of cluster prod, mode route, boot 0123456789abcdef, 2 nodes, 2 claims"


def test_the_identities_that_this_node_may_carry_are_shown_and_none_without_one():
    assert status.status(standing())["identities"] == []
    row = {"identity": "nat-b", "allocation": "eipalloc-0000000b", "address": "10.0.0.21", "state": "", "wanted": ""}
    unread = {"public": "", "holder": None, "read_s_ago": None, "carrier": "nat-b", "follows": None}
    assert status.status(standing(**MOVING))["identities"] == [{**row, **unread}]
    [found] = status.status(moving())["identities"]
    assert (found["holder"], found["public"], found["read_s_ago"]) == ("nat-b", "203.0.113.11", 2.0)


@pytest.mark.parametrize(
    ("where", "routes", "seen"),
    [
        ("nat-b", "nat-b", ("nat-b", "nat-b", True)),
        ("nat-b", "nat-a", ("nat-b", "nat-a", False)),
        ("nat-a", "nat-a", ("nat-a", "nat-a", True)),
        ("foreign", "nat-a", ("eni-foreign", "nat-a", False)),
        ("nat-b", "foreign", ("nat-b", None, None)),
    ],
)
def test_whether_an_elastic_ip_is_where_its_routes_are(where, routes, seen):
    [found] = status.status(moving(where, routes=routes))["identities"]
    assert (found["holder"], found["carrier"], found["follows"]) == seen


def test_the_table_of_identities():
    assert screen.identities(status.status(standing())) == []
    parts = moving(routes="nat-a")
    parts.collector.forwarding_check.rules = SimpleNamespace(states={"nat-b": "resume"})
    heads, row = screen.identities(status.status(parts))
    assert dict(zip(heads, row))["Elastic IP"] == "203.0.113.11" and len(heads) == len(row) == 6
    assert row[2:5] == ["nat-b", "nat-a", "NO"]
    _heads, row = screen.identities(status.status(standing(**MOVING)))
    assert row == ["nat-b", "eipalloc-0000000b", "not read", "nat-b", "unknown", "not read"]
    own, peer = MOVING["nodes"]
    parts = standing(nodes=[{key: value for key, value in own.items() if key != "egress_waiting"}, peer])
    _heads, row = screen.identities(status.status(parts))
    assert row[-1] == "none: no address for it here"
    row = {
        "identity": "nat-b",
        "public": "",
        "allocation": "e",
        "holder": None,
        "read_s_ago": 1,
        "state": "",
        "address": "a",
    }
    older = {"identities": [row]}  # without the keys of this version
    assert screen.identities(older)[1] == ["nat-b", "e", "nobody", "several, or unknown", "unknown", "not read"]
