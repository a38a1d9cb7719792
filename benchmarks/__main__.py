# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m benchmarks PART``: measure, and end with one line of JSON on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import campaign, compare, faults, report
from .parts import PARTS


def main(arguments: list[str] | None = None) -> int:
    """0 measured, 1 a measurement failed, 2 bad input."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "part",
        choices=(*PARTS, "faults", "all", "compare", "report"),
        help="what to measure; all: everything but faults; compare: with the run before; report: write docs/benchmarks.md",
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions: everything in half an hour")
    parser.add_argument("--fresh", action="store_true", help="measure all anew instead of adding what is missing")
    parser.add_argument(
        "--out", type=Path, help="file for the rows, instead of the one that the documentation is made of"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of one part, the measurements with this value, such as case=return; may be repeated",
    )
    asked = parser.parse_args(arguments)
    if asked.part == "report":
        return _say({"part": "report", "files": report.write()})
    if asked.part == "compare":
        return _compare()
    if asked.part != "alarms" and os.geteuid() != 0:
        parser.error("the lab makes network namespaces: run this with sudo")
    if asked.part == "faults":  # each once; the options are those of the others
        return faults.main()
    if asked.part == "all" and (asked.out is not None or asked.only):
        parser.error("--out and --only are for one part")
    wanted = PARTS.values() if asked.part == "all" else (PARTS[asked.part],)
    failures = 0
    for part in wanted:
        try:
            store, failed = campaign.run(
                part, quick=asked.quick, resume=not asked.fresh, path=asked.out, only=asked.only
            )
        except ValueError as error:
            parser.error(f"--only: {error}")
        failures += failed
        rows = store.rows()
        _say({"part": part.name, "failed": failed, "figures": part.figures(rows), **part.facts(rows)})
    if asked.part == "all":
        _say({"part": "report", "files": report.write()})
    return 1 if failures else 0


def _compare() -> int:
    """A table on stderr, the worse ones on stdout; 1 if there are any."""
    lines = [line for part in PARTS.values() for line in compare.lines(part)]
    print(compare.markdown(lines) or "no part was measured twice yet", file=sys.stderr)
    worse = [line.name for line in lines if line.worse]
    _say({"part": "compare", "figures": len(lines), "worse": worse})
    return 1 if worse else 0


def _say(line: dict[str, Any]) -> int:
    print(json.dumps(line, sort_keys=True), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; what was measured is kept: the same command, without --fresh, goes on from here")
