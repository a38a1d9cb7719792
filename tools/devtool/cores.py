# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages cores and cores-all: playbooks, documentation and module tests under newer versions of ansible-core than the lock's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from devtool import environment, interpreters, paths, process, pytests, venv
from devtool.choice import USUAL, Choice
from devtool.count import Count

# ansible-core by the Python to run it with. The lock has the oldest that is supported.
CORES = {"2.20": "3.12", "2.21": "3.13"}
ALL = tuple(CORES)
NEWEST = ALL[-1:]
DOCUMENTED = (
    ("module", "nat_failover"),
    ("module", "source_dest_check"),
    ("filter", "iam_policy"),
    ("role", "nat_instance"),
)


def here(versions: Sequence[str]) -> dict[str, str]:
    """Those of some versions that can be tried on this machine, and their interpreters."""
    found = {core: interpreters.find(CORES[core]) for core in versions}
    return {core: interpreter for core, interpreter in found.items() if interpreter}


def run(log: Path, limit: float, versions: Sequence[str], choice: Choice = USUAL) -> Count:
    """Each version after the other, also after one has failed."""
    log.unlink(missing_ok=True)
    total = Count()
    for core, interpreter in here(versions).items():
        requirements = paths.ROOT / "tests" / f"requirements-core-{core}.txt"
        python = venv.ensure_small(f"core-{core}", interpreter, requirements)
        venv.lend_collections(python)
        total += _commands(core, python, log, limit)
        total += pytests.run(log, ["tests/unit/modules"], limit=limit, choice=choice, python=python, append=True)
    return total


def _commands(core: str, python: Path, log: Path, limit: float) -> Count:
    """Every playbook is understood, and the documentation found."""
    env = environment.with_home(f"core-{core}")
    env["PATH"] = f"{python.parent}:{env['PATH']}"
    inventory = str(paths.ROOT / "inventories" / "example" / "hosts.yml")
    check = ["ansible-playbook", "--syntax-check", "-i", inventory]
    playbooks = [f"aws_ha.egress.{file.stem}" for file in sorted((paths.ROOT / "playbooks").glob("*.yml"))]

    def well(argv: list[str]) -> bool:
        command = [str(python.with_name(argv[0])), *argv[1:]]
        title = f"ansible-core {core}"
        return not process.run(command, log=log, cwd=paths.CACHE, limit=limit, env=env, title=title, append=True).code

    total, wanted = Count(), [["ansible-doc", "--type", kind, f"aws_ha.egress.{name}"] for kind, name in DOCUMENTED]
    if well([*check, *playbooks]):  # most of the time of a check is the start of Ansible
        total += Count(passed=len(playbooks))
    else:
        wanted += [[*check, playbook] for playbook in playbooks]
    for argv in wanted:
        name = f"ansible-core {core}: {argv[0]} {argv[-1]}"
        total += Count(passed=1) if well(argv) else Count(failed=1, names=(name,))
    return total
