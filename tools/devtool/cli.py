# SPDX-License-Identifier: GPL-3.0-or-later
"""The subcommands of ./dev."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from devtool import (
    apt,
    bare,
    console,
    dist,
    environment,
    first_run,
    gates,
    lock,
    mutate,
    paths,
    process,
    testing,
    tree,
    venv,
)

HELP = """usage: ./dev COMMAND [...]

  demo       show a NAT node dying and its peer taking over, in a VPC in a box on this machine (root)
             demo proxy: the same with an HTTP proxy on both nodes
             demo identities: a download goes on through the death of its node, from one public address
  test       run every gate: ./dev test [--only unit,lint,...] [-k EXPRESSION]; the last line is the total
  lab        the VPC in a box: ./dev lab up|down|status|... (root)
  lint       the linters alone
  bench      measure; one line of JSON on stdout (root)
  simulate   long simulations of the decisions; one line of JSON on stdout
  mutate     small faults in the engine, one at a time, and whether a test notices; resumes; one line of JSON a room
  docs       make the pages that are generated (docs/variables.md, README.md of each role) anew; --check only compares
  lock       renew the locks (requirements.txt, tests/requirements-*.txt) from the .in files beside them
  dist       the files of a release in dist/: ./dev dist VERSION
  bare       play demo and test in a fresh Debian 12 and 13, and record how that went in tests/bare.json (root; hours)
  setup      install what the above need (with the machines' image), and do nothing else

Needs Debian 12 or 13, git, python3. The first run installs missing Debian packages (as root) and fills .venv;
later runs start at once.
"""


def main() -> int:
    """Run a subcommand. 0 fine, 1 not so, 2 bad input or something must be done first."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in ("help", "-h", "--help"):
        print(HELP, end="")
        return 0
    try:
        with process.orderly_interrupts():
            return _command(name, rest)
    except console.Refusal as refusal:
        console.progress(str(refusal))
        return 2
    except (KeyboardInterrupt, process.Interrupted):
        console.progress("interrupted")
        return 130
    except PermissionError as error:
        console.progress(f"{error.strerror}: {error.filename}; was it made by another user? run this with sudo")
        return 2


def _command(name: str, rest: list[str]) -> int:
    """One subcommand by name."""
    if name == "test":
        return testing.main(rest)
    if name == "lint":
        return _lint()
    if name == "bare":
        return bare.main(rest)
    if name == "docs":
        _docs(rest)
    if name == "lock":
        apt.ensure(apt.BASE)
        return lock.renew(rest)
    if name == "dist":
        apt.ensure(apt.BASE)
        venv.ensure()
        return dist.make(rest)
    if name == "setup":
        first_run.prepare()
        tree.ensure_live_link()
        return 0
    if name == "mutate":
        mutate.become(rest)
    if name == "lab":
        _module("lab", "lab/__main__.py", rest)
    if name == "demo":
        first_run.prepare()
        _module("lab.demo", "lab/demo.py lab/demo/__main__.py", rest)
    if name == "bench":
        apt.ensure(apt.BENCH)
        if {"proxy", "all"} & set(rest):
            apt.ensure_held_back(apt.PROXY)
        if {"flows", "sync", "all"} & set(rest):
            apt.ensure_masked(apt.SYNC, "conntrackd.service")
        _module("benchmarks", "benchmarks/__main__.py", rest)
    if name == "simulate":
        apt.prefer(apt.SIMULATE)
        _module("tests.simulation", "tests/simulation/__main__.py", rest, with_lab=False)
    sys.stderr.write(HELP)
    raise console.Refusal(f"no such command: {name}" if name else "say what to do")


def _docs(rest: list[str]) -> NoReturn:
    """The generated pages, with the environment's YAML reader."""
    if rest not in ([], ["--check"]):
        raise console.Refusal(f"./dev docs takes --check or nothing, not {' '.join(rest)}")
    venv.ensure()
    env = {**environment.base(), "PYTHONPATH": str(paths.ROOT / "tools")}
    os.execve(paths.PYTHON, [str(paths.PYTHON), "-m", "devtool.variables", *rest], env)


def _lint() -> int:
    """The lint stage, with all of its output."""
    venv.ensure()
    tree.ensure_live_link()
    log = paths.LOGS / "lint.log"
    count = gates.run(log, 600)
    console.result(log.read_text(encoding="utf-8", errors="replace").rstrip())
    for name in count.names:
        console.result(f"failed: {name}")
    console.result(f"{count.passed} passed, {count.failed} failed")
    return 1 if count.failed else 0


def _module(module: str, files: str, rest: list[str], *, with_lab: bool = True) -> NoReturn:
    """Become `python -m module`: its output, its signals and its exit code are those of ./dev."""
    if not any((paths.ROOT / file).is_file() for file in files.split()):
        raise console.Refusal(f"{module} is not there yet")
    apt.ensure((*apt.BASE, *(apt.LAB if with_lab else ())))
    venv.ensure()
    tree.ensure_live_link()
    os.chdir(paths.ROOT)
    sys.stdout.flush()
    sys.stderr.flush()
    env = {**environment.base(), "PYTHONPATH": str(paths.ROOT / "plugins" / "module_utils")}
    os.execve(paths.PYTHON, [str(paths.PYTHON), "-m", module, *rest], env)
