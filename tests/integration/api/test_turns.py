# SPDX-License-Identifier: GPL-3.0-or-later
"""Readings give way to writes, and to no write that never ends."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from lab.api import turns


def in_thread(turn: turns.Turns, told: list[str], word: str, reads: bool) -> threading.Thread:
    def call() -> None:
        with turn.turn(reads):
            told.append(word)

    thread = threading.Thread(target=call)
    thread.start()
    return thread


@pytest.mark.parametrize("failing", [False, True])
def test_a_reading_begins_when_no_write_is_under_way(monkeypatch: pytest.MonkeyPatch, failing: bool) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 60.0)
    turn, told = turns.Turns(), list[str]()
    outcome: Any = pytest.raises(ZeroDivisionError) if failing else contextlib.nullcontext()
    with outcome, turn.turn(reads=False):
        reading = in_thread(turn, told, "reading", reads=True)
        in_thread(turn, told, "write", reads=False).join(10)
        assert told == ["write"], "writes do not wait for each other here: the lock behind orders them"
        told.append("end")
        if failing:
            raise ZeroDivisionError
    reading.join(10)
    assert told == ["write", "end", "reading"]


def test_a_reading_begins_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.01)
    turn, told = turns.Turns(), list[str]()
    with turn.turn(reads=False):
        in_thread(turn, told, "reading", reads=True).join(10)
        assert told == ["reading"]
