# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev simulate``: one line of JSON on stdout, progress on stderr. Exit code 1 if a law was broken (or a broken policy went unnoticed)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from . import pieces
from .broken import BROKEN
from .campaign import campaign, hunts
from .fastest import WARM, become, tune
from .incidents import play, story
from .shells import FAST, REAL, shell_of
from .violation import Violation

TELL_EVERY = 5.0  # seconds
# By shell and policy: the number of an incident that has caught it. The search for it takes minutes, its replay a moment.
CAUGHT = Path(__file__).with_name("caught.json")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="simulate", description=sys.modules[__package__ or ""].__doc__)
    parser.add_argument("--incidents", type=int, default=2000, metavar="N", help="how many (default: 2000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first one (default: 0)")
    parser.add_argument(
        "--nodes", type=int, metavar="N", help="of clusters of at most N nodes; other seeds are passed over"
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one for each processor)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell the story of one incident")
    parser.add_argument(
        "--broken", action="store_true", help="show how many incidents it takes to catch each broken policy"
    )
    parser.add_argument(
        "--known", action="store_true", help="with --broken: begin with the incident that is recorded for each"
    )
    parser.add_argument(
        "--record", action="store_true", help="with --broken: record the incident that catches each, in caught.json"
    )
    parser.add_argument(
        "--campaign", action="store_true", help="play the next N incidents of the campaign, and record each piece of it"
    )
    parser.add_argument(
        "--total", action="store_true", help="write the totals of the campaign into docs/safety.md, and play nothing"
    )
    parser.add_argument(
        "--shell",
        choices=(REAL, FAST),
        default=REAL,
        help="the shipping service on virtual time, or a fast model of it (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.shell)
    if arguments.total:
        return _total()
    if arguments.incidents < 1:
        parser.error("--incidents: at least 1")
    if arguments.nodes is not None and arguments.nodes < 2:
        parser.error("--nodes: a cluster has at least 2")
    if arguments.nodes is not None and (arguments.campaign or arguments.broken):
        parser.error("--nodes: --campaign and --broken choose their clusters themselves")
    become(arguments.incidents, WARM[arguments.shell])
    tune()  # here, where the sizes of clusters are drawn from their seeds, and in the processes that play, which are forks
    if arguments.campaign:
        return _campaign(arguments)
    return _broken(arguments) if arguments.broken else _many(arguments)


def _replay(seed: int, shell: str) -> int:
    try:
        text, broken = story(play(seed, shell_of(shell))), 0
    except Violation as violation:
        text, broken = str(violation), 1
    sys.stderr.write(text + "\n")
    print(json.dumps({"seed": seed, "violations": broken}))
    return broken


def _many(arguments: argparse.Namespace) -> int:
    began = told = time.monotonic()
    done, violations, first = 0, 0, None
    chosen = (arguments.first, arguments.incidents, arguments.jobs, arguments.shell, arguments.nodes)
    for played, found, _cpu in campaign(*chosen):
        done += played
        violations += len(found)
        for seed, text in found:
            sys.stderr.write(f"seed {seed}: {text.splitlines()[0] if first is not None else text}\n")
            first = seed if first is None else first
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            rate = done / (told - began)
            left = (arguments.incidents - done) / rate
            sys.stderr.write(f"{done} incidents, {violations} violations, {rate:.0f} a second, {left:.0f} s left\n")
    seconds = round(time.monotonic() - began, 1)
    result = {"shell": arguments.shell, "incidents": done, "violations": violations, "seconds": seconds}
    print(json.dumps({**result, "first_failing_seed": first}))
    return 1 if violations else 0


def _campaign(arguments: argparse.Namespace) -> int:
    violations = 0
    for piece in pieces.play_on(arguments.incidents, arguments.shell, arguments.jobs):
        violations += piece["violations"]
        for text in piece.pop("stories"):
            sys.stderr.write(text + "\n")
        print(json.dumps(piece), flush=True)
    return 1 if violations else 0


def _total() -> int:
    rows = pieces.STORE.rows()
    pieces.PAGE.write_text(pieces.renewed(pieces.PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    print(json.dumps({"pieces": len(rows), "engine": pieces.engine(), "page": str(pieces.PAGE)}))
    return 0


def _broken(arguments: argparse.Namespace) -> int:
    recorded = json.loads(CAUGHT.read_text(encoding="utf-8"))
    known = recorded.get(arguments.shell, {}) if arguments.known else {}
    caught = hunts(sorted(BROKEN), arguments.incidents, arguments.shell, known)
    for name, (number, violation) in caught.items():
        result = f"caught by incident {number}: {violation}" if number else f"NOT CAUGHT in {arguments.incidents}"
        sys.stderr.write(f"{name:20} {BROKEN[name][0]}\n{'':20} {result}\n")
        if known and number != known.get(name):
            sys.stderr.write(f"{'':20} not by the recorded one, {known.get(name)}: ./dev simulate --broken --record\n")
    numbers = {name: number for name, (number, _violation) in caught.items()}
    if arguments.record:
        CAUGHT.write_text(json.dumps({**recorded, arguments.shell: numbers}, indent=2) + "\n", encoding="utf-8")
    missed = [name for name, number in numbers.items() if number is None]
    print(json.dumps({"broken": numbers, "missed": missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
