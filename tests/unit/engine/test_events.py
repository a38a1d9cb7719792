# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: one for each change that a decision makes, none for what stays."""

from __future__ import annotations

import logging

import pytest

from nat_failover.model.cluster import Claim, RouteView
from nat_failover.model.evidence import Mark
from nat_failover.model.memory import Memory, PeerMemory
from nat_failover.model.plan import Plan, SetRoute
from nat_failover.service.events import KEPT, MOST, EventLog

from .played import PlayedRuntime

NOW, LATE = 100.0, 0.25
START = Memory(0.0)


@pytest.fixture
def log():
    return EventLog(PlayedRuntime(NOW))


def peer(verdict="healthy", evidence="heartbeat 40 ms ago", suspected_at=None):
    return Memory(0.0, peers={"nat-b": PeerMemory(verdict=verdict, evidence=evidence, suspected_at=suspected_at)})


def kinds(log):
    return [event["kind"] for event in log.events]


def test_a_new_verdict_is_an_event_with_its_evidence(log):
    log.follow(START, peer(), Plan(), NOW, LATE)
    [event] = log.events
    assert (event["kind"], event["text"]) == ("verdict", "nat-b is healthy: heartbeat 40 ms ago")
    assert (event["peer"], event["verdict"], event["monotonic"]) == ("nat-b", "healthy", NOW)


def test_a_peer_without_any_packet_is_reported_as_that(log):
    log.follow(START, peer("unknown", ""), Plan(), NOW, LATE)
    assert log.events[0]["text"] == "nat-b is unknown: no packet yet"


def test_new_evidence_for_the_same_verdict_is_no_event(log):
    log.follow(peer(), peer(evidence="heartbeat 90 ms ago"), Plan(), NOW, LATE)
    assert kinds(log) == []


@pytest.mark.parametrize(
    ("verdict", "level"),
    [("healthy", "INFO"), ("unknown", "INFO"), ("sick", "WARNING"), ("failed", "WARNING"), ("partitioned", "WARNING")],
)
def test_a_verdict_against_a_peer_is_a_warning(log, caplog, verdict, level):
    with caplog.at_level(logging.INFO, "nat-failover"):
        log.follow(START, peer(verdict), Plan(), NOW, LATE)
    assert [record.levelname for record in caplog.records] == [level]


def test_a_late_peer_is_reported_once_for_each_silence(log):
    late = peer(suspected_at=NOW - 0.125)
    log.follow(peer(), late, Plan(), NOW, LATE)
    assert kinds(log) == [], "one lost packet"
    for now in (NOW + 0.25, NOW + 0.5):
        log.follow(peer(), late, Plan(), now, LATE)
    assert [event["text"] for event in log.events] == ["nat-b: no heartbeat for 375 ms, probing by UDP and ICMP"]
    log.follow(peer(), peer(suspected_at=NOW + 5), Plan(), NOW + 6, LATE)
    assert kinds(log) == ["late", "late"]


def test_a_silence_that_ends_well_has_an_end_too(log):
    late = peer(suspected_at=NOW - 0.5)
    log.follow(peer(), late, Plan(), NOW, LATE)
    log.follow(late, peer(), Plan(), NOW + 0.25, LATE)
    assert kinds(log) == ["late", "late_ended"]
    assert log.events[-1]["text"] == "nat-b: heartbeats arrive again after 750 ms"


def test_a_verdict_says_how_long_the_one_before_it_lasted(log):
    log.follow(peer(), peer("failed", suspected_at=NOW - 0.6), Plan(), NOW, LATE)
    [event] = log.events
    assert (event["before"], event["lasted_s"], event["silent_ms"]) == ("healthy", 100.0, 600)


def test_events_are_numbered_and_those_of_an_incident_share_its_id(log):
    log.emit("started", "nat-a of cluster prod")
    log.follow(peer(), peer("failed"), Plan(), NOW, LATE)
    log.emit("route", "adopt rtb-1")
    assert [event["seq"] for event in log.events] == [1, 2, 3]
    ids = [event.get("incident", "") for event in log.events]
    assert ids[0] == "" and ids[1] == ids[2] != ""


@pytest.mark.parametrize(
    ("stage", "text"),
    [("stop", "is about to stop this node"), ("started", "stopped this node and started it again")],
)
def test_a_node_that_was_fenced_reports_it_once(log, stage, text):
    own = Mark(f"nat-b:{stage}", "nat-b", stage)
    for mark in (None, own, own):
        log.follow_fence(mark)
    [event] = log.events
    assert (event["kind"], event["peer"]) == ("fenced_by", "nat-b") and text in event["text"]


def test_a_failed_peer_is_not_late_as_well(log):
    log.follow(peer("failed"), peer("failed", suspected_at=NOW - 5), Plan(), NOW, LATE)
    assert kinds(log) == []


def test_drift_is_reported_when_it_begins_and_again_after_it_ended(log):
    drift = Plan(drift={"rtb-1 0.0.0.0/0": "rtb-1 0.0.0.0/0 targets igw-1"})
    for plan in (drift, drift, Plan(), drift):
        log.follow(START, START, plan, NOW, LATE)
    drifted = "rtb-1 0.0.0.0/0 targets igw-1"
    assert [event["text"] for event in log.events] == [drifted, f"over after 0 s: {drifted}", drifted]
    assert kinds(log) == ["drift", "drift_ended", "drift"]
    assert log.drift == drift.drift


def test_drift_that_comes_and_goes_is_a_few_events_a_minute_and_what_stands_is_reported_in_the_end(log):
    for turn in range(100):
        log.follow(START, START, Plan(drift={"a tag": str(turn)} if turn % 2 else {}), NOW + turn / 2, LATE)
    assert kinds(log) == ["drift", "drift_ended"] * MOST and log.drift == {"a tag": "99"}
    for turn in range(100):
        log.follow(START, START, Plan(drift={"a tag": "it stands"}), NOW + 50 + turn, LATE)
    assert kinds(log) == [*["drift", "drift_ended"] * MOST, "drift"] and log.events[-1]["text"] == "it stands"


def test_a_withheld_action_is_reported_with_the_gate_that_holds_it(log):
    claim = Claim("rtb-1", "0.0.0.0/0", "nat-b")
    action = SetRoute(claim, "eni-a", "nat-a", RouteView("active", "eni-b", NOW), "adopt", "nat-b is failed")
    log.follow(START, START, Plan(withheld=(action,), forbidden="mode observe"), NOW, LATE)
    assert log.events[0]["text"] == "nat-b is failed; withheld: mode observe"
    assert log.withheld == {"adopt rtb-1 0.0.0.0/0": "nat-b is failed; withheld: mode observe"}


def test_only_the_last_events_stay_in_memory(log):
    for number in range(KEPT + 10):
        log.emit("test", str(number))
    assert (len(log.events), log.events[0]["text"]) == (KEPT, "10")


def test_details_go_into_the_event_and_not_into_the_line(log, caplog):
    with caplog.at_level(logging.INFO, "nat-failover"):
        log.emit("route", "adopted rtb-1", ms=312)
    assert caplog.records[0].getMessage() == "route: adopted rtb-1"
    assert caplog.records[0].event["ms"] == 312


def test_events_are_numbered_and_counted_by_kind(log):
    for kind in ("adopt", "failed", "adopt"):
        log.emit(kind, "rtb-1 0.0.0.0/0")
    assert [(event["seq"], event["kind"]) for event in log.events] == [(1, "adopt"), (2, "failed"), (3, "adopt")]
    assert (log.seq, dict(log.counts)) == (3, {"adopt": 2, "failed": 1})


def test_the_numbers_go_on_when_old_events_are_forgotten(log):
    for _event in range(KEPT + 5):
        log.emit("late", "nat-b: no heartbeat")
    assert (log.events[0]["seq"], log.seq, log.counts["late"]) == (6, KEPT + 5, KEPT + 5)


def test_a_warning_is_reported_once_and_so_is_its_end(log, caplog):
    warning = Plan(warnings={"unseen nat-a": "peers cannot see that this node lives"})
    with caplog.at_level(logging.INFO, "nat-failover"):
        for plan in (warning, warning, Plan(), Plan()):
            log.follow(START, START, plan, NOW, LATE)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "warning: peers cannot see that this node lives"),
        ("INFO", "warning_ended: over after 0 s: peers cannot see that this node lives"),
    ]
