# SPDX-License-Identifier: GPL-3.0-or-later
"""Flares that no node wrote, or that were written before: no sign of life, and drift."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.model.evidence import VALID, Sign
from nat_failover.model.liveness import LivenessCounter
from nat_failover.policy import signs
from nat_failover.wire.seals import FLARE, ITEM, Seals

from .policy_case import FINE, ME, NOW, PEER, SEALS, Case

BOUNDED = settings(max_examples=100, derandomize=True, deadline=None, database=None)
START = 1_800_000_000  # the time of day at the start of the peer's service
STRANGERS = Seals((b"x" * 32,), "c")
WHERE = f"nat-failover:flare of {PEER}"


def flare(number, boot="b", kind=FLARE, node=PEER, instance="i-00000001", seals=SEALS):
    """The flare of the peer, as it writes it."""
    return seals.sign(kind, node, instance, boot, number)


def silent(value="", **report):
    """The peer, which seals its signs, is silent. Its flare was read once since then."""
    case = Case()
    case.tag(PEER, flare=value)
    case.silent(flare_baseline=None)
    case.heard[PEER] = replace(case.heard[PEER], report=replace(FINE, signs=START + 7, seals=True, **report))
    assert case.verdict() == "failed"
    return case


def test_a_sealed_flare_after_the_last_heartbeat_is_a_sign_of_life():
    case = silent()
    case.tag(PEER, flare=flare(START + 8))
    assert case.verdict() == "partitioned" and case.decide().drift == {}


FORGED = {
    "without a mac": "b:1800000008",
    "of a boot that is unknown": "other:9999999999",
    "another key": flare(START + 8, seals=STRANGERS),
    "another cluster": flare(START + 8, seals=Seals((b"k" * 32,), "d")),
    "another node": flare(START + 8, node=ME),
    "another instance": flare(START + 8, instance="i-00000009"),
    "an item": flare(START + 8, kind=ITEM),
    "no text of any version": "I live",
    "control characters": "\x1b]0;b:8:",
    "too large a number": "b:" + "9" * 200,
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED.keys())
def test_a_flare_without_a_valid_mac_is_no_sign_of_life_and_is_reported(value):
    case = silent()
    case.tag(PEER, flare=value)
    plan = case.decide()
    assert plan.verdicts[0].kind == "failed" and [action.kind for action in plan.routes] == ["adopt"]
    assert list(plan.drift) == [WHERE]
    line = plan.drift[WHERE]
    assert "nat-b (i-00000001)" in line and "no valid MAC" in line and "ec2:CreateTags" in line
    assert len(line) < 400 and line.isprintable()


@pytest.mark.parametrize("number", [START - 1000, START + 1, START + 7])
@pytest.mark.parametrize("boot", ["b", "an earlier run"])
def test_a_flare_from_before_the_last_heartbeat_is_none_whoever_writes_it_again(boot, number):
    case = silent()
    case.tag(PEER, flare=flare(number, boot))
    assert case.verdict() == "failed"


def test_each_flare_counts_once_however_often_a_stranger_writes_it():
    case = silent()
    case.tag(PEER, flare=flare(START + 8))
    assert case.verdict() == "partitioned"
    at = case.memory.peers[PEER].flare_at
    for value in ("", "x", flare(START + 8), flare(START + 7), flare(START + 8)):
        case.tag(PEER, flare=value)
        case.instances[PEER] = replace(case.instances[PEER], read_at=case.now + 1)
        case.decide()
        assert case.memory.peers[PEER].flare_at == at
    case.tag(PEER, flare=flare(START + 9))
    case.instances[PEER] = replace(case.instances[PEER], read_at=NOW + 2)
    case.decide()
    assert case.memory.peers[PEER].flare_at == NOW + 2


def test_an_older_version_flares_without_a_seal_until_its_heartbeats_say_otherwise():
    case = silent()
    case.heard[PEER] = replace(case.heard[PEER], report=FINE, boot_id="other")
    case.tag(PEER, flare="b:8")
    assert case.verdict() == "partitioned" and case.decide().drift == {}
    case = silent()
    case.tag(PEER, flare="b:8")
    assert case.verdict() == "failed"


def test_the_new_version_counts_on_after_an_older_one():
    case = silent()
    case.heard[PEER] = replace(case.heard[PEER], report=replace(FINE, signs=12))
    case.tag(PEER, flare=flare(START, "new"))
    assert case.verdict() == "partitioned", "it was restarted with the new version while it was cut off"


def test_what_stands_there_at_the_start_may_be_left_over_and_is_not_reported():
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], report=replace(FINE, seals=True))
    case.tag(PEER, flare="0123456789abcdef:3")
    assert case.decide().drift == {}
    case.tag(PEER, flare="0123456789abcdef:4")
    assert list(case.decide().drift) == [WHERE]


def test_a_stranger_who_writes_often_is_one_event():
    case = silent()
    for turn in range(50):
        case.tag(PEER, flare=("x", "", flare(START + 1))[turn % 3])
        assert list(case.decide().drift) == [WHERE]
        case.now += 0.1
    assert len(case.memory.seen) == 2, "its flare and its item"
    case.tag(PEER)
    case.decide()
    case.now += signs.SHOWN
    assert case.decide().drift == {}, "it has ended"


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_numbers_begin_at_the_time_of_day_and_grow():
    counter = LivenessCounter("b", PEER, SEALS.sign, START + 0.5)
    assert counter.last == START
    values = [SEALS.read(FLARE, PEER, "i-1", counter.next(FLARE, "i-1")) for _turn in range(3)]
    assert [(value.boot, value.number, value.seal) for value in values] == [
        ("b", START + 1, VALID),
        ("b", START + 2, VALID),
        ("b", START + 3, VALID),
    ]


def test_a_clock_that_was_set_back_makes_no_flare_older_than_the_one_that_ec2_shows():
    counter = LivenessCounter("c", PEER, SEALS.sign, START - 3600)
    counter.note(SEALS.read(FLARE, PEER, "i-1", flare(START + 5, instance="i-1")))
    assert counter.last == START + 5
    for forged in ("b:9999999999", flare(START + 9, instance="i-1", seals=STRANGERS), ""):
        counter.note(SEALS.read(FLARE, PEER, "i-1", forged))
    assert counter.last == START + 5


@BOUNDED
@given(st.lists(st.one_of(st.text(max_size=80), st.integers(START - 50, START + 7).map(flare)), max_size=20))
def test_no_series_of_texts_and_of_old_flares_holds_a_dead_node_in_place(values):
    case = silent()
    for value in values:
        case.tag(PEER, flare=value)
        case.instances[PEER] = replace(case.instances[PEER], read_at=case.now)
        assert case.verdict() == "failed"
        assert len(case.decide().drift) <= 1
    assert case.memory.peers[PEER].flare_at is None


@pytest.mark.parametrize(("ago", "lines"), [(0.0, 1), (signs.SHOWN - 1, 1), (signs.SHOWN, 0)])
def test_a_heartbeat_whose_number_leapt_is_reported_for_a_minute(ago, lines):
    case = Case()
    case.heard[PEER] = replace(case.heard[PEER], leapt_at=NOW - ago, leapt_from=12, leapt_to=2**63)
    plan = case.decide()
    assert plan.verdicts[0].kind == "healthy" and len(plan.drift) == lines
    assert all("from number 12 to 9223372036854775808" in line and "rotate_key" in line for line in plan.drift.values())


def test_no_sign_is_a_sign_of_nobody():
    assert not signs._is_forged(PEER, Sign(), Case().evidence())
