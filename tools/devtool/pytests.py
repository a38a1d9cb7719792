# SPDX-License-Identifier: GPL-3.0-or-later
"""Stages that are pytest runs, counted from the JUnit file that pytest writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devtool import count, environment, interpreters, paths, process, venv
from devtool.count import Count

NOTHING_COLLECTED = 5
NODE_REQUIREMENTS = paths.ROOT / "tests" / "requirements-nodes.txt"


def run(
    log: Path,
    folders: list[str],
    *,
    limit: float,
    expression: str = "",
    python: Path = paths.PYTHON,
    append: bool = False,
) -> Count:
    """Run pytest over folders or files; a missing one, an empty collection or a crash is a failure of its own."""
    absent = [name for name in folders if not (paths.ROOT / name).exists()]
    if absent:
        return Count(failed=len(absent), names=tuple(f"{name}: not there" for name in absent))
    version = "" if python == paths.PYTHON else f"-{python.parents[1].name}"
    report = log.with_name(f"{log.stem}{version}.xml")
    report.unlink(missing_ok=True)
    argv = [
        str(python),
        "-m",
        "pytest",
        f"--junitxml={report}",
        "-o",
        "junit_family=xunit2",
        "--color=no",
        "-o",
        f"cache_dir={paths.CACHE / 'pytest' / log.stem}",  # runs beside each other share no file
        *(["-k", expression] if expression else []),
        *folders,
    ]
    outcome = process.run(
        argv, log=log, cwd=paths.ROOT, limit=limit, env=environment.for_log(), title=log.stem + version, append=append
    )
    seen = count.of_junit([report]) if report.exists() else Count()
    if outcome.code == NOTHING_COLLECTED and expression:
        return seen
    if outcome.code and not seen.failed:
        reason = {NOTHING_COLLECTED: "nothing was collected", 124: "ran out of time"}
        seen += Count(failed=1, names=(f"pytest: {reason.get(outcome.code, f'exit code {outcome.code}')}",))
    return seen


def run_beside(
    log: Path, folder: str, *, lanes: int, limit: float, expression: str = "", first: Sequence[str] = ()
) -> Count:
    """The same with a process for each file, ``lanes`` of them at a time: for tests that wait more than they work.

    ``first``: the files that take long, so that none of them is the last one. A file's output joins the stage's when it is complete.
    """
    names = [*first, *sorted({file.name for file in (paths.ROOT / folder).glob("test_*.py")} - set(first))]
    end, guard = time.monotonic() + limit, threading.Lock()

    def run_file(name: str) -> Count:
        own = log.with_name(f"{log.stem}.{name.removesuffix('.py')}.log")
        try:
            return run(own, [f"{folder}/{name}"], limit=max(1.0, end - time.monotonic()), expression=expression)
        finally:
            if own.exists():
                with guard, log.open("ab") as sink:
                    sink.write(own.read_bytes())

    with ThreadPoolExecutor(lanes) as pool:
        return sum(pool.map(run_file, names), Count())


def run_everywhere(log: Path, folders: list[str], *, limit: float, expression: str = "") -> Count:
    """The same in the main environment and under each other Python of this machine, with what a NAT node has."""
    total = run(log, folders, limit=limit, expression=expression)
    if not all((paths.ROOT / name).is_dir() for name in folders):
        return total
    for version in interpreters.OTHERS:
        interpreter = interpreters.find(version)
        if interpreter is None:
            with log.open("a", encoding="utf-8") as sink:
                sink.write(f"\nno Python {version} on this machine: not run under it\n")
            continue
        python = venv.ensure_small(f"py{version}", interpreter, NODE_REQUIREMENTS)
        total += run(log, folders, limit=limit, expression=expression, python=python, append=True)
    return total
