# SPDX-License-Identifier: GPL-3.0-or-later
"""Stages that are pytest runs, counted from the JUnit file that pytest writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from devtool import console, count, environment, interpreters, paths, process, venv
from devtool.choice import USUAL, Choice
from devtool.count import Count

NOTHING_COLLECTED = 5
# So many failed tests of a stage on a real clock may be the machine's; more are the product's, and nothing is played again.
FEW = 2
ENGINE_TESTS = "tests/unit/engine"
NODE_REQUIREMENTS = paths.ROOT / "tests" / "requirements-nodes.txt"


def run(
    log: Path,
    folders: list[str],
    *,
    limit: float,
    choice: Choice = USUAL,
    python: Path = paths.PYTHON,
    append: bool = False,
    failed_before: bool = False,
    without: Sequence[str] = (),
) -> Count:
    """Run pytest over folders or files; a missing one, an empty collection or a crash is a failure of its own.

    ``without``: folders below these that another run takes. ``failed_before``: only the tests that failed in the run before, by the same log.
    """
    absent = [name for name in folders if not (paths.ROOT / name).exists()]
    if absent:
        return Count(failed=len(absent), names=tuple(f"{name}: not there" for name in absent))
    version = "" if python == paths.PYTHON else f"-{python.parents[1].name}"
    report = log.with_name(f"{log.stem}{version}{'.again' if failed_before else ''}.xml")
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
        *choice.flags(),
        *(["--last-failed", "--last-failed-no-failures=none"] if failed_before else []),
        *(f"--ignore={name}" for name in without),
        *folders,
    ]
    mark = log.stat().st_size if append and log.exists() else 0
    outcome = process.run(
        argv, log=log, cwd=paths.ROOT, limit=limit, env=environment.for_log(), title=log.stem + version, append=append
    )
    seen = count.of_junit([report]) if report.exists() else Count()
    if choice.leaves_nightly and not failed_before:
        seen += Count(nightly=count.deselected(log.read_bytes()[mark:].decode(errors="replace")))
    if outcome.code == NOTHING_COLLECTED and (choice.expression or seen.nightly):
        return seen
    if outcome.code and not seen.failed:
        reason = {NOTHING_COLLECTED: "nothing was collected", 124: "ran out of time"}
        seen += Count(failed=1, names=(f"pytest: {reason.get(outcome.code, f'exit code {outcome.code}')}",))
    return seen


def run_timed(log: Path, folders: list[str], *, limit: float, choice: Choice = USUAL) -> Count:
    """The same for tests on a real clock, kernel and network: a few that failed are played once more, and reported as unsteady."""
    seen = run(log, folders, limit=limit, choice=choice)
    return second_try(seen, lambda: run(log, folders, limit=limit, append=True, failed_before=True))


def second_try(seen: Count, again: Callable[[], Count]) -> Count:
    """The count after a second try of a few failed tests. Each of them must pass then; otherwise the first result stands.

    The tales of both tries are kept: the second one may have failed for another reason.
    """
    if not 0 < seen.failed <= FEW:
        return seen
    console.progress(f"played once more: {', '.join(seen.names)}")
    tried = again()
    if tried.failed or tried.skipped or tried.passed < seen.failed:
        return replace(seen, tales=seen.tales + tried.tales)
    passed = max(tried.passed, seen.passed + seen.failed)  # a scenario's later steps are counted in its second try only
    return Count(passed, 0, seen.skipped, unsteady=seen.names, tales=seen.tales, nightly=seen.nightly)


def run_beside(
    log: Path, folder: str, *, lanes: int, limit: float, choice: Choice = USUAL, first: Sequence[str] = ()
) -> Count:
    """The same with a process for each file, ``lanes`` of them at a time: for tests that wait more than they work.

    ``first``: the files that take long, so that none of them is the last one. A file's output joins the stage's when it is complete.
    A few failed tests are played once more when all else is over, as by ``run_timed``.
    """
    names = [*first, *sorted({file.name for file in (paths.ROOT / folder).glob("test_*.py")} - set(first))]
    end, guard = time.monotonic() + limit, threading.Lock()

    def run_file(name: str, failed_before: bool = False) -> Count:
        own = log.with_name(f"{log.stem}.{name.removesuffix('.py')}.log")
        left = max(1.0, end - time.monotonic())
        try:
            return run(own, [f"{folder}/{name}"], limit=left, choice=choice, failed_before=failed_before)
        finally:
            if own.exists():
                with guard, log.open("ab") as sink:
                    sink.write(own.read_bytes())

    with ThreadPoolExecutor(lanes) as pool:
        seen = dict(zip(names, pool.map(run_file, names), strict=True))
    unlucky = [name for name, count in seen.items() if count.failed]
    return second_try(sum(seen.values(), Count()), lambda: sum((run_file(name, True) for name in unlucky), Count()))


def run_everywhere(log: Path, folders: list[str], *, limit: float, choice: Choice = USUAL) -> Count:
    """The same in the main environment and under the oldest Python, nightly under each other one of this machine, with what a NAT node has.

    The engine's tests are the same under each. Only nightly, or without the oldest one, the main environment plays them, too.
    """
    others = interpreters.wanted(nightly=choice.nightly)
    twice = choice.nightly or not any(interpreters.find(version) for version in others)
    total = run(log, folders, limit=limit, choice=choice, without=() if twice else (ENGINE_TESTS,))
    if not all((paths.ROOT / name).is_dir() for name in folders):
        return total
    for version in others:
        interpreter = interpreters.find(version)
        if interpreter is None:
            with log.open("a", encoding="utf-8") as sink:
                sink.write(f"\nno Python {version} on this machine: not run under it\n")
            continue
        python = venv.ensure_small(f"py{version}", interpreter, NODE_REQUIREMENTS)
        total += run(log, folders, limit=limit, choice=choice, python=python, append=True)
    return total
