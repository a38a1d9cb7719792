# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems that a status names: each with its cause, its level and a remedy."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nat_failover.console import show
from nat_failover.errors import Ec2Error
from nat_failover.host.netfilter import RulesReading
from nat_failover.model import screen
from nat_failover.model.cluster import Claim, RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.memory import ServiceMemory
from nat_failover.model.plan import Plan
from nat_failover.model.problem import CODES, CRITICAL, DEGRADED, WELL, Problem, ordered, worst
from nat_failover.model.settings import Nat
from nat_failover.observe.forwarding_facts import Finding, Subject, policy_rules
from nat_failover.service import problems, rows, status
from nat_failover.service.evidence import gather

from .standing import CLAIM_A, CLAIM_B, NOW, SERVED, VIP, standing

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "problems.md").read_text(encoding="utf-8")


@pytest.fixture
def parts():
    return standing()


def peer(parts, **changes):
    peers = {name: replace(each, **changes) for name, each in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)


def hear(parts, monkeypatch, **report):
    heard = {"nat-b": Heard(heartbeat_at=NOW - 0.25, report=Report(forwarding=True, **report))}
    monkeypatch.setattr(parts.transport, "heard", lambda: heard)


def route(parts, claim, state="active", target="eni-nat-b", read_at=NOW):
    parts.collector.reader.routes[claim] = RouteView(state, target, read_at)


def find(parts):
    return problems.find(parts, gather(parts, NOW))


def codes(parts):
    return [each.code for each in find(parts)]


def test_without_a_problem_there_is_none(parts):
    assert codes(parts) == []


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


def test_a_refused_action_stands_with_its_count_its_error_and_its_next_try(parts):
    peer(parts, verdict="failed")
    refused = Ec2Error(
        "ec2:ReplaceRoute", "rtb-1", "UnauthorizedOperation", "denied", retryable=False, remedy="allow it"
    )
    for at in (NOW - 9, NOW - 4):
        parts.executor._refusals.note(("route", "rtb-1", "0.0.0.0/0"), "adopt rtb-1", str(refused), refused.code, at)
    parts.executor._not_before["route", "rtb-1", "0.0.0.0/0"] = NOW + 6
    found = next(each for each in find(parts) if each.code == "action_refused")
    assert found.text == (
        "adopt rtb-1; tried 2 times, last 4 s ago, next in 6 s: ec2:ReplaceRoute on rtb-1: denied "
        "(UnauthorizedOperation)"
    )
    assert (found.do, found.since_s) == ("allow it", 9.0)
    [row] = status.status(parts)["failures"]
    assert (row["attempts"], row["code"], row["last_s_ago"], row["next_s"]) == (2, "UnauthorizedOperation", 4.0, 6.0)


@pytest.mark.parametrize(
    ("error", "code", "level"),
    [
        ("RequestExpired", "ec2_credentials", CRITICAL),
        ("UnauthorizedOperation", "ec2_denied", CRITICAL),
        ("RequestLimitExceeded", "ec2_throttled", DEGRADED),
        ("Timeout", "ec2_unreachable", CRITICAL),
        ("InternalError", "ec2_error", CRITICAL),
    ],
)
def test_the_kind_of_ec2s_silence_is_named(parts, error, code, level):
    parts.collector.reader._note_problem("ec2:DescribeRouteTables: no; do this", error)
    parts.runtime.at += 55
    [found] = problems.find(parts, gather(parts, NOW + 0))
    assert (found.code, found.level, found.do) == (code, level, "do this")
    assert status.status(parts)["ec2"] == {
        "problem": "ec2:DescribeRouteTables: no; do this",
        "code": error,
        "since_s": 55.0,
    }


def test_all_reasons_are_named_and_the_uplink_comes_before_the_canary(parts):
    parts.collector.me = replace(parts.collector.me, internet=False, ec2=False, forwarding=False, fact="no answer")
    check = parts.collector.forwarding_check
    check.findings = {"ip_forward": Finding("0", "ip_forward=0")}
    check.canary._unanswered["IPv4"] = "no answer"
    check.canary._states.update(IPv4="not answered", IPv6="off")
    parts.collector.internet.reachable, parts.collector.internet._failed = False, 3
    assert [code for code in codes(parts) if code != "dark"] == ["internet", "ec2_unreachable", "ip_forward", "canary"]
    assert status.status(parts)["unfit"] == [
        "this node does not reach the internet",
        "the EC2 API does not answer this node",
        "this node does not forward (no answer)",
    ]


def test_a_peer_that_does_not_hear_this_node_is_named_although_it_is_healthy(parts, monkeypatch):
    hear(parts, monkeypatch, views={"nat-a": "unmanaged"})
    [deaf] = find(parts)
    assert deaf.code == "peer_deaf" and deaf.do.startswith(
        "allow UDP 4710 from 10.0.0.10 in the security group of nat-b, "
    )
    [row] = status.status(parts)["verdicts"]
    assert (row["hears_me"], row["view"]) == (False, "unmanaged")


def test_an_owner_is_only_the_last_one_seen_while_ec2_does_not_answer(parts):
    parts.collector.me = replace(parts.collector.me, ec2=False)
    rows = status.status(parts)["claims"]
    assert [row["old"] for row in rows] == [True, True]
    assert {row[2] for row in screen.routes({"claims": rows})[1:]} == {"last seen nat-a", "last seen nat-b"}


def test_a_peer_with_another_key_is_told_from_one_that_is_silent(parts):
    peer(parts, verdict="unmanaged")
    parts.transport.counters["bad_mac"] = 927
    assert "927 packets had a bad signature: another heartbeat key" in find(parts)[0].text


def test_a_node_that_is_cut_off_does_not_call_its_routes_dark(parts):
    """Its peer has taken them by now, which it cannot read."""
    parts.collector.me = replace(parts.collector.me, internet=False, ec2=False)
    assert "dark" not in codes(parts) and "internet" in codes(parts)
    parts.collector.me = replace(parts.collector.me, ec2=True)
    assert "dark" in codes(parts)


def test_a_drained_peer_is_shown_with_the_reason_of_its_tag(parts, monkeypatch):
    hear(parts, monkeypatch, state="drained", views={"nat-a": "healthy"})
    view = parts.collector.reader.instances["nat-b"]
    parts.collector.reader.instances["nat-b"] = replace(view, tags={"nat-failover:drained": "kernel update (alice)"})
    [found] = find(parts)
    assert (found.code, found.text) == ("peer_draining", "nat-b is drained: kernel update (alice)")


def test_a_service_that_announced_its_end_is_told_from_one_that_crashed(parts, monkeypatch):
    hear(parts, monkeypatch, state="stopping")
    peer(parts, verdict="unmanaged")
    assert "; its last heartbeat announced the end of its service" in find(parts)[0].text


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


def test_lost_lines_and_warnings_are_notes(parts):
    parts.events.lost = lambda: 7
    advice = "late packets may reset living connections; run the role again"
    parts.collector.forwarding_check.findings = {"tcp_liberal": Finding(None, "tcp_liberal=0", "", advice)}
    assert (sorted(codes(parts)), worst(find(parts))) == (["lost_lines", "warning"], WELL)


def test_a_history_that_is_not_written_is_named_with_its_reason(parts):
    parts.events.unwritten = lambda: "[Errno 28] No space left on device; 3 events are missing from it"
    [problem] = find(parts)
    assert (problem.code, problem.level) == ("history_unwritten", DEGRADED)
    assert problem.text == "the history in /var/lib/nat-failover is not written: " + parts.events.unwritten()


def test_a_route_that_was_removed_is_made_anew_by_the_command(parts):
    route(parts, CLAIM_B, state="missing", target=None)
    dark = find(parts)[0]
    assert dark.code == "dark" and " aws ec2 create-route --route-table-id " in dark.do


@pytest.mark.parametrize(
    ("state", "do"),
    [
        ("running", "`nat-failover explain nat-b` names what its fence waits for"),
        ("stopped", "aws ec2 start-instances --instance-ids i-0000000b"),
        ("terminated", "replace it"),
    ],
)
def test_a_failed_peer_has_the_remedy_of_its_instances_state(parts, state, do):
    peer(parts, verdict="failed")
    instances = parts.collector.reader.instances
    instances["nat-b"] = replace(instances["nat-b"], state=state)
    failed = next(each for each in find(parts) if each.code == "peer_failed")
    assert do in failed.do


@pytest.mark.parametrize(("address", "told"), [("", True), ("203.0.113.11", False), (None, False)])
def test_a_sick_peer_without_a_public_address_is_told_as_such(parts, address, told):
    peer(parts, verdict="sick")
    instances = parts.collector.reader.instances
    instances["nat-b"] = replace(instances["nat-b"], public_address=address)
    sick = next(each for each in find(parts) if each.code == "peer_sick")
    assert ("EC2 shows no public IPv4 address of it" in sick.text) is told


def test_a_warning_of_the_policy_has_its_remedy_once(parts):
    parts.plan = replace(
        parts.plan, warnings={"unseen nat-a": "its flare cannot be written: denied; allow ec2:CreateTags"}
    )
    found = next(each for each in find(parts) if each.code == "unseen")
    assert (found.text, found.do) == ("its flare cannot be written: denied", "allow ec2:CreateTags")


def test_a_policy_rule_against_clients_is_no_note(parts):
    rule = "10: from 10.0.10.0/23 blackhole"
    parts.collector.forwarding_check.findings = {
        "policy_rules": policy_rules(Subject(Nat(("10.0.0.0/16",), "ens5"), RulesReading(), False, policy=(rule,)))
    }
    [found] = find(parts)
    assert (found.code, found.level) == ("policy_rules", DEGRADED)
    assert found.text == f"policy rules drop clients' packets: {rule}"
    assert found.do == "if it is not meant: ip rule delete pref 10"
    served = {row["route_table"]: row["served"] for row in status.status(parts)["claims"]}
    assert served == {CLAIM_A.route_table: None, CLAIM_B.route_table: True}, "some of its clients may reach nothing"


def test_the_worst_comes_first_and_causes_before_symptoms():
    found = ordered(Problem(code, "", "") for code in ("warning", "canary", "peer_failed", "internet", "dark"))
    assert [each.code for each in found] == ["dark", "internet", "canary", "peer_failed", "warning"]


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_remedy_and_a_section_of_the_docs(code):
    fields = set(re.findall(r"\{(\w+)\}", CODES[code].remedy))
    known = {"home", "by_hand", "interface", "instance_id", "peer", "port", "address", "route_table"}
    known |= {"node", "service", "file"}
    assert CODES[code].remedy and fields <= known
    assert f"### {code}\n" in PAGE


def test_the_docs_name_no_other_code():
    assert set(re.findall(r"(?m)^### (\w+)$", PAGE)) == set(CODES)


def test_an_incident_ends_some_time_after_its_last_problem(parts):
    events, incidents = parts.events, parts.events.incidents
    incidents._started = NOW - 60
    peer(parts, verdict="failed")
    incidents.follow(NOW, find(parts))
    kinds = [event["kind"] for event in events.events]
    now = status.status(parts)
    assert kinds == ["dark"] and now["incident"]["id"] != ""
    last_line = show.full(now, False)[-1]
    assert last_line.startswith(f"  incident {now['incident']['id']} goes on for ")
    assert last_line.endswith(f"it began with: {CLAIM_B} (home nat-b) -> nat-b, which is failed (running in EC2)")
    peer(parts, verdict="healthy")
    for moment in (1, 3, 6):
        incidents.follow(NOW + moment, [])
    assert [event["kind"] for event in events.events] == ["dark", "dark_ended", "incident_ended"]
    assert incidents.id == "" and incidents.last["worst"] == "critical"
    assert len({event["incident"] for event in events.events}) == 1


def test_a_pause_of_another_node_has_a_begin_and_an_end_here(parts):
    follow = parts.events.incidents.follow
    follow(NOW, [Problem("paused", "", "the cluster is paused until noon (tag on nat-b)")])
    follow(NOW + 60, [])
    told = [(event["kind"], event["text"]) for event in parts.events.events]
    assert told[:2] == [
        ("problem", "the cluster is paused until noon (tag on nat-b)"),
        ("problem_ended", "paused is over after 60 s"),
    ]


def test_a_defect_in_the_problems_does_not_end_the_failover(parts, caplog):
    calls = []

    def broken():
        calls.append(1)
        raise KeyError("a defect")

    incidents = parts.events.incidents
    for moment in (0, 5, 10, 20, 30):
        incidents.compare(NOW + moment, broken)
    assert len(calls) == 4, "in calm times only each ten seconds"
    assert caplog.text.count("incidents: unexpected; the failover goes on without them") == 1


def test_an_incident_is_known_by_more_than_its_late_heartbeat(parts):
    incidents = parts.events.incidents
    parts.events.emit("late", "nat-b: no heartbeat for 250 ms")
    parts.events.emit("verdict", "nat-b is failed: it is silent", logging.WARNING)
    parts.events.emit("verdict", "nat-b is unmanaged: it boots", logging.WARNING)
    incidents.follow(NOW + 6, [])
    assert incidents.last["text"] == "nat-b is failed: it is silent"


@pytest.mark.parametrize(
    ("kind", "begins"), [("ec2", False), ("canary", False), ("fenced_by", True), ("verdict", True)]
)
def test_the_first_checks_after_a_start_are_no_incident(parts, kind, begins):
    """Credentials and helpers come a moment later than this service."""
    parts.events.emit(kind, "no answer", logging.WARNING)
    assert bool(parts.events.incidents.id) is begins
    parts.runtime.at += 10
    parts.events.emit("ec2", "no answer", logging.WARNING)
    assert parts.events.incidents.id


@pytest.mark.parametrize("kind", ["mend", "return"])
def test_a_route_that_was_put_back_while_nothing_was_wrong_is_an_incident(parts, kind):
    """Somebody has removed or moved it, and it was put back before a problem was seen to stand."""
    parts.runtime.at += 10
    parts.events.emit(kind, "rtb-b 0.0.0.0/0 from nobody: EC2 shows the route as missing; done in 20 ms")
    assert parts.events.incidents.id
    parts.events.incidents.follow(NOW + 16, [])
    assert status.status(parts)["last_incident"]["text"].startswith("rtb-b 0.0.0.0/0 from nobody")


def test_an_event_of_an_outside_kind_begins_no_incident(parts):
    parts.events.emit("reloaded", "2 nodes")
    assert status.status(parts)["incident"] is None
    assert SimpleNamespace(**status.status(parts)).last_incident is None


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
