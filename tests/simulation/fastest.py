# SPDX-License-Identifier: GPL-3.0-or-later
"""PyPy, where it is: it plays long campaigns faster than CPython, of the fast shell two to six times. The stories are the same."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import typing as t

# PyPy's nursery is sized for the processor's cache, and too small for what an incident allocates: this halves the time.
NURSERY = "32M"
# Incidents of a shell from which on PyPy's slow start is worth it. The shipping shell needs 400 in each process: then an incident of
# two nodes takes 0.14 s of CPU, on two cores that are both busy, and with CPython 0.2 s.
WARM = {"real": 5000, "fast": 3000}


def become(incidents: int, warm: float) -> None:
    """Go on as PyPy, if that is worth it and possible; returns otherwise."""
    if platform.python_implementation() == "PyPy" or incidents < warm:
        return
    pypy = shutil.which("pypy3")
    if pypy is None:
        sys.stderr.write("pypy3 is not here; with CPython this takes two to three times as long\n")
        return
    argv = [pypy, "-m", t.cast(str, __package__), *sys.argv[1:]]
    sys.stderr.flush()
    os.execve(pypy, argv, {**os.environ, "PYPY_GC_NURSERY": os.environ.get("PYPY_GC_NURSERY", NURSERY)})
