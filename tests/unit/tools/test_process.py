# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands with a log: their end, their limit, and the work that they and their children have cost, stage by stage."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from devtool import process

# A child of the child keeps a core busy for so long.
BUSY = """
import subprocess, sys
code = "import time\\nwhile time.process_time() < 0.3: pass"
sys.exit(subprocess.run([sys.executable, "-c", code]).returncode + 3)
"""


def play(log: Path, code: str, limit: float = 60) -> process.Outcome:
    return process.run([sys.executable, "-c", code], log=log, cwd=log.parent, limit=limit, title="a test", append=True)


def test_the_work_of_a_stage_is_that_of_its_commands_and_their_children(tmp_path: Path) -> None:
    whole, part, other = (tmp_path / f"{name}.log" for name in ("e2e", "e2e.test_drain", "e2e-all"))
    assert play(whole, BUSY).code == 3
    one = process.worked(whole)
    assert one >= 0.3
    assert play(part, BUSY).code == 3
    assert process.worked(whole) >= one + 0.3
    assert process.worked(part) >= 0.3
    assert process.worked(other) == 0.0


def test_a_command_that_only_waits_costs_little(tmp_path: Path) -> None:
    log = tmp_path / "page.log"
    done = play(log, "import time; time.sleep(1)")
    assert done.code == 0 and done.seconds >= 1
    assert process.worked(log) < done.seconds


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "import time\nwhile True: pass"])
def test_a_command_without_an_end_is_stopped_and_counted(tmp_path: Path, code: str) -> None:
    log, began = tmp_path / "lab.log", time.monotonic()
    assert play(log, code, limit=1).code == 124
    assert time.monotonic() - began < process.GRACE_SECONDS
    assert process.worked(log) > 0


def test_a_patient_command_gives_way_only_while_others_are_on_a_clock(tmp_path: Path) -> None:
    """A command that says twice how nice it is: at once, and when it is told that the others have ended."""
    says = "import os; print('nice', os.getpriority(os.PRIO_PROCESS, 0), flush=True)"
    told = tmp_path / "told"
    code = f"import pathlib, time; time.sleep(0.2)\n{says}\nwhile not pathlib.Path({str(told)!r}).exists(): time.sleep(0.02)\n{says}"
    usual = f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"

    def patient(log: Path, code: str) -> None:
        process.be_patient()
        play(log, code)

    threads = [
        threading.Thread(target=patient, args=(tmp_path / "sanity.log", code)),
        threading.Thread(target=play, args=(tmp_path / "page.log", says)),
    ]
    with process.on_a_clock():
        for thread in threads:
            thread.start()
        while not said(tmp_path / "sanity.log"):
            time.sleep(0.02)
    told.touch()
    for thread in threads:
        thread.join()
    assert said(tmp_path / "page.log") == [usual]
    first, second = said(tmp_path / "sanity.log")
    assert first == f"nice {process.BEHIND}"
    if os.geteuid() == 0:  # nobody else may become less nice, or build a lab
        assert second == usual


def said(log: Path) -> list[str]:
    """The lines about niceness, so far."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line for line in lines if line.startswith("nice ")]
