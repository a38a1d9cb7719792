# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev mutate``: one line of JSON on stdout; progress, and at the end the survivors, on stderr.

A second call goes on where the first one ended. A verdict is kept in ``verdicts/`` while the function stays as it is.
A survivor is judged again once a test of its room has changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from .judge import ENGINE, ROOT, SEEDS, BaselineError, Judge
from .mutants import Mutant, mutants
from .results import Known, count, equivalents

ROOMS = ("policy", "act", "wire", "config")
TESTS = ROOT / "tests" / "unit" / "engine"
VERDICTS = Path(__file__).with_name(
    "verdicts"
)  # in the repository: a campaign takes hours, and lasts over many sittings
LISTS = ROOT / ".cache" / "mutate"
NICE = 15
TELL_EVERY_S = 20.0


def main() -> int:
    """0 judged (with survivors or without), 1 the tests fail without any mutant, 2 bad input."""
    parser = argparse.ArgumentParser(prog="./dev mutate", description=__doc__)
    parser.add_argument("--room", choices=ROOMS, action="append", help="of the engine; default: all four")
    parser.add_argument("--limit", type=int, metavar="N", help="judge at most N mutants in this call (0: only count)")
    asked = parser.parse_args()
    if asked.limit is not None and asked.limit < 0:
        parser.error(f"--limit: {asked.limit} is less than 0")
    os.nice(max(0, NICE - os.nice(0)))
    listed, left = equivalents(), sys.maxsize if asked.limit is None else asked.limit
    for room in asked.room or ROOMS:
        began = time.monotonic()
        of_room = [m for p in sorted((ENGINE / room).glob("*.py")) for m in mutants(p, f"{room}/{p.name}", LISTS)]
        of_room.sort(key=lambda mutant: mutant.key)  # in no order, so that half a run is a fair sample
        known = Known(VERDICTS / f"{room}.jsonl")
        try:
            left -= _judge(room, of_room, known, left)
        except BaselineError as error:
            print(f"{room}: the tests fail {error}", file=sys.stderr)
            return 1
        known.tidy({mutant.key for mutant in of_room})
        score, remarks = count(of_room, known, [entry for entry in listed if entry.file.startswith(f"{room}/")])
        print("\n".join(remarks), file=sys.stderr)
        seconds = round(time.monotonic() - began, 1)
        print(json.dumps({"room": room, **score.line(), "seconds": seconds, "commit": _commit()}), flush=True)
    return 0


def _judge(room: str, of_room: list[Mutant], known: Known, most: int) -> int:
    """Judge what has no verdict yet, at most so many; how many these were."""
    files = _tests(room)
    tests = _digest([*map(Path, files), *TESTS.glob("*_case.py"), *TESTS.glob("p*.py")], repr(SEEDS))
    missing = [mutant for mutant in of_room if not _judged(mutant, known, tests)]
    missing.sort(key=lambda mutant: known.row(mutant.key) is None)  # the survivors first: new tests are about them
    del missing[most:]
    if not missing:
        return 0
    judge = Judge(room, files)
    baseline = judge.prepare()
    _tell(f"{room}: {len(baseline.seconds)} tests, {len(missing)} of {len(of_room)} mutants to judge")
    began = told = time.monotonic()
    killed = 0
    for done, mutant in enumerate(missing, 1):
        verdict = judge.try_out(mutant)
        killed += verdict.outcome == "killed"
        row = {"key": mutant.key, "outcome": verdict.outcome}
        known.add(row | ({"by": verdict.by} if verdict.outcome == "killed" else {"tests": tests}))
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            minutes = (told - began) / done * (len(missing) - done) / 60
            _tell(f"{room}: {done} of {len(missing)} judged, {killed} killed; about {minutes:.0f} min to go")
    return len(missing)


def _judged(mutant: Mutant, known: Known, tests: str) -> bool:
    row = known.row(mutant.key)
    return row is not None and (row["outcome"] == "killed" or row["tests"] == tests)


def _tests(room: str) -> list[str]:
    """The unit tests of a room: the files that import it, by themselves or through a file beside them."""
    imports = {path.stem: _imports(path) for path in TESTS.glob("*.py")}
    of_room = {stem for stem, names in imports.items() if any(f"nat_failover.{room}" in name for name in names)}
    while more := {stem for stem, names in imports.items() if names & of_room} - of_room:
        of_room |= more
    return sorted(str((TESTS / f"{stem}.py").relative_to(ROOT)) for stem in of_room if stem.startswith("test_"))


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module or ''}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def _digest(paths: list[Path], besides: str) -> str:
    digest = hashlib.sha256(besides.encode())
    for path in sorted({(ROOT / each).resolve() for each in paths}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; the verdicts so far are kept, and the same command goes on from here")
