# SPDX-License-Identifier: GPL-3.0-or-later
"""PyPy, where it is: it plays long campaigns faster than CPython, of the fast shell two to six times. The stories are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import random
import shutil
import sys
import typing as t

from nat_failover.model.memory import Memory

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


def tune() -> None:
    """In a process of PyPy: what it is slow at by another way, with the same results."""
    if platform.python_implementation() != "PyPy":
        return
    random._sha512 = hashlib.sha512  # type: ignore[attr-defined]  # for seeds that are texts; its own is written in Python
    Memory.updated = updated  # type: ignore[method-assign]


# A constructor with each field by its name, which PyPy compiles well: a copy of ``__dict__`` takes it ten times as long as CPython.
_copy: t.Callable[[Memory, t.Callable[[str, t.Any], t.Any]], Memory] = eval(  # pylint: disable=eval-used
    "lambda self, get: Memory({})".format(
        ", ".join(f"get({each.name!r}, self.{each.name})" for each in dataclasses.fields(Memory))
    )
)


def updated(self: Memory, **changes: t.Any) -> Memory:
    """``Memory.updated``."""
    for name, value in changes.items():
        old = getattr(self, name)
        if old is not value and old != value:
            return _copy(self, changes.get)
    return self
