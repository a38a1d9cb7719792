# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual environment .venv: built from the lock, rebuilt only when the lock has changed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devtool import apt, console, environment, locking, paths, process

PLACES = {"extra-index-url": " ", "find-links": ","}
STAMP = ".installed-from"
# Settings of pip, and what uv calls them.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def ensure() -> None:
    """Have .venv as requirements.txt says. Safe to interrupt and to repeat: the stamp is written last."""
    if is_current():
        return
    apt.ensure(apt.BASE)
    with locking.exclusive("venv"):
        if is_current():
            return
        if paths.VENV.is_symlink():  # into another checkout: clearing it would take that one's environment away
            paths.VENV.unlink()
        (paths.VENV / STAMP).unlink(missing_ok=True)
        console.progress("installing the Python packages of requirements.txt into .venv (once; about half a minute)")
        if not _usable():
            create(paths.VENV, sys.executable)
        _install_uv()
        install(paths.VENV, paths.LOCK)
        (paths.VENV / STAMP).write_text(_fingerprint(), encoding="utf-8")


def is_current() -> bool:
    """Whether .venv is as requirements.txt says."""
    return _stamp(paths.VENV) == _fingerprint()


def ensure_small(name: str, interpreter: str, requirements: Path) -> Path:
    """A small virtual environment under .cache for another interpreter; its Python's path."""
    folder = paths.CACHE / "venvs" / name
    wanted = hashlib.sha256(f"{interpreter}\n{folder}\n".encode() + requirements.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    with locking.exclusive(f"venv-{name}"):
        if _stamp(folder) != wanted:
            ensure()  # uv
            create(folder, interpreter)
            install(folder, requirements)
            (folder / STAMP).write_text(wanted, encoding="utf-8")
    return python


def lend_collections(python: Path) -> None:
    """Give a small environment the collections of the main one: their code does not depend on the version of Python."""
    theirs = next(python.parents[1].glob("lib/python3.*/site-packages")) / "ansible_collections"
    ours = collections()
    if theirs.is_symlink() and theirs.resolve() != ours.resolve():  # the main one has another Python now
        theirs.unlink()
    if not theirs.is_symlink():
        theirs.symlink_to(ours, target_is_directory=True)


def collections() -> Path:
    """Where the main environment's ansible package has its collections."""
    return next(paths.VENV.glob("lib/python3.*/site-packages")) / "ansible_collections"


def create(folder: Path, interpreter: str) -> None:
    """An empty virtual environment; what was there before is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / f"venv-{folder.name}.log"
    argv = [interpreter, "-m", "venv", "--clear", str(folder)]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=300, title="python -m venv").code:
        raise console.Refusal(f"{interpreter} cannot make a virtual environment; its output is in {log}")


def install(folder: Path, lock: Path) -> None:
    """Install what a lock names: by uv, which downloads many packages at a time and keeps each once, or else by pip."""
    log = paths.LOGS / f"install-{folder.name}.log"
    python = str(folder / "bin" / "python")
    argv = [
        paths.bin_path("uv"),
        "pip",
        "install",
        "--python",
        python,
        "--require-hashes",
        "--no-deps",
        "-r",
        str(lock),
    ]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=1800, env=uv_environment(), title="uv pip install").code:
        console.progress(f"uv could not install the packages (see {log}); pip takes over, which is slower")
        _pip_install(folder, lock, log)


def uv_environment() -> dict[str, str]:
    """The settings by which uv does as pip would: pip's index, certificates and time limit; and a cache inside of the checkout."""
    env = {**os.environ, **as_uv(environment.pip_settings(Path.home()))}
    env["UV_CACHE_DIR"] = str(paths.CACHE / "uv")
    return env


def as_uv(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables of uv for settings of pip. Several indexes count as one, as for pip: hashes say what is the right file."""
    given = {**settings, **{name: _places(settings.get(name, ""), between) for name, between in PLACES.items()}}
    found = {variable: given[name] for name, variable in UV_VARIABLES.items() if given.get(name)}
    return {**found, "UV_INDEX_STRATEGY": "unsafe-best-match"}


def _places(text: str, between: str) -> str:
    """Indexes or folders as uv separates them, without local ones that are not there: pip passes over them, uv does not."""
    local = {place: place.removeprefix("file://") for place in text.split()}
    return between.join(place for place, path in local.items() if not path.startswith("/") or Path(path).is_dir())


def _install_uv() -> None:
    """The uv that the lock names, by pip."""
    only = paths.CACHE / "requirements-uv.txt"
    only.parent.mkdir(parents=True, exist_ok=True)
    only.write_text(stanza_of_uv(), encoding="utf-8")
    _pip_install(paths.VENV, only, paths.LOGS / "install-uv.log")


def stanza_of_uv() -> str:
    """The lines of the lock that name uv and its hashes."""
    stanza = re.search(r"(?m)^uv==(?:.*\\\n)+.*$", paths.LOCK.read_text(encoding="utf-8"))
    if stanza is None:
        raise console.Refusal(f"{paths.LOCK.name} names no uv, which installs the others; renew it: ./dev lock")
    return stanza[0] + "\n"


def _pip_install(folder: Path, lock: Path, log: Path) -> None:
    """Install with the environment's own pip, which follows the operator's pip settings (index, proxy)."""
    argv = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    argv += ["--progress-bar", "off", "--no-deps", "--no-compile", "--require-hashes", "-r", str(lock)]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=1800, title="pip install", append=True).code:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise console.Refusal(f"pip could not install the packages; the whole output is in {log}\n{tail}")


def _fingerprint() -> str:
    """The needs of .venv: the lock, the interpreter, and its own place (scripts carry absolute paths)."""
    lock = hashlib.sha256(paths.LOCK.read_bytes()).hexdigest()
    return f"{lock} {sys.version_info.major}.{sys.version_info.minor} {paths.VENV}\n"


def _stamp(folder: Path) -> str:
    """The inputs of the last build of the environment. Empty when that was never completed."""
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
