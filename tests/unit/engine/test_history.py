# SPDX-License-Identifier: GPL-3.0-or-later
"""The past, from the files that a service leaves: also after a crash, and while it is down."""

from __future__ import annotations

import argparse
import json

import pytest

from nat_failover import cli
from nat_failover.console import completion, history, words
from nat_failover.errors import UsageError
from nat_failover.model import screen

from .standing import RAW

AT = 1_800_000_000.0  # 2027-01-15 08:00:00Z


def event(after, kind, text, incident="", **more):
    found = {"at": AT + after, "kind": kind, "text": text, **more}
    return {**found, "incident": incident} if incident else found


TAKEOVER = [
    event(0.0, "late", "nat-b: no heartbeat for 250 ms", "one", peer="nat-b"),
    event(0.4, "verdict", "nat-b is failed: it is silent", "one", peer="nat-b", verdict="failed", silent_ms=600),
    event(0.5, "adopt", "rtb-1 0.0.0.0/0 from nat-b: nat-b has failed; done in 90 ms", "one", action="adopt"),
    event(45.0, "fence", "mark nat-b: it has failed", "one", step="mark"),
    event(46.0, "fence", "stop nat-b: it has failed", "one", step="stop"),
    event(58.0, "incident_ended", "no problem is left after 53 s", "one", lasted_s=53.0),
]


@pytest.fixture
def left(tmp_path):
    """Writes files of a history, the newest first, and returns the arguments that find them."""
    (tmp_path / "config.json").write_text(json.dumps({**RAW, "state_directory": str(tmp_path)}))

    def write(*files):
        for number, events in enumerate(files):
            lines = [each if isinstance(each, str) else json.dumps(each) for each in events]
            name = f"history.jsonl.{number}" if number else "history.jsonl"
            (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def show(**given):
        known = {"since": "", "incident": "", "all": False, "follow": False, "format": "pretty"}
        known["config"] = str(tmp_path / "config.json")
        return history.show(argparse.Namespace(**{**known, **given}))

    return argparse.Namespace(write=write, show=show, folder=tmp_path)


def test_a_takeover_is_one_line(left, capsys):
    left.write(TAKEOVER)
    assert left.show() == 0
    assert capsys.readouterr().out.splitlines() == [
        "begin (UTC)           lasted  takeover  incident  what",
        "2027-01-15 08:00:00Z  53 s    0.70 s    one       nat-b is failed; 1 routes by adopt; fence: mark, stop",
    ]


def test_an_incident_whose_events_are_missing_tells_no_time_that_depends_on_them(left, capsys):
    """The disk was full from the verdict on, and took events again when the fence began."""
    numbered = [{**each, "seq": number} for number, each in enumerate(TAKEOVER, 7)]
    left.write([numbered[0], *numbered[3:]])
    left.show()
    line = capsys.readouterr().out.splitlines()[1]
    assert "0.70 s" not in line and line.endswith("; fence: mark, stop; 2 events are missing")


def test_a_takeover_that_an_older_version_wrote_is_the_same_line(left, capsys):
    left.write([{**each, "kind": "route"} if each["kind"] == "adopt" else each for each in TAKEOVER])
    left.show()
    assert capsys.readouterr().out.splitlines()[1].endswith("nat-b is failed; 1 routes by adopt; fence: mark, stop")


def test_tsv_has_a_line_for_each_incident_with_numbers_and_for_each_event_of_one(left, capsys):
    left.write(TAKEOVER)
    left.show(format="tsv")
    assert capsys.readouterr().out.splitlines() == [
        "begin\tlasted_s\ttakeover_s\tincident\tevents\ttext",
        "2027-01-15 08:00:00Z\t53.0\t0.700\tone\t6\tnat-b is failed; 1 routes by adopt; fence: mark, stop",
    ]
    left.show(format="tsv", incident="one")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and lines[0] == "at\tincident\tkind\tsubject\ttext"
    assert lines[2] == "2027-01-15 08:00:00Z\tone\tverdict\tnat-b\tnat-b is failed: it is silent"


@pytest.mark.parametrize("form", ["pretty", "tsv"])
def test_a_text_with_control_characters_makes_no_column_and_no_line(left, capsys, form):
    left.write([event(0.0, "verdict", "a\tb\nc\x1b[31m", "one")])
    left.show(format=form, incident="one")
    assert len(capsys.readouterr().out.splitlines()) == 2
    left.show(format=form)
    text = capsys.readouterr().out
    assert "\x1b" not in text and "a\tb" not in text


def append(left, *events, name="history.jsonl"):
    with (left.folder / name).open("a", encoding="utf-8") as file:
        file.write("".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in events))


@pytest.fixture
def happen(monkeypatch):
    """The events while there is no news, in order. Then the operator interrupts."""
    steps = []

    def sleep(_seconds):
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(history.time, "sleep", sleep)
    return steps


def test_following_prints_what_happens_from_now_on(left, capsys, happen):
    left.write(TAKEOVER[:2])
    whole = json.dumps(TAKEOVER[3]) + "\n"
    happen += [
        lambda: append(left, TAKEOVER[2]),
        lambda: append(left, whole[:20]),
        lambda: append(left, whole[20:], "no event\n"),
    ]
    assert left.show(follow=True) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2027-01-15 08:00:00Z  adopt: rtb-1 0.0.0.0/0 from nat-b: nat-b has failed; done in 90 ms",
        "2027-01-15 08:00:45Z  fence: mark nat-b: it has failed",
    ]


def test_following_begins_with_the_past_that_was_asked_for(left, capsys, happen):
    left.write(TAKEOVER[:3])
    left.show(follow=True, since="2027-01-15T08:00:00Z", format="json")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == TAKEOVER[:3]


def test_following_goes_on_with_the_next_file_and_waits_for_the_first_one(left, capsys, happen):
    def rotate():
        (left.folder / "history.jsonl").rename(left.folder / "history.jsonl.1")

    happen += [
        lambda: append(left, TAKEOVER[0]),
        rotate,
        lambda: append(left, TAKEOVER[1], name="history.jsonl.1"),
        lambda: append(left, TAKEOVER[2]),
    ]
    left.show(follow=True, format="tsv")
    kinds = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["late", "verdict", "adopt"]


def test_an_incident_shows_its_phases(left, capsys):
    left.write(TAKEOVER)
    left.show(incident="last")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  takeover: 0.70 s from the first missing heartbeat to the first route"
    assert lines[3] == "  +    0.40  verdict: nat-b is failed: it is silent"


def test_older_files_come_before_newer_ones(left, capsys):
    left.write(TAKEOVER[3:], TAKEOVER[:3])
    left.show(format="json")
    [found] = json.loads(capsys.readouterr().out)["incidents"]
    assert [each["kind"] for each in found["events"]] == [each["kind"] for each in TAKEOVER]


def test_broken_lines_are_skipped_and_counted(left, capsys):
    broken = [
        '{"at": 1800000',
        "\x00\x00",
        "[]",
        '{"kind": 1, "text": "", "at": 1}',
        '{"kind":"x","text":"y","at":"z"}',
    ]
    left.write([*broken, "[" * 100000, *TAKEOVER])
    left.show(format="json")
    found = json.loads(capsys.readouterr().out)
    assert (found["skipped"], len(found["incidents"]), found["schema"]) == (6, 1, 1)


def test_an_incident_that_a_restart_cut_off_says_so(left, capsys):
    left.write([*TAKEOVER[:3], event(9, "started", "nat-a of cluster prod")])
    left.show()
    assert "(restart)" in capsys.readouterr().out


def test_an_incident_without_an_end_lasts_until_now_and_is_shown_whatever_its_age(left, capsys, monkeypatch):
    """A disk or a journal that takes nothing leaves no later event."""
    monkeypatch.setattr(history.time, "time", lambda: AT + 5000.0)
    left.write(TAKEOVER[:4])
    left.show(since="5m")
    assert "1h23m (goes on)" in capsys.readouterr().out
    left.show(format="json")
    [row] = json.loads(capsys.readouterr().out)["incidents"]
    assert (row["until"], row["lasted_s"]) == (None, 5000.0)


def test_late_heartbeats_and_single_events_are_shown_on_demand(left, capsys):
    left.write([TAKEOVER[0], event(1, "late_ended", "again", "one"), event(2, "reloaded", "2 nodes")])
    left.show()
    assert capsys.readouterr().out == "no incident\n"
    left.show(all=True)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_since_leaves_out_what_ended_before(left, capsys, monkeypatch):
    later = [{**each, "at": each["at"] + 3600, "incident": "two"} for each in TAKEOVER]
    left.write([*TAKEOVER, *later])
    monkeypatch.setattr(history.time, "time", lambda: AT + 7200)
    left.show(since="90m", format="json")
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["incidents"]] == ["two"]


def test_text_of_the_files_cannot_steer_the_terminal(left, capsys):
    left.write([event(0, "verdict", "x\x1b[31m\ny", "one\x1b"), event(1, "dark", "d\x07", "one\x1b")])
    left.show()
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", AT - 90),
        ("2h", AT - 7200),
        ("2027-01-15", AT - 28800),
        ("2027-01-15T08:00:00Z", AT),
        ("2027-01-15T08:00Z", AT),
    ],
)
def test_times_that_an_operator_may_write(text, at):
    assert words.moment(text, AT) == at


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 hours", "2027-13-01", "now", "9" * 40 + "d"])
def test_times_that_are_none(text):
    with pytest.raises(UsageError, match="is no time; write e.g. 90s"):
        words.moment(text, AT)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.25, "0.2 s"), (42.4, "42 s"), (182, "3m02s"), (7500, "2h05m"), (273600, "3d04h")],
)
def test_ages_are_short(seconds, text):
    assert screen.age(seconds) == text


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_completion_knows_each_command_and_each_flag(shell):
    commands = cli.build()[1]
    script = completion.script(shell, commands)
    for name, command in commands.items():
        assert name in script
        assert all(flag in script for flag in command._option_string_actions if flag.startswith("--"))
