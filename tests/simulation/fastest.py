# SPDX-License-Identifier: GPL-3.0-or-later
"""PyPy, where it is: it plays long campaigns of the fast shell two to six times as fast as CPython. The stories are the same."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import typing as t

# PyPy's nursery is sized for the processor's cache, and too small for what an incident allocates: this halves the time.
NURSERY = "32M"
# Incidents of a shell from which on PyPy's slow start is worth it. Never for the shipping shell: its blocking calls are greenlets,
# which PyPy switches slowly. 2,000 incidents took 744 s on two cores, and CPython needs 0.2 s of CPU for each.
WARM = {"real": math.inf, "fast": 3000}


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
