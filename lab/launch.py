# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, find, ask and end the process behind a lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import pythons
from .errors import LabError, Prerequisite
from .fabric import cleanup
from .fabric.names import Names
from .settings import FAILED, INTERRUPTS, LOG_FILE, PROGRESS, READY, REFUSED, STATE_FILE, Settings

ROOT = Path(__file__).resolve().parent.parent


def up(settings: Settings, progress: Callable[[str], None]) -> None:
    """Start a lab unless it is up. An end before the lab is up, an interrupt too, leaves nothing behind."""
    names = Names(settings.name)
    if cleanup.owner(names) is not None:
        _same(settings, call(names, "status"))
        return
    if exists(names):
        progress(f"removing what an earlier lab {names.name} left")
    cleanup.remove(names)
    process = None
    try:
        with _interrupts_held():  # one that comes in the middle would leave a process that nobody knows
            process, answers = _spawn(names, settings)
        with os.fdopen(answers, encoding="utf-8") as lines:
            _wait(lines, names, progress)
    except BaseException:
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        cleanup.remove(names)
        raise


def down(names: Names) -> bool:
    """Remove a lab; whether there was anything."""
    was = exists(names)
    cleanup.remove(names)
    return was


def exists(names: Names) -> bool:
    """Whether anything carries the lab's name."""
    return names.run.exists() or names.state.exists() or bool(names.namespaces())


def call(names: Names, word: str, **body: Any) -> dict[str, Any]:
    """Ask a running lab."""
    file = names.run / STATE_FILE
    if cleanup.owner(names) is None or not file.exists():
        raise LabError(f"lab {names.name} is not up; start it with: lab up --name {names.name}")
    endpoint = json.loads(file.read_text(encoding="ascii"))["endpoint"]
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{endpoint}/_lab/{word}", data=data, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches the loopback
    try:
        with opener.open(request, timeout=120) as answer:
            result: dict[str, Any] = json.load(answer)
            return result
    except urllib.error.HTTPError as error:
        raise (Prerequisite if error.code == REFUSED else LabError)(_reason(error)) from error
    except OSError as error:
        raise LabError(f"lab {names.name} does not answer at {endpoint}: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"the lab answered {error.code}"


def _same(settings: Settings, running: dict[str, Any]) -> None:
    for key, wanted in json.loads(settings.dump()).items():
        if running[key] != wanted:
            raise Prerequisite(
                f"lab {settings.name} is up already with {key} {running[key]}, not {wanted}; "
                f"first: lab down --name {settings.name}"
            )


def _spawn(names: Names, settings: Settings) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and where it tells how it gets on."""
    names.run.mkdir(parents=True)
    answers, report = os.pipe()
    try:
        with (names.run / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab.daemon", settings.dump(), str(report)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[report],
                start_new_session=True,
                env=pythons.environment(PYTHONPATH=str(ROOT)),
            )
    finally:
        os.close(report)
    return process, answers


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """SIGINT and SIGTERM arrive at the end of this. A child inherits the mask (lab/daemon.py takes it off)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(lines: Any, names: Names, progress: Callable[[str], None]) -> None:
    for line in lines:
        word, text = json.loads(line)
        if word == PROGRESS:
            progress(text)
        elif word == READY:
            return
        elif word == FAILED:
            raise LabError(text)
    log = (names.run / LOG_FILE).read_text(encoding="utf-8", errors="replace").strip()
    raise LabError(f"the lab's process ended: {log.splitlines()[-1] if log else 'without a word'}")
