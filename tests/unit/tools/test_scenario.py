# SPDX-License-Identifier: GPL-3.0-or-later
"""A molecule scenario that fails shows the task that failed, also when others are played after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtool import environment, paths, process, scenario
from devtool.count import TALE_LINES

FAILED = (
    """INFO     [default > converge] Executed: Successful
TASK [The route is home] ***
fatal: [nat-a]: FAILED! => owner is nat-b
PLAY RECAP ***
ERROR    Ansible return code was 2, command was: ansible-playbook verify.yml
INFO     [default > destroy] Executing
"""
    + "removed\n" * (2 * TALE_LINES)
)


def test_the_last_words_are_of_the_task_that_failed_and_not_of_the_removal_of_the_lab() -> None:
    words = scenario.last_words(FAILED)
    assert words.endswith("PLAY RECAP ***")
    assert "owner is nat-b" in words and "removed" not in words


def test_the_last_words_of_a_scenario_that_ran_out_of_time_are_the_end_of_its_output() -> None:
    assert scenario.last_words("begun\n" + "waits\n" * 100).splitlines() == ["waits"] * TALE_LINES


def test_both_tries_of_a_failed_scenario_tell_their_tales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries, unlucky = iter(("first", "second", "other")), scenario.ALL[0]

    def play(argv: list[str], *, log: Path, **_more: object) -> process.Outcome:
        code = 2 if argv[-1] == unlucky else 0
        done = "".join(
            f"INFO     [{argv[-1]} > {step}] Executed: Successful\n{argv[-1]} > {step}: Executed: Successful\n"
            for step in scenario.ESSENTIAL
        )
        with log.open("a", encoding="utf-8") as sink:
            sink.write(done + (f"fatal: {next(tries)}\nERROR    Ansible return code was 2\n" if code else ""))
        return process.Outcome(code, 1.0, log)

    monkeypatch.setattr(process, "run", play)
    monkeypatch.setattr(environment, "with_home", lambda _name: {})
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    seen = scenario.run(tmp_path / "molecule.log", 1.0, scenario.ALL[:2])
    assert (seen.failed, seen.passed) == (1, 4)
    assert ["fatal: first" in seen.tales[0], "fatal: second" in seen.tales[1]] == [True, True]
    assert not any(scenario.ALL[1] in tale for tale in seen.tales)
