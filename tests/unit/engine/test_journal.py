# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: events reach the history file and the journal, and nothing that is slow or full can hold up the caller."""

from __future__ import annotations

import json
import logging
import logging.handlers
import socket
import threading
import time

import pytest

from nat_failover.service import history as history_files
from nat_failover.service import journal, journal_socket

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
    stop = journal.start_logging(str(tmp_path / "state")).stop
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
    monkeypatch.setattr(journal_socket, "SOCKET", str(tmp_path / "no journal"))
    stop = journal.start_logging(str(tmp_path)).stop
    getattr(LOG, level)("fence: %s", "nat-b")
    stop()
    assert capsys.readouterr().err == (prefix + "fence: nat-b\n" if prefix else "")


def test_no_history_is_said_and_the_service_goes_on(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="ascii")
    stop = journal.start_logging(str(tmp_path / "file")).stop
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
    stop, lost = journal.start_logging(str(tmp_path))
    began = time.monotonic()
    for number in range(200):
        LOG.info("%d", number)
    assert time.monotonic() - began < 5  # nobody waited for the disk
    slow.set()
    stop()
    assert written[:5] == ["0", "1", "2", "3", "4"]
    assert len(written) <= 12  # the rest is dropped, not kept in memory
    assert lost() == 200 - len(written)


def test_a_full_disk_costs_the_history_not_the_service(tmp_path, monkeypatch, capsys):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    stop = journal.start_logging(str(tmp_path)).stop
    monkeypatch.setattr(logging.handlers.RotatingFileHandler, "shouldRollover", full)
    LOG.error("verdict: failed", extra=event("t"))
    stop()
    assert capsys.readouterr().err.endswith("verdict: failed\n")


def test_the_history_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(history_files, "FILE_BYTES", 2000)
    monkeypatch.setattr(history_files, "OLDER_FILES", 1)
    stop = journal.start_logging(str(tmp_path)).stop
    for number in range(100):
        LOG.info("verdict", extra=event("x" * 50, number=number))
    stop()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["history.jsonl", "history.jsonl.1"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert history(tmp_path)[-1]["number"] == 99


def test_arguments_are_read_when_the_event_happens(tmp_path, capsys):
    # The writer's thread must not see what became of a list later.
    stop = journal.start_logging(str(tmp_path)).stop
    claims = ["rtb-1"]
    LOG.info("owns %s", claims)
    claims.clear()
    stop()
    assert "owns ['rtb-1']" in capsys.readouterr().err


def test_an_event_after_a_crash_has_a_line_of_its_own(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"kind": "verdict", "te', encoding="utf-8")
    stop = journal.start_logging(str(tmp_path)).stop
    LOG.warning("fence: stop", extra={"event": {"kind": "fence", "text": "stop nat-b", "at": 5.0, "seq": 8}})
    stop()
    past = history_files.read(str(tmp_path))
    assert ([event["text"] for event in past.events], past.skipped) == (["stop nat-b"], 1)
    assert history_files.last_seq(str(tmp_path)) == 8


def test_the_numbers_of_events_go_on_after_the_file_was_changed(tmp_path):
    (tmp_path / "history.jsonl.1").write_text('{"kind": "x", "text": "", "at": 1, "seq": 41}\n', encoding="utf-8")
    (tmp_path / "history.jsonl").write_text("", encoding="utf-8")
    assert history_files.last_seq(str(tmp_path)) == 41
    assert history_files.last_seq(str(tmp_path / "absent")) == 0


# --- the journal with fields ----------------------------------------------------------------------------------------


@pytest.fixture
def journald(tmp_path, monkeypatch):
    """Stands in for the journal: returns the entries that came since."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    monkeypatch.setattr(journal_socket, "SOCKET", str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(5)
        yield lambda: decoded(receiver.recv(1 << 20))


def decoded(data):
    """The fields of an entry, as the journal reads them."""
    found = {}
    while data:
        line, _end, rest = data.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[9 + size :]
        found[key.decode()] = value.decode()
    return found


def test_an_event_has_fields_in_the_journal(tmp_path, journald, capsys):
    log = journal.start_logging(str(tmp_path / "state"), {"NAT_CLUSTER": "prod", "NAT_NODE": "nat-a"})
    more = {"seq": 7, "peer": "nat-b", "verdict": "failed", "at": 1.5, "monotonic": 2.5, "ms": 312.5, "list": [1]}
    LOG.warning("verdict: nat-b is failed", extra=event("nat-b is failed", **more))
    log.stop()
    assert journald() == {
        "MESSAGE": "verdict: nat-b is failed",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "nat-failover",
        "MESSAGE_ID": journal_socket.message_id("verdict"),
        "NAT_CLUSTER": "prod",
        "NAT_NODE": "nat-a",
        "NAT_EVENT": "verdict",
        "NAT_SEQ": "7",
        "NAT_PEER": "nat-b",
        "NAT_VERDICT": "failed",
        "NAT_MS": "312.5",
    }
    assert capsys.readouterr().err == ""


def test_a_line_that_is_no_event_is_an_entry_too(tmp_path, journald):
    log = journal.start_logging(str(tmp_path / "state"))
    try:
        raise KeyError("peer")
    except KeyError:
        LOG.exception("unexpected")
    log.stop()
    entry = journald()
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].startswith("unexpected\nTraceback")
    assert "NAT_EVENT" not in entry


def test_an_entry_that_the_journal_does_not_take_goes_to_stderr(tmp_path, journald, capsys):
    log = journal.start_logging(str(tmp_path / "state"))
    LOG.info("x" * 10_000_000)  # longer than a datagram
    (tmp_path / "socket").unlink()  # journald is gone
    LOG.info("verdict: nat-b is failed", extra=event("t"))
    log.stop()
    lines = capsys.readouterr().err.splitlines()
    assert [line[:24] for line in lines] == ["<6>" + "x" * 21, "<6>verdict: nat-b is fai"]


def test_a_journal_that_takes_nothing_holds_up_nobody(tmp_path, journald, monkeypatch):
    monkeypatch.setattr(journal_socket, "WITHIN", 0.01)
    log = journal.start_logging(str(tmp_path / "state"))
    began = time.monotonic()
    for number in range(300):
        LOG.info("line %d", number)
    assert time.monotonic() - began < 5
    log.stop()


def test_the_ids_of_kinds_never_change():
    assert journal_socket.message_id("adopt") == "837d8d88f9715e7d9a02e3f796168765"
