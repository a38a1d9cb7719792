# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in this checkout. Nothing is written outside of it, except by apt and by the lab."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.txt"
TESTS = ROOT / "tests"
PROGRAMS = ROOT / "tools" / "programs.toml"
CACHE = ROOT / ".cache"
LOGS = CACHE / "logs"
BYTECODE = CACHE / "bytecode"

# A copy of the checkout's files, for the tools that insist on a folder of this shape (ansible-test).
COPY = CACHE / "collections" / "ansible_collections" / "aws_ha" / "egress"
# A link to the checkout itself, so that playbooks find aws_ha.egress by its name without an install.
LIVE = CACHE / "live"


def bin_path(name: str) -> str:
    """The path of a command of the virtual environment."""
    return str(VENV / "bin" / name)


def scratch_home(name: str) -> Path:
    """A home folder of its own for tools that litter the real one."""
    home = CACHE / "home" / name
    home.mkdir(parents=True, exist_ok=True)
    return home
