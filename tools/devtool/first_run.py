# SPDX-License-Identifier: GPL-3.0-or-later
"""The things that must be made once before a lab can start: Debian packages, .venv, the machines' image. It says at the start how long it takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from devtool import apt, console, paths, process, venv
from lab import image

# Seconds on two cores with nothing else to do; what they add up to is said as "about N minutes".
COST = {"Debian packages": 40, "Python packages": 30, "the machines' image": 60}


def prepare(more: Sequence[str] = ()) -> None:
    """Make what is missing, the image beside the Python packages. `more`: further Debian packages."""
    wanted = (*apt.BASE, *apt.LAB, *more)
    found = announce(lacking(wanted))
    if found:
        console.progress(found)
    apt.ensure(wanted)
    if os.geteuid() != 0 or image.path().is_dir():
        venv.ensure()
        return
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(_make_image)
        venv.ensure()
        made.result()


def lacking(packages: Sequence[str]) -> list[str]:
    """Which of the three are not here, as `COST` names them."""
    there = {
        "Debian packages": not apt.missing(packages),
        "Python packages": venv.is_current(),
        "the machines' image": image.path().is_dir(),
    }
    return [name for name, is_there in there.items() if not is_there]


def announce(names: Sequence[str]) -> str:
    """One line: what is made, and how long that takes; empty when nothing is."""
    if not names:
        return ""
    minutes = max(1, round(sum(COST[name] for name in names) / 60))
    return f"once on this machine: {', '.join(names)}; about {minutes} {'minute' if minutes == 1 else 'minutes'}"


def _make_image() -> None:
    """In a process of its own, whose lines are shown. When it fails, the lab tries again and says why."""
    argv = [sys.executable, "-m", "lab.image"]
    process.run(argv, log=paths.LOGS / "image.log", cwd=paths.ROOT, limit=1900, title="the machines' image")
