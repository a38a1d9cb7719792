# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of claims: of their routes, their services and their Elastic IPs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nat_failover.model import screen
from nat_failover.model.cluster import Claim, RouteView
from nat_failover.model.memory import ServiceMemory
from nat_failover.model.plan import Plan
from nat_failover.model.problem import CRITICAL, DEGRADED
from nat_failover.service import rows, status

from .standing import CLAIM_A, CLAIM_B, ELASTIC, NOW, SERVED, VIP, moving, standing
from .troubled import codes, find, hear, peer, route


@pytest.fixture
def parts():
    return standing()


def test_the_route_of_a_failed_peer_is_dark_and_its_remedy_is_a_whole_command(parts):
    peer(parts, verdict="failed")
    dark, failed = find(parts)
    assert (dark.code, dark.level, failed.code) == ("dark", CRITICAL, "peer_failed")
    assert dark.text == f"{CLAIM_B} (home nat-b) -> nat-b, which is failed (running in EC2)"
    assert dark.do.endswith(
        f"aws ec2 replace-route --route-table-id {CLAIM_B.route_table} --destination-cidr-block 0.0.0.0/0 "
        "--network-interface-id eni-nat-a"
    )


@pytest.mark.parametrize(
    ("obstacle", "do"),
    [
        ("drained", "nat-failover resume (drained); by hand: aws ec2 replace-route "),
        ("denied", "allow it (ec2_denied); by hand: aws ec2 replace-route "),
        ("", "read the other problems; by hand: aws ec2 replace-route "),
    ],
)
def test_the_remedy_of_a_dark_route_begins_with_what_keeps_this_node_from_taking_it(parts, obstacle, do):
    peer(parts, verdict="failed")
    if obstacle == "drained":
        parts.drain = replace(parts.drain, state="drained", operator="kernel update")
    if obstacle == "denied":
        parts.collector.reader._note_problem("ec2:DescribeRouteTables: no; allow it", "UnauthorizedOperation")
    dark = next(each for each in find(parts) if each.code == "dark")
    assert dark.do.startswith(do)


@pytest.mark.parametrize(
    ("report", "verdict", "why", "do"),
    [
        ({}, "sick", "nat-b is sick", "repair nat-b: the route returns by itself"),
        ({"state": "drained"}, "healthy", "nat-b is healthy, drained", "on nat-b, after the work: nat-failover resume"),
        ({}, "healthy", "nat-b is healthy", "wait: the line names the condition"),
    ],
)
def test_a_route_away_from_home_has_the_remedy_of_its_reason(parts, monkeypatch, report, verdict, why, do):
    hear(parts, monkeypatch, **report)
    peer(parts, verdict=verdict)
    route(parts, CLAIM_B, target="eni-nat-a")
    away = next(each for each in find(parts) if each.code == "away")
    assert away.text.endswith(f"away from its home nat-b: {why}") and away.do == do


@pytest.mark.parametrize(
    ("state", "do"),
    [
        ("drained", "nat-failover resume"),
        ("sick", "repair this node: the route returns by itself"),
        ("well", "wait: the line names the condition"),
    ],
)
def test_the_home_itself_tells_how_its_route_returns(parts, state, do):
    route(parts, CLAIM_A, target="eni-nat-b")
    if state == "drained":
        parts.drain = replace(parts.drain, state="drained", operator="kernel update")
    if state == "sick":
        parts.collector.me = replace(parts.collector.me, forwarding=False, fact="ip_forward=0")
    away = next(each for each in find(parts) if each.code == "away")
    assert away.do == do


@pytest.mark.parametrize(
    ("verdict", "served"),
    [
        ("healthy", True),
        ("unmanaged", True),
        ("sick", False),
        ("failed", False),
        ("silent", None),
        ("partitioned", None),
    ],
)
def test_a_route_serves_as_far_as_its_owner_is_known_to(parts, verdict, served):
    peer(parts, verdict=verdict)
    rows = {row["route_table"]: row["served"] for row in status.status(parts)["claims"]}
    assert rows[CLAIM_B.route_table] is served


def test_an_unmanaged_owner_whose_machine_is_gone_serves_nothing(parts):
    peer(parts, verdict="unmanaged")
    view = parts.collector.reader.instances["nat-b"]
    parts.collector.reader.instances["nat-b"] = replace(view, state="stopped")
    assert "dark" in codes(parts)


def test_a_blackhole_is_dark_and_a_foreign_target_is_drift(parts):
    route(parts, CLAIM_B, "blackhole", "eni-of-another")
    assert codes(parts) == ["dark"]
    route(parts, CLAIM_B, "active", "tgw-1")
    parts.plan = Plan(drift={str(CLAIM_B): f"{CLAIM_B} targets tgw-1"})
    [drift] = find(parts)
    assert drift.code == "drift" and "--network-interface-id eni-nat-b" in drift.do


def test_an_internet_gateway_drops_what_has_no_public_address(parts):
    """Somebody pointed a private table past the NAT nodes: its zone is dark, and nobody takes the route back (L8)."""
    route(parts, CLAIM_B, "active", "igw-1")
    parts.plan = Plan(drift={str(CLAIM_B): f"{CLAIM_B} targets igw-1"})
    dark, drift = find(parts)
    assert (dark.code, drift.code) == ("dark", "drift") and "nat-failover adopt" in drift.do
    assert dark.text.endswith("-> igw-1, an internet gateway: hosts without a public address reach nothing")
    six = Claim(CLAIM_B.route_table, "::/0", CLAIM_B.home)
    assert not rows.leads_past_nat(six, RouteView("active", "igw-1", NOW)), "IPv6 addresses are public"


def test_an_old_reading_is_not_the_present(parts):
    """Where EC2 is silent for long, the owners are those of then."""
    route(parts, CLAIM_B, read_at=NOW - 155)
    [old] = find(parts)
    assert (old.code, old.text) == ("old_reading", "1 of 2 routes were last read 155 s ago")
    row = next(row for row in status.status(parts)["claims"] if row["old"])
    assert (row["served"], row["read_s_ago"]) == (None, 155.0)


def test_an_owner_is_only_the_last_one_seen_while_ec2_does_not_answer(parts):
    parts.collector.me = replace(parts.collector.me, ec2=False)
    rows = status.status(parts)["claims"]
    assert [row["old"] for row in rows] == [True, True]
    assert {row[2] for row in screen.routes({"claims": rows})[1:]} == {"last seen nat-a", "last seen nat-b"}


def test_a_node_that_is_cut_off_does_not_call_its_routes_dark(parts):
    """Its peer has taken them by now, which it cannot read."""
    parts.collector.me = replace(parts.collector.me, internet=False, ec2=False)
    assert "dark" not in codes(parts) and "internet" in codes(parts)
    parts.collector.me = replace(parts.collector.me, ec2=True)
    assert "dark" in codes(parts)


def test_a_claim_that_comes_home_says_when(parts):
    route(parts, replace_home(parts), target="eni-nat-b")
    parts.memory = replace(parts.memory, fit_since=NOW - 42, flaps=2)
    [away] = find(parts)
    assert away.text.endswith("home in 78 s: 42 of 120 s of forwarding proven, doubled by 2 flaps")


def replace_home(parts):
    return next(claim for claim in parts.collector.routes if claim.home == "nat-a")


def test_what_an_operator_decided_is_no_dark_route_but_this_node_cannot_act(parts):
    parts.drain.state, parts.drain.operator = "drained", "kernel update"
    found = status.status(parts)
    assert (found["level"], found["can_act"], found["cannot_act"]) == ("degraded", False, ["drained"])


def test_a_route_that_was_removed_is_made_anew_by_the_command(parts):
    route(parts, CLAIM_B, state="missing", target=None)
    dark = find(parts)[0]
    assert dark.code == "dark" and " aws ec2 create-route --route-table-id " in dark.do


# --- services that claims depend on ------------------------------------------------------------------------------------


def served(since=None, failures=1, problem="no tunnel", owner="nat-b", home="nat-a"):
    """nat-a, whose route to the service is with ``owner``. ``since``: when its service began to work."""
    parts = standing(**SERVED)
    parts.collector.me = replace(parts.collector.me, unwell=frozenset({"proxy"} if since is None else ()))
    parts.collector.service_check._debounce.problems = {"proxy": problem} if problem else {}
    parts.memory = replace(parts.memory, fit_since=NOW - 90, services={"proxy": ServiceMemory(since, failures)})
    claim = next(each for each in parts.config.claims if (each.home, each.destination) == (home, VIP))
    route(parts, claim, target=f"eni-{owner}")
    return parts


def test_a_service_that_does_not_work_is_a_problem_that_spares_the_node():
    parts = served()
    found = find(parts)
    assert [each.code for each in found] == ["service_unwell", "away"]
    assert found[0].level == DEGRADED and found[0].subject == "proxy on nat-a"
    assert found[0].text == (
        "the service proxy does not work here: no tunnel; only routes to 100.64.99.1/32 depend on it"
    )
    assert found[0].do.startswith("on nat-a: look at proxy and at the program that writes /run/verdict.json")
    assert found[1].text.endswith("away from its home nat-a: its service proxy does not work here")
    assert status.status(parts)["can_act"], "it takes the routes of others that do not depend on it"


@pytest.mark.parametrize(
    ("since", "service", "away"),
    [
        (NOW - 1, "it works again, and is trusted in 2 s, after 1 failures", "its service proxy has worked here for 1"),
        (NOW - 20, "", "home in 10 s: its service proxy has worked here for 20 of 30 s"),
    ],
)
def test_a_service_that_works_again_is_trusted_after_a_while(since, service, away):
    texts = {each.code: each.text for each in find(served(since, problem=""))}
    assert service in texts.get("service_unwell", "") and bool(service) == ("service_unwell" in texts)
    assert away in texts["away"]


def test_a_peer_says_that_its_service_does_not_work(monkeypatch):
    parts = served(NOW - 90, 0, "", owner="nat-a", home="nat-b")
    hear(parts, monkeypatch, unwell=frozenset({"proxy"}))
    found = find(parts)
    assert [(each.code, each.subject) for each in found] == [
        ("service_unwell", "proxy on nat-b"),
        ("away", f"{CLAIM_B.route_table} {VIP}"),
    ]
    assert found[1].text.endswith("its service proxy does not work on nat-b")
    assert found[0].do.startswith("on nat-b: ")


def test_the_status_has_the_services_of_this_node():
    parts = served(NOW - 1, 2, "")
    [row] = status.status(parts)["services"]
    assert row == {
        "service": "proxy",
        "destinations": [VIP],
        "well": True,
        "trusted": False,
        "well_s": 1.0,
        "failures": 2,
        "problem": "",
    }
    assert json.loads(json.dumps(status.status(parts)))["self"]["unwell"] == ["proxy"]
    assert {each["service"] for each in status.status(parts)["claims"]} == {"", "proxy"}


# --- identities -------------------------------------------------------------------------------------------------------


def test_drift_of_an_elastic_ip_and_a_missing_permission_have_remedies_of_their_own():
    parts = standing()
    warning = (
        "the Elastic IPs of identities stay where they are; routes move as ever: denied; allow ec2:DescribeAddresses"
    )
    drift = {"eipalloc-1": "eipalloc-1 is associated with eni-x, which is no node of this cluster; it is left alone"}
    parts.plan = replace(parts.plan, drift=drift, warnings={"unread_addresses nat-a": warning})
    rows = {each.code: each for each in find(parts)}
    assert rows["drift"].do == "correct the Elastic IP or the private address that the line names"
    assert rows["unread_addresses"].do == "allow ec2:DescribeAddresses"


@pytest.mark.parametrize(
    ("since", "where", "drift", "found"),
    [
        (19.0, "nat-b", {}, False),  # EC2 may take some seconds
        (20.0, "nat-b", {}, True),
        (90.0, "nat-a", {}, False),
        (90.0, "nat-b", {ELASTIC: "it is left alone"}, False),  # drift says more
    ],
)
def test_an_elastic_ip_that_has_not_followed_its_routes(since, where, drift, found):
    parts = moving(where, routes="nat-a")
    parts.memory = replace(parts.memory, astray={"nat-b": NOW - since})
    parts.plan = replace(parts.plan, drift=drift)
    rows = [each for each in find(parts) if each.code == "astray"]
    assert bool(rows) == found
    for row in rows:
        assert row.text.startswith(
            f"the Elastic IP {ELASTIC} (203.0.113.11) of nat-b is with nat-b, and its routes are here"
        )
        assert row.since_s == since and "--network-interface-id eni-nat-a --private-ip-address 10.0.0.21" in row.do
