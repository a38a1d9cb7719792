# SPDX-License-Identifier: GPL-3.0-or-later
"""Announcements of EC2, as the metadata service writes them, and the node's answer to them. Shapes: lab/api/interruptions.py names the sources."""

from __future__ import annotations

import calendar
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.model.settings import Handover
from nat_failover.policy import interruption
from nat_failover.policy.interruption import AUTOSCALING, REBALANCE, SCHEDULED, SPOT, UNREADABLE, Interruption

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
    return interruption.read({kind: body})


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_spot(action):
    body = json.dumps({"action": action, "time": "2026-01-31T12:00:00Z"})
    assert read(SPOT, body) == (Interruption(SPOT, f"spot interruption: {action} at 2026-01-31T12:00:00Z"),)


def test_rebalance():
    found = read(REBALANCE, '{"noticeTime": "2026-01-31T12:00:00Z"}')
    assert found == (Interruption(REBALANCE, "rebalance recommended at 2026-01-31T12:00:00Z"),)


@pytest.mark.parametrize("word", ["InService", "Standby", "Detached", "Warmed:Running", "Terminated", "Warmed:Stopped"])
def test_autoscaling(word):
    found = read(AUTOSCALING, word + "\n")
    assert [notice.text for notice in found] == (["Auto Scaling: " + word] if word in interruption.GOING else [])


def test_scheduled():
    (found,) = read(SCHEDULED, json.dumps([EVENT, {**EVENT, "State": "completed"}, {**EVENT, "State": "canceled"}]))
    assert found == Interruption(
        SCHEDULED,
        "system-reboot scheduled for 2026-01-31T12:00:00Z (instance-event-0d59937288b749b32)",
        NOON,
        NOON + 7200,
    )
    (without_end,) = read(SCHEDULED, json.dumps([{k: v for k, v in EVENT.items() if k != "NotAfter"}]))
    assert without_end.ends is None


def test_quiet():
    assert interruption.read({SPOT: None, AUTOSCALING: "InService", REBALANCE: None, SCHEDULED: "[]"}) == ()


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
    assert found.kind == UNREADABLE and interruption.PATHS[kind] in found.text
    assert len(found.text) <= interruption.LONGEST_TEXT
    assert interruption.pressing(SETTINGS, [found], NOON) == ()


@pytest.mark.parametrize(
    ("notice", "changes", "now", "presses"),
    [
        (Interruption(SPOT, "s"), {}, NOON, True),
        (Interruption(AUTOSCALING, "a"), {}, NOON, True),
        (Interruption(REBALANCE, "r"), {}, NOON, False),
        (Interruption(REBALANCE, "r"), {"rebalance": "drain"}, NOON, True),
        (Interruption(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON - 301, False),
        (Interruption(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON - 300, True),
        (Interruption(SCHEDULED, "e", NOON, NOON + 7200), {"scheduled_lead": 0}, NOON - 1, False),
        (Interruption(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON + 7200, True),
        (Interruption(SCHEDULED, "e", NOON, NOON + 7200), {}, NOON + 7201, False),
        (Interruption(SCHEDULED, "e", NOON, None), {}, NOON + 86400, True),
    ],
)
def test_what_a_node_drains_for(notice, changes, now, presses):
    settings = Handover(**{**SETTINGS.__dict__, **changes})
    assert interruption.pressing(settings, [notice], now) == ((notice,) if presses else ())


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
    assert interruption.state(why, owned) == state


@pytest.mark.parametrize("day", ["9" * 30, "99", "0", "-1"])
def test_a_date_that_no_calendar_has_is_not_understood_and_ends_nothing(day):
    event = {"Code": "system-reboot", "NotBefore": f"{day} Jan 2026 12:00:00 GMT"}
    (found,) = read(SCHEDULED, json.dumps([event]))
    assert found.kind == UNREADABLE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["action", "time", "noticeTime", "Code", "NotBefore", "NotAfter", "State", "EventId"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", interruption.PATHS)
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(
    body=st.text(max_size=60)
    | JSON.map(json.dumps)
    | st.integers().map(
        lambda day: json.dumps([{"Code": "system-reboot", "NotBefore": f"{day} Jan {day} 12:00:00 GMT"}])
    )
)
def test_no_body_of_the_metadata_service_raises(kind, body):
    for found in interruption.read({kind: body}):
        assert found.kind in (kind, UNREADABLE)
