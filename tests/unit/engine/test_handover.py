# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 announces, as the metadata service writes it, and what a node does about it. Shapes: lab/api/interruptions.py names the sources."""

from __future__ import annotations

import calendar
import json

import pytest

from nat_failover.model.settings import Handover
from nat_failover.policy import interruption as handover
from nat_failover.policy.interruption import AUTOSCALING, REBALANCE, SCHEDULED, SPOT, UNREADABLE, Notice

SETTINGS = Handover(poll=2, rebalance="report", scheduled_lead=300, on_stop="keep", wait=15)
NOON = calendar.timegm((2026, 1, 31, 12, 0, 0))
EVENT = {
    "NotBefore": "31 Jan 2026 12:00:00 GMT",
    "Code": "system-reboot",
    "Description": "scheduled reboot",
    "EventId": "instance-event-0d59937288b749b32",
    "NotAfter": "31 Jan 2026 14:00:00 GMT",
    "State": "active",
}


def read(kind, body):
    return handover.read({kind: body})


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_spot(action):
    body = json.dumps({"action": action, "time": "2026-01-31T12:00:00Z"})
    assert read(SPOT, body) == (Notice(SPOT, "spot interruption: %s at 2026-01-31T12:00:00Z" % action),)


def test_rebalance():
    found = read(REBALANCE, '{"noticeTime": "2026-01-31T12:00:00Z"}')
    assert found == (Notice(REBALANCE, "rebalance recommended at 2026-01-31T12:00:00Z"),)


@pytest.mark.parametrize("word", ["InService", "Standby", "Detached", "Warmed:Running", "Terminated", "Warmed:Stopped"])
def test_autoscaling(word):
    found = read(AUTOSCALING, word + "\n")
    assert [notice.text for notice in found] == (["Auto Scaling: " + word] if word in handover.GOING else [])


def test_scheduled():
    (found,) = read(SCHEDULED, json.dumps([EVENT, {**EVENT, "State": "completed"}, {**EVENT, "State": "canceled"}]))
    assert found == Notice(
        SCHEDULED,
        "system-reboot scheduled for 2026-01-31T12:00:00Z (instance-event-0d59937288b749b32)",
        NOON,
        NOON + 7200,
    )
    (without_end,) = read(SCHEDULED, json.dumps([{k: v for k, v in EVENT.items() if k != "NotAfter"}]))
    assert without_end.ends is None


def test_quiet():
    assert handover.read({SPOT: None, AUTOSCALING: "InService", REBALANCE: None, SCHEDULED: "[]"}) == ()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SPOT, ""),
        (SPOT, "<html>"),
        (SPOT, "[]"),
        (SPOT, '{"time": "soon"}'),
        (SPOT, '{"action": 7, "time": ""}'),
        (SPOT, "[" * 65536),
        (REBALANCE, "7"),
        (SCHEDULED, "{}x"),
        (SCHEDULED, "[7]"),
        (SCHEDULED, json.dumps([{**EVENT, "NotBefore": "soon"}])),
        (SCHEDULED, json.dumps([{**EVENT, "NotBefore": "31 Jan 2026 12:00:00 -0000"}])),
        (SCHEDULED, json.dumps([{**EVENT, "Code": None}])),
    ],
)
def test_what_is_not_understood_is_told_and_drains_nothing(kind, body):
    (found,) = read(kind, body)
    assert found.kind == UNREADABLE and handover.PATHS[kind] in found.text
    assert len(found.text) <= handover.LONGEST_TEXT
    assert handover.pressing(SETTINGS, [found], NOON) == ()


@pytest.mark.parametrize(
    ("notice", "changes", "now", "presses"),
    [
        (Notice(SPOT, "s"), {}, NOON, True),
        (Notice(AUTOSCALING, "a"), {}, NOON, True),
        (Notice(REBALANCE, "r"), {}, NOON, False),
        (Notice(REBALANCE, "r"), {"rebalance": "drain"}, NOON, True),
        (Notice(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON - 301, False),
        (Notice(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON - 300, True),
        (Notice(SCHEDULED, "e", NOON, NOON + 7200), {"scheduled_lead": 0}, NOON - 1, False),
        (Notice(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON + 7200, True),
        (Notice(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON + 7201, False),
        (Notice(SCHEDULED, "e", NOON, None), {}, NOON + 86400, True),
    ],
)
def test_what_a_node_drains_for(notice, changes, now, presses):
    settings = Handover(**{**SETTINGS.__dict__, **changes})
    assert handover.pressing(settings, [notice], now) == ((notice,) if presses else ())


@pytest.mark.parametrize(
    ("why", "owned", "state"),
    [
        ("", 2, "active"),
        ("", 0, "active"),
        ("", None, "active"),
        ("w", 1, "draining"),
        ("w", None, "draining"),
        ("w", 0, "drained"),
    ],
)
def test_the_state_follows_from_the_reason_and_the_routes(why, owned, state):
    assert handover.state(why, owned) == state
