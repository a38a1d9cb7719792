# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents: the time from the first of some problems to some time after the last."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from nat_failover.console import show
from nat_failover.model.problem import Problem
from nat_failover.service import status

from .standing import CLAIM_B, NOW, standing
from .troubled import find, peer


@pytest.fixture
def parts():
    return standing()


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
