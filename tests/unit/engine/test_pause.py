# SPDX-License-Identifier: GPL-3.0-or-later
"""The pause's tag: who may not write, and until when."""

from __future__ import annotations

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import TAG_PAUSE, InstanceView
from nat_failover.policy import pause

NOON = 1769860800.0  # 2026-01-31T12:00:00Z


def tagged(text):
    return {
        "nat-a": InstanceView("running", "eni-a", "10.0.0.10", {}, 0.0),
        "nat-b": InstanceView("running", "eni-b", "10.0.1.10", {TAG_PAUSE: text}, 0.0),
    }


@pytest.mark.parametrize(("text", "length"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604800)])
def test_lengths(text, length):
    assert pause.seconds(text) == length


@pytest.mark.parametrize("text", ["", "0", "-5m", "8d", "1w", "soon", "1h30m"])
def test_an_impossible_length_is_refused_with_the_remedy(text):
    with pytest.raises(NatFailoverError, match="up to 7 days, e.g. 30m or 2h"):
        pause.seconds(text)


def test_a_value_is_read_back():
    assert pause.value(NOON) == "2026-01-31T12:00:00Z"
    assert pause.end(pause.value(NOON)) == NOON


def test_a_tag_on_any_node_pauses_all_until_its_time():
    instances = tagged("2026-01-31T12:00:00Z")
    assert pause.paused(instances, NOON - 1) == "the cluster is paused until 2026-01-31T12:00:00Z (tag on nat-b)"
    assert pause.paused(instances, NOON) == ""
    assert pause.ignored(instances, NOON) == {}


def test_a_slip_pauses_nothing_and_is_reported():
    instances = tagged("tomorrow")
    assert pause.paused(instances, NOON) == ""
    (text,) = pause.ignored(instances, NOON).values()
    assert "'tomorrow' on nat-b is no time" in text and "write e.g." in text


@pytest.mark.parametrize(("days", "counts"), [(6.9, True), (7.5, False)])
def test_a_tag_cannot_switch_the_failover_off_for_good(days, counts):
    instances = tagged(pause.value(NOON + days * 86400))
    assert bool(pause.paused(instances, NOON)) == counts
    assert bool(pause.ignored(instances, NOON)) != counts
    assert pause.paused(tagged("9999-12-31T23:59:59Z"), NOON) == ""
