# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign over days adds up what belongs together, plays no seed twice, and plays the same in a tuned process."""

from __future__ import annotations

import dataclasses
import hmac
import itertools

import pytest

from benchmarks.store import Store
from nat_failover.model.memory import Memory

from . import pieces
from .fastest import updated
from .shape import EARLY, IDENTITIES, SERVED, SYNCED, WITNESSED
from .shells import FAST, REAL
from .shipping.tuning import digest


def piece(shell=FAST, first=1, incidents=10, violations=0, failing=(), engine="e1"):
    return {
        "shell": shell,
        "first": first,
        "incidents": incidents,
        "violations": violations,
        "failing": list(failing),
        "engine": engine,
        "commit": "c1",
        "cpu_s": 1.0,
    }


def test_no_seed_of_a_campaign_is_played_twice_and_each_kind_has_its_share():
    rows, sizes = [], []
    for _number in range(80):
        kind, first = pieces.next_piece(rows, REAL)
        end = first + (150 if kind.nodes else 100)  # a third of these seeds have larger clusters, and are passed over
        rows.append({**piece(REAL, first, 100), "end": end})
        sizes.append(kind.nodes)
    spans = sorted((row["first"], row["end"]) for row in rows)
    assert all(end <= first for (_first, end), (first, _end) in itertools.pairwise(spans))
    borders = (0, WITNESSED, EARLY, SERVED, IDENTITIES, SYNCED, 2 * SYNCED)
    played = [sum(kind <= row["first"] < end for row in rows) for kind, end in itertools.pairwise(borders)]
    assert played == [2, 2, 2, 2, 64, 8]
    assert sizes.count(None) == 10 and set(sizes) == {2, None}
    assert pieces.next_piece(rows, FAST)[1] == pieces.BEGINS[FAST]


def test_a_piece_that_names_no_end_has_passed_no_seed_over():
    kind, first = pieces.next_piece([piece(REAL, pieces.BEGINS[REAL] + IDENTITIES, 200)], REAL)
    assert (kind, first) == (pieces.Kind(IDENTITIES), pieces.BEGINS[REAL] + IDENTITIES + 200)


def test_a_campaign_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setitem(pieces.INCIDENTS, FAST, 2)
    store = Store(tmp_path / "simulation.jsonl", ("shell", "first", "engine"))
    first, second = (list(pieces.play_on(count, FAST, 1, store)) for count in (4, 2))
    begin = pieces.BEGINS[FAST]
    assert [row["first"] for row in (*first, *second)] == [begin, begin + IDENTITIES, first[1]["end"]]
    assert all(row["end"] - row["first"] >= row["incidents"] and row["nodes"] == 2 for row in store.rows())
    assert [(row["incidents"], row["violations"]) for row in store.rows()] == [(2, 0)] * 3
    assert {row["engine"] for row in store.rows()} == {pieces.engine()}


def test_the_total_adds_pieces_of_one_engine_and_names_what_broke_a_law():
    moving = piece(first=IDENTITIES + 11, violations=1, failing=(13,))
    rows = [piece(), moving, piece(engine="e2"), piece(REAL)]
    lines = pieces.totals(rows).splitlines()[2:]
    assert lines[0] == "| e1 | c1 | fast | 20 | 10 | 1 | 13 | 100 ms |"
    assert [line.split(" | ")[:4] for line in lines[1:]] == [["| e2", "c1", FAST, "10"], ["| e1", "c1", REAL, "10"]]


def test_the_page_shows_the_present_totals():
    page = pieces.PAGE.read_text(encoding="utf-8")
    assert page == pieces.renewed(page, pieces.STORE.rows()), "docs/safety.md is old: ./dev simulate --total"


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Memory)])
def test_the_memory_of_a_tuned_process_is_copied_as_by_the_engine(name):
    memory = Memory(awake_since=1.0)
    assert updated(memory, **{name: "new"}) == memory.updated(**{name: "new"}) != memory
    assert updated(memory, **{name: getattr(memory, name)}) is memory


@pytest.mark.parametrize("length", [1, 32, 64, 65, 200])
@pytest.mark.parametrize("message", [b"", b"heartbeat", b"x" * 1000])
def test_the_mac_of_a_tuned_process_is_that_of_the_library(length, message):
    key = bytes(range(length))
    assert digest(key, message, "sha256") == hmac.digest(key, message, "sha256")
