# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nat-failover status``: the problems first, then a table of nodes and one of routes."""

from __future__ import annotations

import argparse
import json
import sys
import time

from ..errors import NoAnswer
from ..model.problem import LEVELS, UNKNOWN
from ..model.screen import age, clock, headline, identities, nodes, routes
from ..model.text import plain
from .ask import Answer, ask
from .words import columns

CODES = {name: code for code, name in LEVELS.items()}
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def show(arguments: argparse.Namespace) -> int:
    """Print the status. Returns 0 well, 1 degraded, 2 critical, 3 unknown."""
    if arguments.watch is not None:
        return _watch(arguments)
    end = time.monotonic() + (arguments.wait or 0)
    while True:
        code, text = look(arguments)
        if code == 0 or time.monotonic() >= end:
            sys.stdout.write(text + "\n")
            return code
        time.sleep(0.5)


def _watch(arguments: argparse.Namespace) -> int:
    """Print it again and again until the operator interrupts."""
    while True:
        code, text = look(arguments)
        sys.stdout.write((CLEAR if sys.stdout.isatty() else "") + text + "\n")
        sys.stdout.flush()
        try:
            time.sleep(arguments.watch)
        except KeyboardInterrupt:
            return code


def look(arguments: argparse.Namespace) -> tuple[int, str]:
    """The exit code and the text of the status of now."""
    try:
        status = ask(arguments, {"do": "status"})
    except NoAnswer as error:
        if arguments.json:
            unknown = {"schema": 1, "level": LEVELS[UNKNOWN], "error": str(error)}
            return UNKNOWN, json.dumps(unknown, indent=2)
        return UNKNOWN, f"UNKNOWN: {plain(str(error))}"
    code = CODES.get(status.get("level", ""), UNKNOWN)
    if arguments.json:
        return code, json.dumps(status, indent=2)
    if "problems" not in status:
        return code, f"UNKNOWN: {plain(status['summary'])}; the service is of an older version, so restart it"
    lines = [brief(status)] if arguments.brief else full(status, arguments.all)
    return code, "\n".join(map(plain, lines))


def brief(status: Answer) -> str:
    """One line: the level, the node, the problems."""
    texts = [each["text"] for each in status["problems"] if each["level"] != "well"]
    place = f"{status['cluster']}/{status['node']}"
    return f"{status['level'].upper()} {place}: {'; '.join(texts) or status['summary']}"


def full(status: Answer, everything: bool) -> list[str]:
    """The whole status. ``everything``: with facts, counters and all evidence."""
    lines = [f"{status['cluster']} on {status['node']}: {headline(status)}   {clock(status['at'])}"]
    for each in status["problems"]:
        lines += _problem(each)
    lines += columns(nodes(status))
    if status["claims"]:
        lines += columns(routes(status))
    if identities(status):
        lines += columns(identities(status))
    if status["witness"]:
        lines.append(f"  witness table {status['witness']}")
    lines += [f"  notice: {notice}" for notice in status["notices"]]
    if everything:
        lines += _all(status)
    return lines + _last(status)


def _problem(each: Answer) -> list[str]:
    mark = {"critical": "!", "degraded": "-", "well": " "}[each["level"]]
    since = "" if each["since_s"] is None else f" [for {age(each['since_s'])}]"
    return [f"{mark} {each['code']}: {each['text']}{since}", f"    do: {each['do']}"]


def _all(status: Answer) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in status["self"]["facts"].items())
    counters = ", ".join(f"{name} {value}" for name, value in sorted(status["counters"].items()))
    lines = [f"  facts: {facts}"] if facts else []  # a witness has none, and a service before its first check
    lines.append(f"  packets: {counters}")
    for peer in status["verdicts"]:
        lines.append(f"  {peer['peer']}, now: {peer['evidence']}")
        lines.append(f"  {peer['peer']}, at the verdict: {peer['evidence_then']}")
    return lines


def _last(status: Answer) -> list[str]:
    """The incident that goes on, or the last one since the start of the service."""
    now, last = status["incident"], status["last_incident"]
    if now:
        text = now.get("text", "").partition("; ")[0]  # none of a service that is older than this command
        began = f", it began with: {text}" if text else ""
        return [f"  incident {now['id']} goes on for {age(now['since_s'])}{began}"]
    if last:
        text = last["text"].partition("; ")[0]  # without the remedy of then
        return [f"  last  {text} ({age(last['lasted_s'])}; nat-failover history --incident {last['id']})"]
    return []
