# SPDX-License-Identifier: GPL-3.0-or-later
"""Other Python versions on this machine: the oldest a NAT node may have, and the newest that is supported."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from pathlib import Path

OTHERS = ("3.9", "3.13")  # the oldest one first


def wanted(*, nightly: bool) -> tuple[str, ...]:
    """Those that a run tries. The newest one is the Python of the stage cores, which imports modules and engine at each run."""
    return OTHERS if nightly else OTHERS[:1]


@functools.cache
def find(version: str) -> str | None:
    """The real path of a working interpreter of this version (a shim on PATH may not work), or None."""
    for candidate in _candidates(version):
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
        try:
            answer = subprocess.run(
                [str(candidate), "-c", code], capture_output=True, text=True, check=False, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines = answer.stdout.split("\n")
        if answer.returncode == 0 and lines[0] == version and Path(lines[1]).is_absolute():
            return lines[1]
    return None


def _candidates(version: str) -> list[Path]:
    """Where such an interpreter may be: on PATH, or below pyenv."""
    name = f"python{version}"
    places = [Path(folder) / name for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    roots = [Path(os.environ["PYENV_ROOT"])] if os.environ.get("PYENV_ROOT") else []
    roots.append(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".pyenv")
    for root in roots:
        places += sorted((root / "versions").glob(f"{version}.*/bin/{name}"))
    return [place for place in places if os.access(place, os.X_OK)]
