# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign over days adds up what belongs together, plays no seed twice, and plays the same in a tuned process."""

from __future__ import annotations

import hmac
import itertools

import pytest

from benchmarks.store import Store

from . import pieces
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
    rows = []
    for _number in range(40):
        rows.append(piece(REAL, pieces.next_first(rows, REAL), 200))
    seeds = [seed for row in rows for seed in range(row["first"], row["first"] + 200)]
    assert len(set(seeds)) == len(seeds) == 8000
    borders = (0, WITNESSED, EARLY, SERVED, IDENTITIES, SYNCED, 2 * SYNCED)
    played = [sum(kind <= seed < end for seed in seeds) for kind, end in itertools.pairwise(borders)]
    assert played == [1600, 800, 800, 800, 3200, 800]
    assert pieces.next_first(rows, FAST) == pieces.BEGINS[FAST]


def test_a_campaign_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setitem(pieces.INCIDENTS, FAST, 2)
    store = Store(tmp_path / "simulation.jsonl", ("shell", "first", "engine"))
    first, second = (list(pieces.play_on(count, FAST, 1, store)) for count in (4, 2))
    begin = pieces.BEGINS[FAST]
    assert [row["first"] for row in (*first, *second)] == [begin, begin + IDENTITIES, begin + IDENTITIES + 2]
    assert [(row["incidents"], row["violations"]) for row in store.rows()] == [(2, 0)] * 3
    assert {row["engine"] for row in store.rows()} == {pieces.engine()}


def test_the_total_adds_pieces_of_one_engine_and_names_what_broke_a_law():
    rows = [piece(), piece(first=11, violations=1, failing=(13,)), piece(engine="e2"), piece(REAL)]
    lines = pieces.totals(rows).splitlines()[2:]
    assert lines[0] == "| e1 | c1 | fast | 20 | 1 | 13 | 100 ms |"
    assert [line.split(" | ")[:4] for line in lines[1:]] == [["| e2", "c1", FAST, "10"], ["| e1", "c1", REAL, "10"]]


def test_the_page_shows_the_present_totals():
    page = pieces.PAGE.read_text(encoding="utf-8")
    assert page == pieces.renewed(page, pieces.STORE.rows()), "docs/safety.md is old: ./dev simulate --total"


@pytest.mark.parametrize("length", [1, 32, 64, 65, 200])
@pytest.mark.parametrize("message", [b"", b"heartbeat", b"x" * 1000])
def test_the_mac_of_a_tuned_process_is_that_of_the_library(length, message):
    key = bytes(range(length))
    assert digest(key, message, "sha256") == hmac.digest(key, message, "sha256")
