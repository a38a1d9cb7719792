# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: events reach the history file and the journal, and nothing that is slow or full can hold up the caller."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import socket
import sys
import threading
import time

import pytest

from nat_failover.service import history as history_files
from nat_failover.service import journal, journal_socket
from nat_failover.service.history_file import HistoryFile

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
    """The events so far. The thread of the history may be in the middle of a line."""
    lines = (directory / "history.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


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
    log = journal.start_logging(str(tmp_path / "file"))
    assert "File exists" in log.unwritten(), "before the first event"
    LOG.warning("verdict: silent", extra=event("t"))
    log.stop()
    assert log.unwritten().endswith("; 1 event is missing from it") and log.lost() == 1
    assert capsys.readouterr().err.endswith("verdict: silent\n")


def test_a_slow_disk_delays_nobody(tmp_path, monkeypatch):
    slow, written = threading.Event(), []

    def emit(_handler, record):
        assert slow.wait(20)
        written.append(record.message)

    monkeypatch.setattr(logging.StreamHandler, "emit", emit)
    monkeypatch.setattr(journal, "QUEUED", 10)
    stop, lost, _unwritten = journal.start_logging(str(tmp_path))
    began = time.monotonic()
    for number in range(200):
        LOG.info("%d", number)
    assert time.monotonic() - began < 5  # nobody waited for the disk
    slow.set()
    stop()
    assert written[:5] == ["0", "1", "2", "3", "4"]
    assert len(written) <= 12  # the rest is dropped, not kept in memory
    assert lost() == 200 - len(written)


def test_a_full_disk_costs_events_until_one_fits_again(tmp_path):
    file = HistoryFile(str(tmp_path))
    wanted = iter(range(1, 10))

    def write():
        file.handle(logging.makeLogRecord({"msg": "verdict", **event("t", number=next(wanted))}))

    write()
    file.close()
    (tmp_path / "history.jsonl").rename(tmp_path / "before")
    (tmp_path / "history.jsonl").symlink_to("/dev/full")  # full(4): it takes no byte
    for _number in range(3):
        write()
    assert file.unwritten == "[Errno 28] No space left on device; 3 events are missing from it"
    (tmp_path / "history.jsonl").unlink()
    (tmp_path / "before").rename(tmp_path / "history.jsonl")
    write()
    assert (file.unwritten, file.lost) == ("", 3)
    (tmp_path / "history.jsonl").rename(tmp_path / "before")
    (tmp_path / "history.jsonl").symlink_to("/dev/full")
    file.close()
    write()
    assert file.unwritten.endswith("; 1 event is missing from it")
    assert [json.loads(line)["number"] for line in (tmp_path / "before").read_text().splitlines()] == [1, 5]


def test_a_line_that_a_full_disk_cut_off_has_an_end_before_the_next_one(tmp_path):
    def write(file, number):
        file.handle(logging.makeLogRecord({"msg": "verdict", **event("t", at=number)}))

    file = HistoryFile(str(tmp_path))
    write(file, 1)
    with (tmp_path / "history.jsonl").open("a", encoding="ascii") as stream:
        stream.write('{"kind": "verd')  # so much had room
    file.stream.close()
    write(file, 2)  # finds a file that it cannot write to
    write(file, 3)
    file.close()
    past = history_files.read(str(tmp_path))
    assert ([each["at"] for each in past.events], past.skipped) == ([1, 3], 1)


def test_the_service_learns_of_a_full_disk(tmp_path, capsys):
    (tmp_path / "history.jsonl").symlink_to("/dev/full")
    log = journal.start_logging(str(tmp_path))
    LOG.error("verdict: failed", extra=event("t"))
    log.stop()
    assert "No space left on device" in log.unwritten() and log.lost() == 1
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


def test_a_journal_that_hangs_costs_lines_and_gets_their_number_and_the_history_has_the_events(
    tmp_path, journald, monkeypatch, capsys
):
    monkeypatch.setattr(journal_socket, "WITHIN", 0.01)
    log = journal.start_logging(str(tmp_path / "state"))
    for number in range(500):  # more than the kernel queues (net.unix.max_dgram_qlen)
        LOG.info("line %d", number, extra=event("t", number=number))
    wait(lambda: len(history(tmp_path / "state")) == 500)
    lost = log.lost()
    assert lost > 0
    for _number in range(500 - lost):
        assert journald()["MESSAGE"].startswith("line ")
    LOG.info("the next one")
    log.stop()
    assert journald()["MESSAGE"] == "the next one"
    assert journald()["MESSAGE"] == (
        f"log: the journal took nothing for a while: {lost} lines are missing before this one"
    )
    assert log.lost() == lost
    assert capsys.readouterr().err == "", "stderr leads to the same journal"


def wait(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_line_that_neither_journal_nor_stderr_takes_is_counted(tmp_path, journald, monkeypatch):
    (tmp_path / "socket").unlink()
    (tmp_path / "socket").write_text("", encoding="ascii")
    with open("/dev/full", "wb", buffering=0) as full:  # full(4)
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(full, write_through=True))
        log = journal.start_logging(str(tmp_path / "state"))
        LOG.info("line")
        log.stop()
        assert log.lost() == 1


def test_the_ids_of_kinds_never_change():
    assert journal_socket.message_id("adopt") == "837d8d88f9715e7d9a02e3f796168765"
