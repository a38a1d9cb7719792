# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command with its output in a log, a time limit, and an orderly end at an interrupt."""

from __future__ import annotations

import contextlib
import os
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


class Interrupted(Exception):
    """The operator has stopped ./dev; every child has been told."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended. A command that ran out of time has code 124."""

    code: int
    seconds: float
    log: Path

    def text(self) -> str:
        """All that the command has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")


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
        try:
            code = _wait(child, began=began, limit=limit, title=title)
        except BaseException:
            _end(child)
            raise
        finally:
            with _guard:
                _running.discard(child)
    if _stopping.is_set():
        raise Interrupted
    return Outcome(code, time.monotonic() - began, log)


def _wait(child: subprocess.Popen[bytes], *, began: float, limit: float, title: str) -> int:
    """Wait for the child up to its limit."""
    while True:
        spent = time.monotonic() - began
        try:
            return child.wait(timeout=max(0.1, min(TICK_SECONDS, limit - spent)))
        except subprocess.TimeoutExpired:
            spent = time.monotonic() - began
            if spent >= limit:
                console.progress(f"{title}: no end after {limit:.0f} s, stopping it")
                _end(child)
                return 124
            if not _stopping.is_set():
                console.progress(f"{title}: still at work after {console.seconds(spent)}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop a child and all it has started: ask first, so that it can clean up; then insist."""
    for number, grace in ((signal.SIGINT, GRACE_SECONDS), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=grace)
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
