# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nat-failover history``: incidents with their phases, from the files that the service leaves."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import typing as t
from collections import Counter
from dataclasses import dataclass

from ..config import load as configuration
from ..errors import NotPermitted, UsageError
from ..model.screen import age, clock
from ..model.text import plain
from ..service import history
from ..service.history import Event
from .words import columns, moment, unknown

# Kinds that alone make no incident of interest.
MINOR = ("late", "late_ended", "incident_ended")
# The events by which an incident is known, the most telling first.
TELLING = ("fenced_by", "dark", "verdict", "draining", "withheld", "drift", "forwarding", "internet", "ec2", "failed")
# Kinds of events about a route that was changed. Older versions wrote "route" with its ``action``.
ROUTES = ("adopt", "mend", "return", "route")
SUBJECTS = ("peer", "route_table", "claim", "code")  # the keys of an event that name what it is about
LAST = "last"
FORMATS = ("pretty", "tsv", "json")
LOOK_EVERY = 0.5  # seconds between two looks for new events


@dataclass(frozen=True)
class Incident:
    """The events under one id, the oldest first. Empty id: one event on its own."""

    id: str
    events: tuple[Event, ...]
    told_at: float  # now, in seconds since 1970
    restarted: bool = False  # the service started anew before the incident had an end
    missing: int = 0  # events that the disk did not take, by the numbers of those around them

    @property
    def at(self) -> float:
        """Its begin, in seconds since 1970."""
        return float(self.events[0]["at"])

    @property
    def until(self) -> float | None:
        """Its end. None: it goes on, as far as the files tell."""
        last = self.events[-1]
        return float(last["at"]) if last["kind"] == "incident_ended" or self.restarted or not self.id else None

    @property
    def lasted(self) -> float:
        """Seconds until the last problem ended, or until the service ended. Until now if it goes on."""
        if self.until is None:
            return max(0.0, self.told_at - self.at)
        last = self.events[-1]
        return float(last.get("lasted_s", last["at"] - self.at))

    @property
    def minor(self) -> bool:
        """Whether nothing but late heartbeats happened."""
        return all(event["kind"] in MINOR for event in self.events)

    @property
    def text(self) -> str:
        """The incident in one line."""
        told = next((event for kind in TELLING for event in self.events if event["kind"] == kind), self.events[0])
        parts = [told["text"].partition(":")[0] if told["kind"] == "verdict" else told["text"]]
        taken = self._taken
        count = {kind: len([each for each in taken if each["action"] == kind]) for kind in ("adopt", "mend", "return")}
        parts += [f"{number} routes by {kind}" for kind, number in count.items() if number]
        steps = [str(event["step"]) for event in self.events if event["kind"] == "fence" and "step" in event]
        if steps:
            parts.append(f"fence: {', '.join(dict.fromkeys(steps))}")
        if self.missing:
            parts.append(f"{self.missing} events are missing")
        return "; ".join(parts)

    @property
    def _taken(self) -> list[Event]:
        """The routes that were changed."""
        return [event for event in self.events if event["kind"] in ROUTES and "action" in event]

    @property
    def takeover_s(self) -> float | None:
        """Seconds from the first missing heartbeat to the first route that was taken.

        None: none was, or an event in between may be missing.
        """
        if self.missing:
            return None
        silent = next((event for event in self.events if "silent_ms" in event), None)
        taken = [event for event in self._taken if event["action"] == "adopt"]
        if silent is None or not taken or taken[0]["at"] < silent["at"]:
            return None
        return round(float(taken[0]["at"] - silent["at"] + silent["silent_ms"] / 1000), 3)

    def row(self) -> dict[str, t.Any]:
        """The incident in types that JSON has."""
        return {
            "id": self.id,
            "at": self.at,
            "until": self.until,
            "lasted_s": round(self.lasted, 1),
            "restarted": self.restarted,
            "takeover_s": self.takeover_s,
            "missing": self.missing,
            "text": self.text,
            "events": list(self.events),
        }


def incidents(events: t.Sequence[Event], now: float) -> list[Incident]:
    """The events by incident, in the order of their begins. Events without an id stand alone.

    ``now``: in seconds since 1970.
    """
    groups: dict[str, list[Event]] = {}
    restarts: set[str] = set()
    missing: t.Counter[str] = Counter()
    current, before = "", 0
    for number, event in enumerate(events):
        found = event.get("incident")
        key = found if isinstance(found, str) and found else f"\x00{number}"
        groups.setdefault(key, []).append(event)
        seq = event.get("seq")
        if isinstance(seq, int):
            missing[key] += max(0, seq - before - 1) if before else 0
            before = seq
        if event["kind"] == "started" and current:
            restarts.add(current)
        current = "" if event["kind"] in ("incident_ended", "started") else current if key[0] == "\x00" else key
    return [
        Incident("" if key[0] == "\x00" else key, tuple(group), now, key in restarts, missing[key])
        for key, group in groups.items()
    ]


def show(arguments: argparse.Namespace) -> int:
    """Print the incidents. Returns 0. Raises ``UsageError`` for a time or an id that is none."""
    now = time.time()
    since = moment(arguments.since, now) if arguments.since else float("-inf")
    directory = configuration.load(arguments.config).state_directory
    try:
        past = history.read(directory)
    except PermissionError:
        remedy = "run this with sudo, or as a member of the group nat-failover"
        raise NotPermitted(f"{directory}: permission denied; {remedy}") from None
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror or error}; does the service keep its state there?") from None
    found = [each for each in incidents(past.events, now) if each.until is None or each.until >= since]
    if arguments.incident:
        found = [_chosen(found, arguments.incident)]
    elif not arguments.all:
        found = [each for each in found if each.id and not each.minor]
    if arguments.follow:
        return _follow(directory, arguments.format, past.events if arguments.since else [], since)
    if arguments.format == "tsv":
        lines = _tsv(found[0].events) if arguments.incident else _tsv_table(found)
        text = "\n".join(lines)
    elif arguments.format == "json":
        rows = {"schema": 1, "incidents": [each.row() for each in found], "skipped": past.skipped}
        text = json.dumps(rows, indent=2)
    else:
        lines = _phases(found[0]) if arguments.incident else _table(found)
        if past.skipped:
            lines.append(f"{past.skipped} lines of the history could not be read and were skipped")
        text = "\n".join(map(plain, lines))
    sys.stdout.write(text + "\n")
    return 0


def _follow(directory: str, form: str, past: t.Sequence[Event], since: float) -> int:
    """Print events, those of the past first, until the operator interrupts."""
    try:
        for event in itertools.chain(
            (each for each in past if each["at"] >= since), history.follow(directory, lambda: time.sleep(LOOK_EVERY))
        ):
            if form == "json":
                line = json.dumps(event)
            else:
                line = _tsv_row(event) if form == "tsv" else f"{clock(event['at'])}  {event['kind']}: {event['text']}"
            sys.stdout.write(_one_line(line) + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    return 0


def _one_line(line: str) -> str:
    """A line without control characters but the tabs between columns."""
    return "\t".join(map(plain, line.split("\t")))


def _tsv_row(event: Event) -> str:
    """One event: the moment, the incident, the kind, the subject and the text."""
    subject = next((str(event[key]) for key in SUBJECTS if event.get(key)), "")
    cells = (clock(event["at"]), str(event.get("incident", "")), event["kind"], subject, event["text"])
    return "\t".join(plain(cell) for cell in cells)


def _tsv(events: t.Sequence[Event]) -> list[str]:
    """Events under headings."""
    return ["at\tincident\tkind\tsubject\ttext", *map(_tsv_row, events)]


def _tsv_table(found: t.Sequence[Incident]) -> list[str]:
    """Incidents under headings, the newest first, with numbers in place of words."""
    rows = ["begin\tlasted_s\ttakeover_s\tincident\tevents\ttext"]
    for each in reversed(found):
        took = "" if each.takeover_s is None else f"{each.takeover_s:.3f}"
        cells = (clock(each.at), f"{each.lasted:.1f}", took, each.id, str(len(each.events)), each.text)
        rows.append("\t".join(plain(cell) for cell in cells))
    return rows


def _chosen(found: t.Sequence[Incident], wanted: str) -> Incident:
    """One incident by its id, or the last one."""
    by_id = {each.id: each for each in found if each.id}
    if wanted == LAST and by_id:
        return max(by_id.values(), key=lambda each: (not each.minor, each.at))
    if wanted not in by_id:
        raise unknown("incident", wanted, list(by_id)[-5:])
    return by_id[wanted]


def _table(found: t.Sequence[Incident]) -> list[str]:
    """A line for each incident, the newest first."""
    if not found:
        return ["no incident"]
    rows = [["begin (UTC)", "lasted", "takeover", "incident", "what"]]
    for each in reversed(found):
        goes_on = " (restart)" if each.restarted else " (goes on)" if each.until is None else ""
        took = "" if each.takeover_s is None else f"{each.takeover_s:.2f} s"
        rows.append([clock(each.at), age(each.lasted) + goes_on, took, each.id or "-", each.text])
    return columns(rows, "")


def _phases(each: Incident) -> list[str]:
    """One incident, an event on each line, with the seconds since its begin."""
    lines = [f"{each.id}  {clock(each.at)}  {each.text}"]
    if each.takeover_s is not None:
        lines.append(f"  takeover: {each.takeover_s:.2f} s from the first missing heartbeat to the first route")
    return lines + [f"  +{event['at'] - each.at:8.2f}  {event['kind']}: {event['text']}" for event in each.events]
