# SPDX-License-Identifier: GPL-3.0-or-later
"""One part of the benchmarks from its first measurement to its last: what is recorded already is not measured again, and progress is told."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .store import RESULTS, Store

Key = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """``plan(quick)``: the keys of all measurements, in their order. ``measure(key)``: the rest of the row.

    ``figures(rows)``: numbers by name, of which a smaller one is the better one; they are compared with those of the run before.
    """

    name: str
    keys: tuple[str, ...]
    plan: Callable[[bool], Iterable[Key]]
    measure: Callable[[Key], Row]
    figures: Callable[[list[Row]], dict[str, float]]

    def store(self, path: Path | None = None) -> Store:
        """The recorded rows, by default those that the documentation is made of."""
        return Store(path or RESULTS / f"{self.name}.jsonl", self.keys)


def run(part: Part, *, quick: bool, resume: bool = True, path: Path | None = None) -> tuple[Store, int]:
    """Everything that is not measured yet, and how many measurements failed. Progress goes to stderr."""
    store = part.store(path)
    if not resume:
        store.set_aside()
    wanted, failed, began, done = list(part.plan(quick)), 0, time.monotonic(), 0
    for number, key in enumerate(wanted, 1):
        if store.has(**key):
            continue
        what, load, at = f"{part.name} {number}/{len(wanted)}: {_words(key)}", os.getloadavg()[0], time.monotonic()
        try:
            row = {**key, "load": round(load, 2), **part.measure(key)}
            row["took_s"] = round(time.monotonic() - at, 1)
        except Exception as error:  # pylint: disable=broad-except  # the others are worth measuring; a resumed run tries this again
            failed += 1
            _tell(f"{what}: FAILED: {type(error).__name__}: {str(error)[:500]}")
            if os.environ.get("BENCH_DEBUG"):
                traceback.print_exc()
            continue
        store.add(row)
        done += 1
        left = (time.monotonic() - began) / done * (len(wanted) - number)
        told = ", ".join(f"{name} {value:.4g}" for name, value in sorted(part.figures([row]).items())[:6])
        _tell(f"{what}: {told}; about {left / 60:.0f} min to go")
    return store, failed


def _words(key: Key) -> str:
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
