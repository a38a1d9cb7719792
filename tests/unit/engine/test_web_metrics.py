# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics and health of a status: what is unknown is absent, and no route is called served without a proof."""

from __future__ import annotations

import ast
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nat_failover import wire
from nat_failover.model.cluster import RouteView
from nat_failover.policy import pause as pauses
from nat_failover.service.status import status
from nat_failover.web import health, judgement, metrics
from nat_failover.web.snapshot import Snapshot
from nat_failover.wire import codec

from .standing import CLAIM_A, CLAIM_B, MOVING, NOW, RAW, moving, standing

AT = 1_700_000_000.0


def seen(parts):
    """The status as it comes over the socket."""
    return Snapshot(json.loads(json.dumps(status(parts))), "", AT)


def values(snapshot, name, **labels):
    """The values of a metric by those of its labels that are not given."""
    [family] = [each for each in metrics.families(snapshot) if each.name == f"nat_failover_{name}"] or [None]
    found = {}
    for sample, value in family.samples if family else ():
        if all(sample.get(key) == text for key, text in labels.items()):
            found[tuple(text for key, text in sample.items() if key not in labels)] = value
    return found


def value(snapshot, name, **labels):
    found = list(values(snapshot, name, **labels).values())
    assert len(found) <= 1, found
    return found[0] if found else None


def verdict(parts, kind, **more):
    parts.memory = replace(
        parts.memory, peers={name: replace(peer, verdict=kind, **more) for name, peer in parts.memory.peers.items()}
    )


def route(parts, claim, target, state="active", age=2.0):
    parts.collector.reader.routes[claim] = RouteView(state, target, NOW - age)


def test_a_quiet_cluster():
    snapshot = seen(standing())
    assert [value(snapshot, name) for name in ("up", "forwarding", "internet_up", "ec2_up", "can_act")] == [1] * 5
    assert [value(snapshot, name) for name in ("paused", "warnings", "withheld", "drift", "reload_refused")] == [0] * 5
    assert set(values(snapshot, "route_served").values()) == {1.0}
    assert value(snapshot, "route_owner", route_table=CLAIM_A.route_table, owner="nat-a") == 1
    assert value(snapshot, "peer_verdict", peer="nat-b", verdict="healthy") == 1
    assert sum(values(snapshot, "peer_verdict", peer="nat-b").values()) == 1
    assert value(snapshot, "route_read_timestamp_seconds", route_table=CLAIM_A.route_table) == AT - 2
    assert [health.CHECKS[path](snapshot)[0] for path in health.CHECKS] == [200] * 4


def test_without_the_service_there_is_the_fact_that_it_is_down_and_nothing_else():
    snapshot = Snapshot(None, "no socket", AT)
    names = {family.name for family in metrics.families(snapshot) if family.samples}
    assert names == {"nat_failover_up", "nat_failover_build_info"}
    assert value(snapshot, "up") == 0
    for check in health.CHECKS.values():
        assert check(snapshot) == (503, "the service does not answer: no socket")


def test_a_status_without_any_key_makes_nothing_wrong():
    """A service of another version: what it does not have is unknown."""
    snapshot = Snapshot({}, "", AT)
    assert value(snapshot, "up") == 1
    for name in ("forwarding", "paused", "withheld", "drift", "reload_refused", "heartbeats_sent_total"):
        assert value(snapshot, name) is None, name
    assert [health.CHECKS[path](snapshot)[0] for path in ("/readyz", "/nat")] == [503, 503]


@pytest.mark.parametrize(("served", "code"), [(True, 200), (False, 503), (None, 200)])
def test_a_route_is_served_as_the_service_judges(served, code):
    found = seen(standing()).status
    found["claims"][1]["served"] = served
    snapshot = Snapshot(found, "", AT)
    assert value(snapshot, "route_served", route_table=CLAIM_B.route_table) == served
    assert value(snapshot, "route_served", route_table=CLAIM_A.route_table) == 1
    answer = health.cluster(snapshot)
    assert answer[0] == code
    assert (CLAIM_B.route_table in answer[1]) == (code == 503)


def test_a_node_that_does_not_forward_serves_nothing():
    parts = standing()
    parts.collector.me = replace(parts.collector.me, forwarding=False, fact="ip_forward=0")
    snapshot = seen(parts)
    assert value(snapshot, "route_served", route_table=CLAIM_A.route_table) == 0
    assert health.nat(snapshot) == (503, "this node does not forward: ip_forward=0")
    assert health.cluster(snapshot) == (503, f"no node serves: {CLAIM_A.route_table} 0.0.0.0/0")


def test_a_route_that_leads_to_no_node_has_no_owner():
    found = seen(standing()).status
    found["claims"][0].update(owner=None, target="eni-other", served=None, drift=True, at_home=False)
    snapshot = Snapshot(found, "", AT)
    assert value(snapshot, "route_drift", route_table=CLAIM_A.route_table) == 1
    assert values(snapshot, "route_owner", route_table=CLAIM_A.route_table) == {}
    assert value(snapshot, "route_served", route_table=CLAIM_A.route_table) is None


def test_a_route_of_a_failed_peer_that_was_adopted_is_served_away_from_home():
    parts = standing()
    verdict(parts, "failed")
    route(parts, CLAIM_B, "eni-nat-a")
    snapshot = seen(parts)
    assert value(snapshot, "route_served", route_table=CLAIM_B.route_table) == 1
    assert value(snapshot, "route_at_home", route_table=CLAIM_B.route_table) == 0
    assert value(snapshot, "route_owner", route_table=CLAIM_B.route_table, owner="nat-a") == 1


@pytest.mark.parametrize(
    ("codes", "able"),
    [([], 1), (["paused"], 1), (["internet"], 0), (["drained"], 0), (["paused", "ec2_denied"], 0)],
)
def test_a_node_could_take_over_unless_a_problem_keeps_it_from_that(codes, able):
    """A pause is meant: it makes a node not ready, and leaves its ability alone."""
    problems = [{"code": code, "level": "critical", "text": f"it is {code}"} for code in codes]
    found = Snapshot({**seen(standing()).status, "cannot_act": codes, "problems": problems}, "", AT)
    assert value(found, "can_act") == able
    code, text = health.readyz(found)
    assert (code, text) == (
        (503, "; ".join(f"it is {each}" for each in codes)) if codes else (200, "this node can take over")
    )


def test_a_pause_of_the_cluster():
    parts = standing()
    view = parts.collector.instances["nat-b"]
    tags = {"nat-failover:pause": pauses.value(time.time() + 3600)}
    parts.collector.reader.instances["nat-b"] = replace(view, tags=tags)
    snapshot = seen(parts)
    assert (value(snapshot, "paused"), value(snapshot, "can_act"), health.readyz(snapshot)[0]) == (1, 1, 503)


def test_mode_observe_and_a_witness_have_no_ability_to_lose():
    watched = [*RAW["nodes"], {"name": "nat-w", "instance_id": "i-0000000c", "witness": True}]
    observing = seen(standing(mode="observe")).status
    witness = dict(seen(standing(nodes=watched, self="nat-w")).status, state="witness")
    for found in (observing, witness):
        assert judgement.can_act(found) is None
        assert health.readyz(Snapshot(found))[0] == 503


def test_problems_by_their_codes():
    problems = [
        {"code": "away", "level": "degraded"},
        {"code": "away", "level": "degraded"},
        {"code": "dark", "level": "critical"},
    ]
    more = {"problems": problems, "failures": [{}], "fences": {"budget": 2, "spent": 1}, "lost_lines": 3}
    snapshot = Snapshot({**seen(standing()).status, **more}, "", AT)
    assert values(snapshot, "problem") == {("away", "degraded"): 2, ("dark", "critical"): 1}
    names = ("refused_actions", "fence_budget", "fences_spent", "lost_lines")
    assert [value(snapshot, name) for name in names] == [1, 2, 1, 3]


def test_a_peer_that_does_not_receive_this_node():
    found = seen(standing()).status
    found["verdicts"][0].update(hears_me=False, fence="stop")
    snapshot = Snapshot(found, "", AT)
    assert (value(snapshot, "peer_hears_me", peer="nat-b"), value(snapshot, "peer_fencing", peer="nat-b")) == (0, 1)


def test_counters():
    parts = standing()
    parts.transport.counters.update({"sent": 7, "received": 5, "bad_mac": 3, "send_error_101": 2, "echoed": 1})
    for kind, more in (("adopt", {"ms": 640.0}), ("failed", {}), ("failed", {}), ("limit", {})):
        parts.events.emit(kind, "x", **more)
    snapshot = seen(parts)
    assert (value(snapshot, "heartbeats_sent_total"), value(snapshot, "heartbeats_received_total")) == (7, 5)
    assert value(snapshot, "heartbeats_refused_total", reason="bad_mac") == 3
    assert values(snapshot, "socket_errors_total") == {("send", "101"): 2}
    assert [value(snapshot, "events_total", kind=kind) for kind in ("adopt", "failed", "return", "limit")] == [
        1,
        2,
        0,
        1,
    ]
    assert value(snapshot, "route_change_last_duration_seconds", kind="adopt") == 0.64


# Counters of the transport that are no refusals: the packets that left and those that were taken.
TAKEN = {"sent", "received", "pinged", "echoed"}


def counters_of_the_transport():
    """Each name of a counter in the sources: written there, or the answer of a judge of packets."""
    for path in Path(wire.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "counters":
                found = [node.slice]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected":
                found = node.args
            elif isinstance(node, ast.Return) and node.value is not None and path.name in ("session.py", "icmp.py"):
                found = list(ast.walk(node.value))
            else:
                continue
            yield from (each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_each_refusal_that_the_transport_counts_is_exported():
    counted = set(counters_of_the_transport()) - {""}
    assert set(metrics.REFUSALS) == counted - TAKEN
    assert TAKEN | set(codec.REASONS) <= counted, "the search has found them"
    parts = standing()
    parts.transport.counters.update(dict.fromkeys(counted, 2))
    exported = values(seen(parts), "heartbeats_refused_total")
    assert exported == {(name,): 2 for name in counted - TAKEN}


def test_limits_of_the_machine():
    found = seen(standing()).status
    found["self"]["facts"] = {"conntrack": "12.5 % full", "pps_allowance_exceeded": 4, "rules": "all there"}
    snapshot = Snapshot(found, "", AT)
    assert value(snapshot, "conntrack_fill_ratio") == 0.125
    assert values(snapshot, "limit_exceeded_total") == {("pps",): 4}


def test_where_an_elastic_ip_is_and_whether_that_is_where_its_routes_are():
    assert value(seen(standing()), "identity_follows") is None
    parts = moving(routes="nat-a")
    assert value(seen(parts), "identity_follows", identity="nat-b") == 0
    assert values(seen(parts), "identity_holder", identity="nat-b") == {("nat-b", "203.0.113.11"): 1}
    assert value(seen(parts), "identity_read_timestamp_seconds", identity="nat-b") == AT - 2
    assert value(seen(moving()), "identity_follows", identity="nat-b") == 1
    assert value(seen(standing(**MOVING)), "identity_follows") is None, "not read"


def test_the_rules_of_an_identity_are_in_one_state():
    snapshot = seen(moving())
    assert values(snapshot, "identity_rules") == {}, "not read"
    snapshot.status["identities"][0]["state"] = "carry"
    assert values(snapshot, "identity_rules", identity="nat-b") == {("reset",): 0, ("resume",): 0, ("carry",): 1}
