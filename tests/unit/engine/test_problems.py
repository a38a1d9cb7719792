# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems that a status names: each with its cause, its level and a remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from nat_failover.errors import Ec2Error
from nat_failover.host.netfilter import RulesReading
from nat_failover.model.nat import Nat
from nat_failover.model.problem import CODES, CRITICAL, DEGRADED, WELL, Problem, ordered, worst
from nat_failover.observe.forwarding_facts import Finding, Subject, policy_rules
from nat_failover.service import problems, status
from nat_failover.service.evidence import gather

from .standing import CLAIM_A, CLAIM_B, NOW, standing
from .troubled import codes, find, hear, peer

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "problems.md").read_text(encoding="utf-8")


@pytest.fixture
def parts():
    return standing()


def test_without_a_problem_there_is_none(parts):
    assert codes(parts) == []


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


def test_a_peer_with_another_key_is_told_from_one_that_is_silent(parts):
    peer(parts, verdict="unmanaged")
    parts.transport.counters["bad_mac"] = 927
    assert "927 packets had a bad signature: another heartbeat key" in find(parts)[0].text


def test_a_peer_with_another_key_has_the_remedy_of_the_key_first(parts):
    peer(parts, verdict="unmanaged")
    [stopped] = find(parts)
    assert stopped.do == (
        "on nat-b: systemctl status nat-failover; if it runs, let UDP 4710 from nat-b into this node (its security group) "
        "and out of nat-b, and compare the heartbeat keys"
    )
    parts.transport.counters["bad_mac"] = 1
    [other_key] = find(parts)
    assert other_key.do.startswith("give all nodes one heartbeat key: run the role on all of them; on nat-b: ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("UnauthorizedOperation", "ec2_denied"),
        ("Timeout", "ec2_unreachable"),
        ("RequestExpired", "ec2_credentials"),
        ("RequestLimitExceeded", ""),  # slow, and able to act
        ("", ""),
    ],
)
def test_a_node_tells_its_peers_that_it_could_take_nothing_over(parts, error, told):
    if error:
        parts.collector.reader._note_problem("ec2:DescribeRouteTables: no", error)
    assert status.report(parts).hindrance == told


def test_a_healthy_peer_that_could_take_nothing_over_is_named(parts, monkeypatch):
    hear(parts, monkeypatch, hindrance="ec2_denied")
    [found] = find(parts)
    assert (found.code, found.level, found.subject) == ("peer_hindered", DEGRADED, "nat-b")
    assert found.text == "nat-b could take nothing over now: it has the problem ec2_denied"


def test_what_all_nodes_have_is_one_problem(parts, monkeypatch):
    hear(parts, monkeypatch, hindrance="ec2_unreachable")
    parts.collector.reader._note_problem("ec2:DescribeRouteTables: no answer; check the path", "Timeout")
    [found] = find(parts)
    assert found.text == "EC2: ec2:DescribeRouteTables: no answer; nat-b cannot use it either"
    assert found.do == "check the path"


def test_a_lost_canary_points_to_the_rules_of_others_that_may_be_the_cause(parts):
    check = parts.collector.forwarding_check
    check.canary._unanswered["IPv4"] = "no answer"
    check.canary._states.update(IPv4="not answered", IPv6="off")
    canary = next(each for each in find(parts) if each.code == "canary")
    assert canary.do.startswith("look for foreign rules that drop")
    check.findings = {"foreign_rules": Finding("1", "rules of others may drop", "", "remove them")}
    canary = next(each for each in find(parts) if each.code == "canary")
    assert canary.do == problems.BY_FOREIGN_RULES


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
