# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule stages: the role on real systemd hosts of the lab. Each step of a scenario counts as one test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from devtool import environment, paths, process, pytests
from devtool.count import TALE_LINES, Count

# The scenarios that every change has to pass. The others, which are nightly, take minutes for little more: each run of the stage fleet
# sets proxies up on machines, too.
OFTEN = ("default",)
ALL = (*OFTEN, "proxy", "alternative", "maintenance", "cluster3")
SUITES = ("bookworm", "trixie")  # Debian 12 and 13
# Steps without which a green run means little.
ESSENTIAL = ("converge", "verify")


def run(log: Path, limit: float, scenarios: Sequence[str] = OFTEN, suites: Sequence[str] = SUITES[:1]) -> Count:
    """molecule test of each scenario on machines of each suite, also after one has failed. One that failed is played once more."""
    log.unlink(missing_ok=True)
    total = Count()
    for suite in suites:
        for name in scenarios:
            seen = _run_one(log, limit, name, suite)
            total += pytests.second_try(seen, partial(_run_one, log, limit, name, suite))
    return total


def _run_one(log: Path, limit: float, name: str, suite: str) -> Count:
    """One scenario, with a home of its own; steps are counted from its log."""
    title = f"molecule {name} on {suite}"
    env = environment.with_home(f"molecule-{name}")
    env.update(
        MOLECULE_GLOB="molecule/*/molecule.yml", LAB_SUITE=suite, PYTHONPATH=str(paths.ROOT / "lab" / "bytecode")
    )
    mark = log.stat().st_size if log.exists() else 0
    argv = [paths.bin_path("molecule"), "test", "-s", name]
    outcome = process.run(argv, log=log, cwd=paths.ROOT, limit=limit, env=env, title=title, append=True)
    text = log.read_bytes()[mark:].decode(errors="replace")
    done = steps(text, name)
    if outcome.code:
        failure = f"{title}: exit code {outcome.code} after {', '.join(done)}"
        return Count(passed=len(done), failed=1, names=(failure,), tales=(f"{failure}:\n{last_words(text)}",))
    lacking = [step for step in ESSENTIAL if step not in done]
    return Count(passed=len(done), failed=len(lacking), names=tuple(f"{title}: no {step}" for step in lacking))


def steps(text: str, scenario: str) -> list[str]:
    """The steps that molecule says it has executed successfully, in order, each once."""
    pattern = rf"\b{scenario}\s+\S+\s+([a-z_]+):\s+Executed:\s+Successful"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return list(dict.fromkeys(re.findall(pattern, plain)))


def last_words(text: str) -> str:
    """The end of the output up to the failed playbook. The rest of the output is about the removal of the lab."""
    before = re.split(r"^.*Ansible return code was", text, maxsplit=1, flags=re.MULTILINE)[0]
    return "\n".join(before.rstrip().splitlines()[-TALE_LINES:])
