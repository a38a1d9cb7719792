# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev test: run the stages of the table, several at a time where that is safe, and say plainly how it went."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devtool import apt, console, cores, first_run, interpreters, locking, paths, process, tree, venv
from devtool.choice import Choice
from devtool.count import Count
from devtool.stages import STAGES, TURNS, Job, Lane, Stage

TAIL_LINES = 40


@dataclass
class Report:
    """The results so far. Lines of two stages never mix."""

    count: Count = field(default_factory=Count)
    unfinished: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    def started(self, stage: Stage) -> None:
        """The header of a stage."""
        with self.guard:
            console.result(f"==> {stage.name}: {stage.what}")

    def ended(self, stage: Stage, count: Count, seconds: float) -> None:
        """Its counts; the tales of failed tests or else the end of its output, and where the rest is."""
        log = log_of(stage)
        with self.guard:
            self.count += count
            skipped = f", {count.skipped} skipped" if count.skipped else ""
            word = "FAILED" if count.failed else "ok"
            console.result(
                f"<== {stage.name}: {word}, {count.passed} passed, {count.failed} failed{skipped}"
                f" in {console.seconds(seconds)}, {console.seconds(process.worked(log))} of one core"
            )
            if not (count.failed or count.unsteady):
                return
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            for tale in count.tales or ("\n".join(text.splitlines()[-TAIL_LINES:]),):
                for line in tale.splitlines():
                    console.result(f"    | {line}")
            for name in count.names:
                console.result(f"    failed: {name}")
            console.result(f"    the whole output: {log}")


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0 only when something ran and nothing failed."""
    options = parse(arguments)
    chosen = choose(options.only, nightly=options.nightly)
    choice = Choice(options.k, options.nightly)
    with_lab = [stage.name for stage in chosen if stage.lab]
    if with_lab and os.geteuid() != 0:
        others = ",".join(stage.name for stage in STAGES if not stage.lab and stage.wanted())
        raise console.Refusal(
            f"the stages {', '.join(with_lab)} build networks and machines: run this with sudo\n"
            f"     or leave them out: ./dev test --only {others}"
        )
    if with_lab:
        first_run.prepare(apt.BESIDE)
    apt.ensure(apt.BASE)
    venv.ensure()
    began = time.monotonic()
    report = Report()
    with locking.exclusive("test"):
        tree.ensure_live_link()
        # Bytecode of what earlier tests wrote into folders that are no more.
        shutil.rmtree(paths.BYTECODE / tempfile.gettempdir().lstrip("/"), ignore_errors=True)
        _run_turns(chosen, choice, report)
    if report.unfinished:
        report.count += Count(failed=1, names=("interrupted",))
    console.result(f"--- {len(chosen)} stages in {console.seconds(time.monotonic() - began)}, {_worked()}")
    for name in report.count.unsteady:
        console.result(f"--- unsteady: {name} failed, and passed when it was played once more")
    if report.count.nightly:
        console.result(
            f"--- not run: {report.count.nightly} nightly tests, and long forms of stages: ./dev test --nightly"
        )
    for line in untried([stage.name for stage in chosen], interpreters.find, nightly=options.nightly):
        console.result(line)
    console.result(f"{report.count.passed} passed, {report.count.failed} failed")
    if report.unfinished:
        console.progress("interrupted: these are not all results")
        return 130
    return 0 if report.count.passed and not report.count.failed else 1


def _worked() -> str:
    """The time that all processes of the stages have kept a core busy: what is far below all cores' time was spent waiting."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"{console.seconds(spent.ru_utime + spent.ru_stime)} of one core"


def untried(
    stages: Sequence[str], find: Callable[[str], str | None], *, nightly: bool = False, here: str = ""
) -> list[str]:
    """A line for each Python that stages would have used and that is not on this machine. ``here``: the version of this one."""
    here = here or f"{sys.version_info.major}.{sys.version_info.minor}"
    others = interpreters.wanted(nightly=nightly)
    wanted = [(stage, version) for stage in ("unit", "sanity") for version in others if version != here]
    played = {"cores": cores.NEWEST, "cores-all": cores.ALL}
    wanted += [(stage, cores.CORES[core]) for stage, versions in played.items() for core in versions]
    # All stages, when none is named: then `cores` is left out for want of every interpreter, which counts as well.
    asked = {*stages, *(["cores"] if set(stages) > {"unit", "sanity"} else [])}
    lacking: dict[str, list[str]] = {}
    for stage, version in wanted:
        if stage in asked and find(version) is None:
            lacking.setdefault(version, []).append(stage)
    return [
        f"--- not run: {' and '.join(names)} with Python {version}, which is not here"
        for version, names in lacking.items()
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of ./dev test."""
    parser = argparse.ArgumentParser(
        prog="./dev test",
        description="Run the gates; the last line is the total.",
        epilog="stages: " + "; ".join(f"{stage.name} ({stage.what})" for stage in STAGES),
    )
    parser.add_argument("--only", metavar="STAGE[,STAGE...]", default="", help="run these stages only")
    parser.add_argument(
        "--nightly", action="store_true", help="every test and scenario, also those that take long for what they add"
    )
    parser.add_argument("-k", metavar="EXPRESSION", default="", help="passed to pytest; other stages run in full")
    return parser.parse_args(arguments)


def choose(only: str, *, nightly: bool = False) -> list[Stage]:
    """The stages to run, in the order of the table; an unknown name is refused. ``nightly``: those on demand in place of their short forms."""
    if not only and nightly:
        whole = {stage.name.removesuffix("-all") for stage in STAGES if stage.on_demand}
        return [stage for stage in STAGES if stage.can_run() and stage.name not in whole]
    if not only:
        return [stage for stage in STAGES if stage.wanted()]
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {stage.name for stage in STAGES}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise console.Refusal(f"--only {only}: no such stage; there are {', '.join(stage.name for stage in STAGES)}")
    return [stage for stage in STAGES if stage.name in names]


def log_of(stage: Stage) -> Path:
    """Where the output of a stage goes."""
    return paths.LOGS / f"{stage.name}.log"


def _run_turns(chosen: list[Stage], choice: Choice, report: Report) -> None:
    """One turn after the other, and the lane COMPUTE beside all of them."""

    def start(lane: Lane) -> threading.Thread:
        stages = [stage for stage in chosen if stage.lane is lane]
        thread = threading.Thread(target=_run_lane, args=(stages, choice, report, lane is Lane.COMPUTE))
        thread.start()
        return thread

    computing: list[threading.Thread] = []
    for lanes, timed in TURNS:
        reads = timed and any(stage.lane in lanes for stage in chosen)
        with process.on_a_clock() if reads else contextlib.nullcontext():
            computing = computing or [start(Lane.COMPUTE)]
            _join([start(lane) for lane in lanes])
    _join(computing)


def _join(threads: list[threading.Thread]) -> None:
    """Wait for all of them, a moment at a time, so that the main thread sees signals."""
    for thread in threads:
        while thread.is_alive():
            thread.join(timeout=0.5)


def _run_lane(lane: list[Stage], choice: Choice, report: Report, patient: bool) -> None:
    """One stage after the other; a failed stage does not keep the next from running."""
    if patient:
        process.be_patient()
    for stage in lane:
        if report.unfinished:
            return
        report.started(stage)
        began = time.monotonic()
        try:
            count = _run_stage(stage, choice)
        except process.Interrupted:
            report.unfinished = True
            return
        report.ended(stage, count, time.monotonic() - began)


def _run_stage(stage: Stage, choice: Choice) -> Count:
    """The stage's counts; too few passed tests, or a mistake of ./dev itself, is a failure as well."""
    log = log_of(stage)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    try:
        count = stage.call(Job(stage.name, log, stage.limit, choice))
    except console.Refusal as refusal:
        return Count(failed=1, names=(f"{stage.name}: {refusal}",))
    except process.Interrupted:
        raise
    except Exception as error:  # a stage that breaks must not hide the results of the others
        with log.open("a", encoding="utf-8") as sink:
            traceback.print_exc(file=sink)
        return Count(failed=1, names=(f"{stage.name}: {type(error).__name__}: {error}",))
    if count.passed < stage.least and not count.failed and not choice.expression:
        reason = f"{stage.name}: only {count.passed} passed, at least {stage.least} expected"
        return count + Count(failed=1, names=(reason,))
    return count
