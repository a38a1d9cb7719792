# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages: install what is really missing, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from devtool import console, paths, process

BASE = ("python3-venv",)
LAB: tuple[str, ...] = (
    *("debootstrap", "systemd-container", "iptables", "iproute2", "openssh-client", "iputils-ping", "conntrack"),
)
# Another manager of rules, to live with in a test. Its package starts it, so it is not for machines that somebody works on.
if not os.path.isdir("/run/systemd/system"):
    LAB += ("firewalld", "dbus", "nftables")
BENCH = ("keepalived",)  # measured beside ours
SIMULATE = ("pypy3",)  # faster, not needed


def missing(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that are not installed."""
    return [name for name in packages if not _installed(name)]


def _installed(package: str) -> bool:
    """Whether dpkg has the package, configured."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return answer.returncode == 0 and answer.stdout == "installed"


def ensure(packages: Sequence[str]) -> None:
    """Install what is missing; refuse with the remedy when that is not possible."""
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        raise console.Refusal(
            "apt-get and dpkg-query are not here; ./dev needs a Debian 12 (or alike) with " + " ".join(packages)
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
