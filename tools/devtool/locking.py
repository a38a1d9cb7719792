# SPDX-License-Identifier: GPL-3.0-or-later
"""One at a time: a lock on a file, given back by the kernel however the process ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from devtool import console, paths


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock `name` of this checkout; wait for whoever has it, and say so."""
    paths.CACHE.mkdir(exist_ok=True)
    with (paths.CACHE / f"{name}.lock").open("w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.progress(f"another ./dev holds {handle.name}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
