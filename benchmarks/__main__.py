# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m benchmarks PART``: measure, and end with one line of JSON on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import faults, outage, report

QUICK, FULL = 3, 30


def main(arguments: list[str] | None = None) -> int:
    """0 measured, 1 a measurement failed, 2 bad input."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "part", choices=("outage", "faults", "report"), help="what to measure; report: write docs/benchmarks.md"
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs of each instead of {FULL}")
    parser.add_argument("--runs", type=int, help="so many runs of each")
    parser.add_argument("--fresh", action="store_true", help="measure all anew instead of adding what is missing")
    parser.add_argument(
        "--out", type=Path, help="file for the rows, instead of the one that the documentation is made of"
    )
    asked = parser.parse_args(arguments)
    if asked.part == "report":
        return _say({"part": "report", "files": report.write()})
    if os.geteuid() != 0:
        parser.error("the lab makes network namespaces: run this with sudo")
    if asked.part == "faults":  # each once; the options are those of outage
        return faults.main()
    runs = asked.runs if asked.runs is not None else QUICK if asked.quick else FULL
    if runs < 1:
        parser.error("--runs must be at least 1")
    store, failed = outage.run(runs, resume=not asked.fresh, path=asked.out)
    _say({"part": "outage", "runs": runs, "failed": failed, **report.figures(store.rows())})
    return 1 if failed else 0


def _say(line: dict[str, Any]) -> int:
    print(json.dumps(line, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
