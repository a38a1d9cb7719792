# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests on one mutant: in a fork of this process, which has all libraries loaded and nothing of the engine."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

from .mutants import Mutant, Span, span_at, spans

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "plugins" / "module_utils" / "nat_failover"
# Incidents of the simulation with the fast shell. These were drawn once, and stay: a score is compared with the next one.
SEEDS = (*range(24), *range(10**9, 10**9 + 6))
MEMORY = 2 << 30  # bytes
BASELINE_S = 900.0
LEAST_S = 20.0  # of CPU, for one mutant


class BaselineError(Exception):
    """The tests fail without any mutant."""


@dataclass
class Baseline:
    """The tests on the engine as it is: seconds by test, and by test the functions that it calls as ``file:function``."""

    seconds: dict[str, float]
    calls: dict[str, set[str]]
    at_import: set[str]  # called while modules are imported and tests are collected
    modules: list[str]  # libraries that get loaded
    total: float


@dataclass(frozen=True)
class Verdict:
    """``outcome``: killed or survived. ``by``: the test, the seed, or time."""

    outcome: str
    by: str = ""


@dataclass
class Judge:
    """``files``: the test files of the room. ``kills``: how often which test has killed a mutant of which file."""

    room: str
    files: list[str]
    kills: dict[str, dict[str, int]] = field(default_factory=dict)
    baseline: Baseline | None = None

    def prepare(self) -> Baseline:
        """Run all tests and seeds once without a mutant. Raises ``BaselineError``."""
        answer = _fork(lambda report: _measure(self.room, self.files, report), BASELINE_S, BASELINE_S)
        if answer is None or answer.get("failed"):
            raise BaselineError(f"without any mutant: {(answer or {}).get('failed', 'no end, or a crash')}")
        for name in answer["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        calls = {test: set(names) for test, names in answer["calls"].items()}
        self.baseline = Baseline(answer["seconds"], calls, set(answer["at_import"]), answer["modules"], answer["total"])
        return self.baseline

    def try_out(self, mutant: Mutant) -> Verdict:
        """Whether a test fails on this mutant."""
        assert self.baseline is not None
        tests = self._order(mutant)
        limit = LEAST_S + 3 * self.baseline.total
        answer = _fork(lambda report: _run(mutant, self.files, tests, report), limit, 4 * limit)
        if answer is None:
            return Verdict("killed", "time, memory or a crash")
        by = str(answer["by"])
        if by:
            kills = self.kills.setdefault(mutant.file, {})
            kills[by] = kills.get(by, 0) + 1
        return Verdict("killed" if by else "survived", by)

    def _order(self, mutant: Mutant) -> list[str]:
        """The tests that call the function of the mutant: first those that have killed others of its file, then the short ones."""
        assert self.baseline is not None
        where = f"{mutant.file}:{mutant.function}"
        everywhere = not mutant.function or where in self.baseline.at_import
        found = [test for test in self.baseline.seconds if everywhere or where in self.baseline.calls.get(test, ())]
        kills = self.kills.get(mutant.file, {})
        return sorted(found, key=lambda test: (-kills.get(test, 0), self.baseline.seconds[test]))  # type: ignore[union-attr]


class _Loader(importlib.machinery.SourceFileLoader):
    """A module of the engine with the source of a mutant."""

    def __init__(self, fullname: str, path: str, code: str) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> t.Any:
        """Never from a .pyc file."""
        return compile(self._code, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        path = ENGINE / mutant.file
        self._name = "nat_failover." + mutant.file.removesuffix(".py").replace("/", ".")
        self._name = self._name.removesuffix(".__init__")
        self._loader = _Loader(self._name, str(path), mutant.code(path.read_text(encoding="utf-8")))

    def find_spec(self, fullname: str, path: t.Any, target: t.Any = None) -> t.Any:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


class _Chosen:
    """A plugin of pytest: only these tests, in this order; the first failure is the last test."""

    def __init__(self, tests: list[str]) -> None:
        self._rank = {test: number for number, test in enumerate(tests)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[t.Any]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._rank), key=lambda item: self._rank[item.nodeid]
        )

    def pytest_collectreport(self, report: t.Any) -> None:
        if report.failed:
            self.failed = self.failed or f"import of {report.nodeid}"

    def pytest_runtest_logreport(self, report: t.Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid


class _Watch:
    """A plugin of pytest: how long each test takes, and which functions of a room it calls."""

    def __init__(self, room: str) -> None:
        self._files = {str(path): f"{room}/{path.name}" for path in (ENGINE / room).glob("*.py")}
        self._spans = {path: spans(Path(path).read_text(encoding="utf-8")) for path in self._files}
        self._names: dict[t.Any, str] = {}
        self.current: set[str] = set()
        self.calls: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}
        self.at_import: set[str] = set()
        self.failed = ""

    def profile(self, frame: t.Any, event: str, _argument: t.Any) -> None:
        """For sys.setprofile."""
        if event == "call":
            code = frame.f_code
            name = self._names.get(code)
            if name is None:
                name = self._names[code] = self._name(code.co_filename, code.co_firstlineno)
            if name:
                self.current.add(name)

    def _name(self, file: str, row: int) -> str:
        if file not in self._files:
            return ""
        span: Span | None = span_at(self._spans[file], row)
        return f"{self._files[file]}:{span.name}" if span else ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: t.Any) -> t.Generator[None, t.Any, t.Any]:
        if not self.at_import:
            self.at_import = {*self.current, ":"}
        self.current = set()
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - began
            self.calls[item.nodeid] = sorted(self.current)

    def pytest_collectreport(self, report: t.Any) -> None:
        if report.failed:
            self.failed = self.failed or f"import of {report.nodeid}: {report.longreprtext}"

    def pytest_runtest_logreport(self, report: t.Any) -> None:
        if report.failed:
            self.failed = self.failed or f"{report.nodeid}: {report.longreprtext}"


def _measure(room: str, files: list[str], report: t.Callable[[dict[str, t.Any]], None]) -> None:
    watch = _Watch(room)
    sys.setprofile(watch.profile)
    threading.setprofile(watch.profile)
    _pytest(files, watch)
    sys.setprofile(None)
    threading.setprofile(None)  # type: ignore[arg-type]
    failed = watch.failed or _seeds()
    ours = ("nat_failover", "tests", "engine", "__")
    modules = sorted(name for name in sys.modules if not name.startswith(ours))
    report(
        {
            "failed": failed,
            "seconds": watch.seconds,
            "calls": watch.calls,
            "at_import": sorted(watch.at_import),
            "modules": modules,
            "total": time.process_time(),
        }
    )


def _run(mutant: Mutant, files: list[str], tests: list[str], report: t.Callable[[dict[str, t.Any]], None]) -> None:
    sys.meta_path.insert(0, _Finder(mutant))
    needed = {test.partition("::")[0] for test in tests}
    chosen = _Chosen(tests)
    if tests:
        _pytest([file for file in files if file in needed], chosen)
    report({"by": chosen.failed or _seeds()})


def _pytest(files: list[str], plugin: object) -> None:
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "--timeout", "60", f"--rootdir={ROOT}"]
    pytest.main([*options, *files], plugins=[plugin])


def _seeds() -> str:
    """The first seed whose incident breaks a law, or ends with an exception; empty if none does."""
    try:
        from tests.simulation.incidents import play
    except Exception as error:  # pylint: disable=broad-except
        return f"import of the simulation: {type(error).__name__}"
    for seed in SEEDS:
        try:
            play(seed)
        except Exception as error:  # pylint: disable=broad-except
            return f"seed {seed}: {type(error).__name__}"
    return ""


def _fork(work: t.Callable[[t.Callable[[dict[str, t.Any]], None]], None], cpu_s: float, wall_s: float) -> t.Any:
    """The report of the work in a process of its own. None when that ends without a report or takes too long."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.close(source)
            _child(work, sink, cpu_s)
        finally:
            os._exit(1)
    os.close(sink)
    text = _read(source, time.monotonic() + wall_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads(text) if text else None


def _child(work: t.Callable[[t.Callable[[dict[str, t.Any]], None]], None], sink: int, cpu_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with open(os.devnull, "r+b") as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    hypothesis.settings.register_profile("mutation", database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("mutation")

    def report(answer: dict[str, t.Any]) -> None:
        with open(sink, "wb", closefd=False) as pipe:
            pipe.write(json.dumps(answer).encode() + b"\n")
        os._exit(0)

    work(report)


def _read(source: int, deadline: float) -> str:
    """One line, or nothing if it does not come in time."""
    text = b""
    with open(source, "rb", buffering=0) as pipe:
        while not text.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return ""
            more = pipe.read(65536)
            if not more:
                return ""
            text += more
    return text.decode()
