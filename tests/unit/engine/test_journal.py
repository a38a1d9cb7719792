# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: events reach the history file and the journal, and nothing that is slow or full can hold up the caller."""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
import time

import pytest

from nat_failover.service import journal

LOG = logging.getLogger("nat-failover")


@pytest.fixture(autouse=True)
def logging_as_it_was():
    raising, propagating, level = logging.raiseExceptions, LOG.propagate, LOG.level
    yield
    left = [handler for handler in LOG.handlers if isinstance(handler, logging.handlers.QueueHandler)]
    logging.raiseExceptions, LOG.propagate = raising, propagating
    LOG.setLevel(level)
    for handler in left:
        LOG.removeHandler(handler)
    assert not left, "the end of the logging left a handler behind"


def event(text, **more):
    return {"event": {"kind": "verdict", "text": text, **more}}


def history(directory):
    return [json.loads(line) for line in (directory / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def test_events_reach_the_history_in_order(tmp_path, capsys):
    stop = journal.start_logging(str(tmp_path / "state"))
    for number in range(5):
        LOG.info("verdict: %d", number, extra=event("t", peer="nat-b", number=number))
    LOG.info("no event")
    stop()
    assert [line["number"] for line in history(tmp_path / "state")] == [0, 1, 2, 3, 4]
    assert "verdict: 4\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "level, prefix", [("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>"), ("debug", "")]
)
def test_the_journal_gets_priorities(tmp_path, capsys, monkeypatch, level, prefix):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    stop = journal.start_logging(str(tmp_path))
    getattr(LOG, level)("fence: %s", "nat-b")
    stop()
    assert capsys.readouterr().err == (prefix + "fence: nat-b\n" if prefix else "")


def test_no_history_is_said_and_the_service_goes_on(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="ascii")
    stop = journal.start_logging(str(tmp_path / "file"))
    LOG.warning("verdict: silent", extra=event("t"))
    stop()
    assert "no history is kept: " in (text := capsys.readouterr().err)
    assert "verdict: silent" in text


def test_a_slow_disk_delays_nobody(tmp_path, monkeypatch):
    slow, written = threading.Event(), []

    def emit(_handler, record):
        assert slow.wait(20)
        written.append(record.message)

    monkeypatch.setattr(logging.StreamHandler, "emit", emit)
    monkeypatch.setattr(journal, "QUEUED", 10)
    stop = journal.start_logging(str(tmp_path))
    began = time.monotonic()
    for number in range(200):
        LOG.info("%d", number)
    assert time.monotonic() - began < 5  # nobody waited for the disk
    slow.set()
    stop()
    assert written[:5] == ["0", "1", "2", "3", "4"]
    assert len(written) <= 12  # the rest is dropped, not kept in memory


def test_a_full_disk_costs_the_history_not_the_service(tmp_path, monkeypatch, capsys):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    stop = journal.start_logging(str(tmp_path))
    monkeypatch.setattr(logging.handlers.RotatingFileHandler, "shouldRollover", full)
    LOG.error("verdict: failed", extra=event("t"))
    stop()
    assert capsys.readouterr().err.endswith("verdict: failed\n")


def test_the_history_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "HISTORY_BYTES", 2000)
    stop = journal.start_logging(str(tmp_path))
    for number in range(100):
        LOG.info("verdict", extra=event("x" * 50, number=number))
    stop()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["history.jsonl", "history.jsonl.1"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert history(tmp_path)[-1]["number"] == 99


def test_arguments_are_read_when_the_event_happens(tmp_path, capsys):
    # The writer's thread must not see what became of a list later.
    stop = journal.start_logging(str(tmp_path))
    claims = ["rtb-1"]
    LOG.info("owns %s", claims)
    claims.clear()
    stop()
    assert "owns ['rtb-1']" in capsys.readouterr().err
