# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual environment .venv: built from the lock, rebuilt only when the lock has changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from devtool import apt, console, locking, paths, process

STAMP = ".installed-from"


def ensure() -> None:
    """Have .venv as requirements.txt says. Safe to interrupt and to repeat: the stamp is written last."""
    wanted = _fingerprint()
    if _stamp(paths.VENV) == wanted:
        return
    apt.ensure(apt.BASE)
    with locking.exclusive("venv"):
        if _stamp(paths.VENV) == wanted:
            return
        if paths.VENV.is_symlink():  # into another checkout: clearing it would take that one's environment away
            paths.VENV.unlink()
        (paths.VENV / STAMP).unlink(missing_ok=True)
        if not _usable():
            create(paths.VENV, sys.executable)
        console.progress("installing the Python packages of requirements.txt into .venv (a minute or two, once)")
        pip_install(paths.VENV, ["-r", str(paths.LOCK)], title="pip install")
        (paths.VENV / STAMP).write_text(wanted, encoding="utf-8")


def ensure_small(name: str, interpreter: str, requirements: Path) -> Path:
    """A small virtual environment under .cache for another interpreter; its Python's path."""
    folder = paths.CACHE / "venvs" / name
    wanted = hashlib.sha256(f"{interpreter}\n{folder}\n".encode() + requirements.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    with locking.exclusive(f"venv-{name}"):
        if _stamp(folder) != wanted:
            create(folder, interpreter)
            pip_install(folder, ["-r", str(requirements)], title=f"pip install for {name}")
            (folder / STAMP).write_text(wanted, encoding="utf-8")
    return python


def create(folder: Path, interpreter: str) -> None:
    """An empty virtual environment; what was there before is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / f"venv-{folder.name}.log"
    argv = [interpreter, "-m", "venv", "--clear", str(folder)]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=300, title="python -m venv").code:
        raise console.Refusal(f"{interpreter} cannot make a virtual environment; its output is in {log}")


def pip_install(folder: Path, arguments: list[str], *, title: str) -> None:
    """Install with the environment's own pip, which follows the operator's pip settings (index, proxy)."""
    log = paths.LOGS / f"pip-{folder.name}.log"
    argv = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        *arguments,
    ]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=1800, title=title).code:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise console.Refusal(f"pip could not install the packages; the whole output is in {log}\n{tail}")


def _fingerprint() -> str:
    """What .venv depends on: the lock, the interpreter, and its own place (scripts carry absolute paths)."""
    lock = hashlib.sha256(paths.LOCK.read_bytes()).hexdigest()
    return f"{lock} {sys.version_info.major}.{sys.version_info.minor} {paths.VENV}\n"


def _stamp(folder: Path) -> str:
    """What the environment was last built from; empty when that was never completed."""
    try:
        return (folder / STAMP).read_text(encoding="utf-8")
    except OSError:
        return ""


def _usable() -> bool:
    """Whether .venv has a working pip of this interpreter's version, in this very place."""
    probe = "import pip, sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    if not os.access(paths.PYTHON, os.X_OK):
        return False
    answer = subprocess.run([str(paths.PYTHON), "-c", probe], capture_output=True, text=True, check=False)
    here = f"{sys.version_info.major}.{sys.version_info.minor} {paths.VENV}"
    return answer.returncode == 0 and answer.stdout.strip() == here and _scripts_are_of_here()


def _scripts_are_of_here() -> bool:
    """Whether the environment's scripts name this place: they do not after the checkout was moved."""
    try:
        return str(paths.VENV).encode() in (paths.VENV / "bin" / "pip").read_bytes()[:400]
    except OSError:
        return False
