# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of this node on disk: events as JSON lines in a few files of bounded size.

It outlives restarts and crashes. A line that was cut off by one is skipped and counted.
"""

from __future__ import annotations

import json
import os
import typing as t

NAME = "history.jsonl"
FILE_BYTES = 1 << 20  # a longer file becomes history.jsonl.1
OLDER_FILES = 7  # kept beside the newest one
# Kinds whose lines must not be lost in a crash of the machine.
DURABLE = frozenset(
    ("verdict", "adopt", "return", "mend", "fence", "fenced_by", "dark", "paused", "unpaused", "draining", "ordered")
)
Event = dict[str, t.Any]


class Past(t.NamedTuple):
    """The events of the history, the oldest first."""

    events: list[Event]
    skipped: int  # lines that are no events


def path(directory: str) -> str:
    """The newest file of the history."""
    return os.path.join(directory, NAME)


def read(directory: str) -> Past:
    """The events on disk. Missing files are no error. Raises ``PermissionError``."""
    parts = [_read(directory, number) for number in range(OLDER_FILES, -1, -1)]
    return Past([event for part in parts for event in part.events], sum(part.skipped for part in parts))


def _read(directory: str, number: int) -> Past:
    """The events of one file. 0: the newest."""
    name = f"{path(directory)}.{number}" if number else path(directory)
    try:
        with open(name, encoding="utf-8", errors="replace") as lines:
            found = [_event(line) for line in lines if line.strip()]
    except FileNotFoundError:
        return Past([], 0)
    return Past([event for event in found if event is not None], found.count(None))


def follow(directory: str, wait: t.Callable[[], None]) -> t.Iterator[Event]:
    """The events from now on, as they are written; ``wait()`` is called while there is none.

    It goes on when a file is full and the next one begins. Raises ``OSError``.
    """
    stream = _open(directory)
    if stream is not None:
        stream.seek(0, os.SEEK_END)
    part, ended = "", False
    while True:
        line = stream.readline() if stream is not None else ""
        if line:
            part += line
            if part.endswith("\n"):
                event, part = _event(part), ""
                if event is not None:
                    yield event
            continue
        if stream is not None and not ended and _is_full(directory, stream):
            ended = True  # a last line may have come just before
            continue
        if stream is None or ended:
            if stream is not None:
                stream.close()
            stream, part, ended = _open(directory), "", False
            if stream is not None:
                continue
        wait()


def _open(directory: str) -> t.TextIO | None:
    """The newest file. None: there is none yet."""
    try:
        return open(path(directory), encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _is_full(directory: str, stream: t.TextIO) -> bool:
    """Whether another file is the newest one by now."""
    try:
        return not os.path.samestat(os.stat(path(directory)), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False  # between two files


def _event(line: str) -> Event | None:
    """The event of a line. None: it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(event, dict) and isinstance(event.get("kind"), str) and isinstance(event.get("text"), str)
    at = event.get("at") if good else None
    fits = isinstance(at, (int, float)) and not isinstance(at, bool) and 0 <= at < 1e11
    return event if fits else None


def last_seq(directory: str) -> int:
    """The number of the last event, so that a new service goes on with the next. 0: none is kept."""
    try:
        events = _read(directory, 0).events or _read(directory, 1).events
    except OSError:
        return 0
    return max((event["seq"] for event in events if isinstance(event.get("seq"), int)), default=0)


def mend_end(directory: str) -> None:
    """End a line that a crash cut off, so that the next event has a line of its own.

    Raises ``OSError``.
    """
    try:
        with open(path(directory), "rb+") as stream:
            if stream.seek(0, os.SEEK_END) == 0:
                return
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
    except FileNotFoundError:
        pass
