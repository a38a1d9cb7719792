# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command with its output in a log, a time limit, and an orderly end at an interrupt."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtool import console

TICK_SECONDS = 30.0
GRACE_SECONDS = 40.0

_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()
_stopping = threading.Event()
_worked: dict[Path, float] = {}  # seconds of one core, by the log of the commands
_patient: set[int] = set()  # commands that work only where others wait, while _clocks are read
_clocks = threading.Event()
_thread = threading.local()
BEHIND = 19  # niceness


class Interrupted(Exception):
    """The operator has stopped ./dev; every child has been told."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and after how many seconds. A command that ran out of time has code 124."""

    code: int
    seconds: float
    log: Path

    def text(self) -> str:
        """All that the command has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def worked(log: Path) -> float:
    """Seconds for which the commands with this log, or with one of its parts (``e2e.test_drain.log`` of ``e2e.log``), have kept a core busy.

    A process counts once its parent has waited for it. A daemon that left its parent does not; a machine of the lab is no daemon.
    """
    with _guard:
        return sum(
            seconds
            for of, seconds in _worked.items()
            if of == log or (of.parent == log.parent and of.name.startswith(f"{log.stem}."))
        )


def be_patient() -> None:
    """Commands of this thread leave the processors to all others, as long as these are on a real clock."""
    _thread.patient = True


@contextlib.contextmanager
def on_a_clock() -> Iterator[None]:
    """While inside, commands of other threads wait for packets in real time, and patient ones give way."""
    _clocks.set()
    try:
        yield
    finally:
        with _guard:
            _clocks.clear()
            for number in _patient:
                _be_nice(number, os.getpriority(os.PRIO_PROCESS, 0))


def _be_nice(leader: int, niceness: int) -> None:
    """The niceness of a session. Where the kernel groups tasks by session, that of its processes counts among themselves only (sched(7))."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, leader, niceness)
    with contextlib.suppress(OSError):
        Path(f"/proc/{leader}/autogroup").write_text(str(niceness), encoding="ascii")


def run(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    limit: float,
    env: Mapping[str, str] | None = None,
    title: str,
    append: bool = False,
) -> Outcome:
    """Run a command in a process group of its own; say every half minute that it is still at work."""
    if _stopping.is_set():
        raise Interrupted
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("ab" if append else "wb") as sink:
        sink.write(("$ " + " ".join(argv) + "\n").encode())
        sink.flush()
        with _guard:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env) if env is not None else None,
                start_new_session=True,
            )
            _running.add(child)
            if getattr(_thread, "patient", False):
                _patient.add(child.pid)
                if _clocks.is_set():
                    _be_nice(child.pid, BEHIND)
        try:
            code = _wait(child, log, began=began, limit=limit, title=title)
        except BaseException:
            _end(child, log)
            raise
        finally:
            with _guard:
                _running.discard(child)
                _patient.discard(child.pid)
    if _stopping.is_set():
        raise Interrupted
    return Outcome(code, time.monotonic() - began, log)


def _wait(child: subprocess.Popen[bytes], log: Path, *, began: float, limit: float, title: str) -> int:
    """Wait for the child up to its limit."""
    while True:
        spent = time.monotonic() - began
        code = _code(child, log, max(0.1, min(TICK_SECONDS, limit - spent)))
        if code is not None:
            return code
        spent = time.monotonic() - began
        if spent >= limit:
            console.progress(f"{title}: no end after {limit:.0f} s, stopping it")
            _end(child, log)
            return 124
        if not _stopping.is_set():
            console.progress(f"{title}: still at work after {console.seconds(spent)}")


def _code(child: subprocess.Popen[bytes], log: Path, seconds: float) -> int | None:
    """The exit code of a child that ends within some seconds; its work is written down. None while it goes on."""
    if child.returncode is None:
        number = os.pidfd_open(child.pid)
        try:
            if not select.select([number], [], [], seconds)[0]:
                return None
        finally:
            os.close(number)
        # Popen's own wait does not say what the child has used.
        status, usage = os.wait4(child.pid, 0)[1:]
        child.returncode = os.waitstatus_to_exitcode(status)
        with _guard:
            _worked[log] = _worked.get(log, 0.0) + usage.ru_utime + usage.ru_stime
    return child.returncode


def _end(child: subprocess.Popen[bytes], log: Path) -> None:
    """Stop a child and all it has started: ask first, so that it can clean up; then insist."""
    for number, grace in ((signal.SIGINT, GRACE_SECONDS), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        if _code(child, log, grace) is not None:
            return


@contextlib.contextmanager
def orderly_interrupts() -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM let the children clean up before the end."""

    def stop(number: int, frame: object) -> None:
        """Pass the wish to stop on to every child."""
        first = not _stopping.is_set()
        _stopping.set()
        if first:
            console.progress("stopping; what runs may clean up first")
        # No lock here: this runs in the main thread, which may hold it.
        for child in tuple(_running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT if first else signal.SIGKILL)
        if not _running:
            raise KeyboardInterrupt

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
