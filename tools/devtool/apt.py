# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages: install what is really missing, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devtool import console, paths, process

POLICY = Path("/usr/sbin/policy-rc.d")
UNITS = Path("/etc/systemd/system")
PROGRAMS: dict[str, dict[str, str]] = tomllib.loads(paths.PROGRAMS.read_text(encoding="utf-8"))


def packages(*groups: str) -> tuple[str, ...]:
    """The packages that have the programs of these groups of tools/programs.toml, each once."""
    return tuple(dict.fromkeys(package for group in groups for package in PROGRAMS[group].values()))


BASE = packages("setup")
KEYRING = "debian-archive-keyring"  # no program: what the packages of the machines' image are checked by
LAB = (*packages("lab", "machine"), KEYRING)
BESIDE = () if Path("/run/systemd/system").is_dir() else packages("beside")  # for tests alone
# The engines of the role `proxy`. Their packages start them, so they are installed with starts held back.
PROXY = packages("proxy")
BENCH = packages("bench")
# The daemon that synchronises connections. Its own unit is masked before it is installed.
SYNC = packages("sync")
# The checks of metrics and rules. The package also has a server, whose unit is masked before it is installed.
MONITORING = packages("monitoring")
# The reader of the live page.
PAGE = packages("page")
SIMULATE = packages("simulate")
BARE = (*packages("bare"), KEYRING)


def missing(names: Sequence[str]) -> list[str]:
    """Those of these packages that are not installed."""
    there = _installed(names)
    return [name for name in names if name not in there]


def _installed(names: Sequence[str]) -> set[str]:
    """Those of these packages that dpkg has, configured."""
    argv = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\\n", *names]
    lines = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    return {line.split()[0] for line in lines if line.endswith(" installed")}


# Stages beside each other may need the same packages: the second one waits, and finds them installed.
_one_at_a_time = threading.RLock()


@contextmanager
def held_back(policy: Path = POLICY) -> Iterator[None]:
    """No service is started by a package meanwhile (deb-systemd-invoke(1)); a policy that is there already stays."""
    own = not policy.exists()
    if own:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if own:
            policy.unlink()


def mask(unit: str, units: Path = UNITS) -> bool:
    """Mask a unit, as systemctl does, also where no systemd runs. Returns whether it was not masked before."""
    link = units / unit
    if link.is_symlink() and link.readlink() == Path(os.devnull):
        return False
    if link.exists() or link.is_symlink():
        raise console.Refusal(f"{link} is there and would be replaced by a mask; move it away")
    units.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.devnull)
    return True


def ensure_masked(packages: Sequence[str], *units: str) -> None:
    """Install what is missing, with these units of the packages masked, so that they never start."""
    with _one_at_a_time:
        if missing(packages) and os.geteuid() == 0:
            for unit in units:
                mask(unit)
        ensure_held_back(packages)


def ensure_held_back(packages: Sequence[str]) -> None:
    """Install what is missing, without starting its services."""
    with _one_at_a_time:
        if missing(packages) and os.geteuid() == 0:
            with held_back():
                ensure(packages)
        else:
            ensure(packages)


def ensure(packages: Sequence[str]) -> None:
    """Install what is missing; refuse with the remedy when that is not possible."""
    with _one_at_a_time:
        _ensure(packages)


def _ensure(packages: Sequence[str]) -> None:
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        raise console.Refusal(
            "apt-get and dpkg-query are not here; ./dev needs a Debian 12 or 13 (or alike) with " + " ".join(packages)
        )
    wanted = missing(packages)
    if not wanted:
        return
    names = " ".join(wanted)
    if os.geteuid() != 0:
        raise console.Refusal(
            f"Debian packages are missing: {names}\n"
            f"     run this command with sudo, or install them: sudo apt-get install {names}"
        )
    console.progress(f"installing Debian packages: {names}")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *wanted]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    log = paths.LOGS / "apt.log"
    if process.run(install, log=log, cwd=paths.ROOT, limit=900, env=env, title="apt-get install").code == 0:
        return
    console.progress("that failed; refreshing the package lists and trying again")
    process.run(["apt-get", "update"], log=log, cwd=paths.ROOT, limit=600, env=env, title="apt-get update", append=True)
    if process.run(install, log=log, cwd=paths.ROOT, limit=900, env=env, title="apt-get install", append=True).code:
        raise console.Refusal(f"apt-get could not install {names}; its output is in {log}")


def prefer(packages: Sequence[str]) -> None:
    """Install what is only better to have; say so and go on where that is not possible."""
    try:
        ensure(packages)
    except console.Refusal as refusal:
        console.progress(f"going on without {' '.join(packages)}: {refusal}")
