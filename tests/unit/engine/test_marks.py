# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks of fences that no present fence of this cluster wrote: drift, and no effect."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.model.evidence import FORGED, UNSIGNED, VALID, Mark
from nat_failover.policy import marks
from nat_failover.wire.seals import Seals

from .policy_case import FINE, ME, PEER, SEALS, THIRD, WALL_TIME, Case, dead, heard, steps

BOUNDED = settings(max_examples=150, derandomize=True, deadline=None, database=None)
INSTANCE = "i-00000001"
WHERE = f"nat-failover:fence of {PEER}"
SEALING = replace(FINE, seals=True)


def mark(fencer=THIRD, stage="stop", at=WALL_TIME, peer=PEER, instance=INSTANCE, seals=SEALS):
    """The mark of a fencer on the peer."""
    return seals.mark(peer, instance, fencer, stage, at)


def trio():
    """Of three nodes the peer died long ago, and its route is with this node. All nodes seal."""
    case = Case((ME, PEER, THIRD))
    case.silent(PEER, seconds=100, verdict="failed")
    case.heard[PEER] = replace(case.heard[PEER], report=SEALING)
    case.heard[THIRD] = heard(report=SEALING)
    case.point(PEER, "eni-" + ME)
    assert steps(case) == ["mark"]
    return case


VOID = {
    "a ghost": ("ghost:stop", "has no MAC"),
    "a ghost with the key": (mark("ghost"), "no node of this cluster"),
    "a node that seals, without a seal": (f"{THIRD}:stop", "has no MAC"),
    "this node, without a seal": (f"{ME}:stop", "has no MAC"),
    "another key": (mark(seals=Seals((b"x" * 32,), "c")), "no valid MAC"),
    "another cluster": (mark(seals=Seals((b"k" * 32,), "d")), "no valid MAC"),
    "another node's mark": (mark(peer=ME), "no valid MAC"),
    "another instance's mark": (mark(instance="i-00000009"), "no valid MAC"),
    "another stage": (mark().replace(":stop", ":started"), "no valid MAC"),
    "another fencer": (mark().replace(THIRD, ME), "no valid MAC"),
    "the future": (mark(at=WALL_TIME + 7300), "in the future"),
    "long ago": (mark(at=WALL_TIME - marks.OLDEST - 60), "2 hours old"),
    "itself": (mark(PEER), "the node itself"),
    "no stage": (mark(stage="burn"), "no mark of a fence"),
    "no mark": ("x", "no mark of a fence"),
    "nothing": ("", "no mark of a fence"),
    "control characters": ("\x1b]0;x:stop", "no MAC"),
    "a time beyond all times": (f"{THIRD}:{'9' * 18}:{'0' * 32}:stop", "no valid MAC"),
}


@pytest.mark.parametrize(("value", "words"), VOID.values(), ids=VOID.keys())
def test_a_void_mark_prevents_no_fence_and_is_reported(value, words):
    case = trio()
    case.tag(PEER, raw_fence=value)
    plan = case.decide()
    [step] = plan.fence
    assert (step.step, step.ignores) == ("mark", value)
    assert words in plan.drift[WHERE] and INSTANCE in plan.drift[WHERE] and "remove the tag" in plan.drift[WHERE]
    assert plan.drift[WHERE].isprintable() and len(plan.drift[WHERE]) < 350


@pytest.mark.parametrize(("value", "words"), VOID.values(), ids=VOID.keys())
def test_a_void_mark_on_this_node_does_not_keep_it_from_fencing(value, words):
    case = trio()
    case.tag(ME, raw_fence=value)
    assert steps(case) == ["mark"] and f"nat-failover:fence of {ME}" in case.decide().drift


def test_the_mark_of_a_node_prevents_a_second_fence():
    case = trio()
    case.tag(PEER, fence="nat-c:stop")
    assert steps(case) == [] and case.decide().drift == {}
    case = trio()
    case.tag(ME, fence="nat-c:stop")
    assert steps(case) == []


@pytest.mark.parametrize(("stage", "state", "after", "expected"), [
    ("stop", "running", 100, []),
    ("stop", "running", 121, ["mark"]),
    ("started", "running", 500, []),
    ("stop", "stopping", 500, []),
    ("stop", "stopped", 0, ["start"]),
])  # fmt: skip
def test_a_mark_whose_fencer_has_failed_is_taken_over(stage, state, after, expected):
    case = trio()
    case.silent(THIRD, seconds=100, verdict="failed")
    case.point(THIRD, "eni-" + ME)
    case.tag(PEER, fence=f"nat-c:{stage}")
    case.instances[PEER] = replace(case.instances[PEER], state=state)
    case.decide()
    case.memory = replace(
        case.memory,
        fences=(),
        seen={key: seen._replace(since=seen.since - after) for key, seen in case.memory.seen.items()},
        peers={**case.memory.peers, PEER: replace(case.memory.peers[PEER], seen_healthy=True)},
    )
    assert [step.step for step in case.decide().fence if step.peer == PEER] == expected


def test_a_node_that_a_removed_fencer_stopped_is_started():
    case = trio()
    case.tag(PEER, raw_fence=mark("removed"))
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]


# --- older versions ---------------------------------------------------------------------------------------------------


def test_the_mark_of_an_older_version_counts_while_its_heartbeats_show_the_version():
    case = trio()
    case.tag(PEER, raw_fence=f"{THIRD}:stop")
    case.heard[THIRD] = heard(report=FINE)
    assert steps(case) == [] and case.decide().drift == {}
    case.heard[THIRD] = heard(report=SEALING)
    assert steps(case) == ["mark"]


@pytest.mark.parametrize(
    ("age", "expected"), [(10.0, ["start"]), (599.875, ["start"]), (600.0, []), (marks.UNSIGNED_FOR, [])]
)
def test_an_upgraded_fencer_finishes_what_its_older_version_began_and_only_at_first(age, expected):
    case = dead()
    case.age = age
    case.tag(PEER, raw_fence=f"{ME}:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == expected


@pytest.mark.parametrize("stage", ["stop", "started"])
def test_an_older_version_finds_the_stage_at_the_end(stage):
    fencer, _colon, found = mark(stage=stage).rpartition(":")
    assert found == stage and fencer.startswith(THIRD + ":")


# --- the text -----------------------------------------------------------------------------------------------------------


def test_round_trip():
    assert SEALS.read_mark(PEER, INSTANCE, mark()) == Mark(mark(), THIRD, "stop", int(WALL_TIME), VALID)
    assert SEALS.read_mark(PEER, INSTANCE, "nat-a:started") == Mark("nat-a:started", "nat-a", "started", 0, UNSIGNED)


def test_every_mark_fits_a_tag():
    assert len(SEALS.mark("n" * 63, "i-" + "0" * 17, "f" * 63, "started", 10**17)) <= 256


@BOUNDED
@given(st.text(max_size=300))
def test_any_text_is_a_mark_and_none_is_valid(text):
    found = SEALS.read_mark(PEER, INSTANCE, text)
    assert found.value == text and found.seal in (UNSIGNED, FORGED)


@BOUNDED
@given(
    st.one_of(
        st.text(max_size=100), st.tuples(st.text(max_size=20), st.sampled_from(("stop", "started"))).map(":".join)
    )
)
def test_no_text_of_a_stranger_changes_the_fence_of_a_dead_node(text):
    case = trio()
    case.tag(PEER, raw_fence=text)
    assert steps(case) == ["mark"]


@BOUNDED
@given(st.data())
def test_no_changed_character_of_a_mark_counts(data):
    value = mark()
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters(exclude_characters=value[at]))
    case = trio()
    case.tag(PEER, raw_fence=value[:at] + other + value[at + 1 :])
    assert steps(case) == ["mark"]
