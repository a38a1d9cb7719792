# SPDX-License-Identifier: GPL-3.0-or-later
"""One part of the benchmarks from its first measurement to its last: what is recorded already is not measured again, and progress is told."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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
    ``facts(rows)``: what the figures must be read beside, such as how much was tried.
    ``beside(key)``: neighbours of the plan with the same answer are measured at the same time; None: alone on this machine.
    """

    name: str
    keys: tuple[str, ...]
    plan: Callable[[bool], Iterable[Key]]
    measure: Callable[[Key], Row]
    figures: Callable[[list[Row]], dict[str, float]]
    beside: Callable[[Key], Hashable] = lambda key: None
    facts: Callable[[list[Row]], dict[str, Any]] = lambda rows: {}

    def store(self, path: Path | None = None) -> Store:
        """The recorded rows, by default those that the documentation is made of."""
        return Store(path or RESULTS / f"{self.name}.jsonl", self.keys)


def run(
    part: Part, *, quick: bool, resume: bool = True, path: Path | None = None, only: Sequence[str] = ()
) -> tuple[Store, int]:
    """Everything that is not measured yet, and how many measurements failed. Progress goes to stderr. ``only``: see ``chosen``."""
    wanted = chosen(part.plan(quick), only)
    store = part.store(path)
    if not resume:
        store.set_aside()
    missing = [(number, key) for number, key in enumerate(wanted, 1) if not store.has(**key)]
    failed, began = 0, time.monotonic()
    for done, (number, found) in enumerate(_rows(part, missing), 1):
        key = wanted[number - 1]
        row = {**key, **found}
        what = f"{part.name} {number}/{len(wanted)}: {', '.join(f'{name} {value}' for name, value in key.items())}"
        if "failure" in row:
            failed += 1
            _tell(f"{what}: FAILED: {row['failure']}")
            continue
        store.add(row)
        left = (time.monotonic() - began) / done * (len(missing) - done)
        told = ", ".join(f"{name} {value:.4g}" for name, value in sorted(part.figures([row]).items())[:6])
        _tell(f"{what}: {told or 'done'}; about {left / 60:.0f} min to go")
    return store, failed


def chosen(keys: Iterable[Key], only: Sequence[str]) -> list[Key]:
    """The keys with all of some values, each written as NAME=VALUE. Raises ``ValueError`` with the known ones if there is no such key."""
    found = list(keys)
    for each in only:
        name, _equals, value = each.partition("=")
        known = list(dict.fromkeys(str(key.get(name)) for key in found))
        found = [key for key in found if str(key.get(name)) == value]
        if not found:
            names = f"{name} is one of {', '.join(known)}" if known != ["None"] else "that is no name of a value"
            raise ValueError(f"no measurement has {each}; {names}")
    return found


def _rows(part: Part, missing: list[tuple[int, Key]]) -> Iterator[tuple[int, Row]]:
    """The rows by the number of their keys, as they come."""
    for beside, batch in itertools.groupby(missing, lambda each: part.beside(each[1])):
        members = list(batch)
        if beside is None or len(members) == 1:
            yield from ((number, _attempt(part.measure, key)) for number, key in members)
            continue
        # A lab belongs to its process; a process that was not forked has no threads of another lab in it.
        with ProcessPoolExecutor(len(members), multiprocessing.get_context("spawn")) as pool:
            found = pool.map(_attempt, itertools.repeat(part.measure), [key for _number, key in members])
            yield from zip([number for number, _key in members], found, strict=True)


def _attempt(measure: Callable[[Key], Row], key: Key) -> Row:
    """A row, or why there is none: the others are worth measuring, and a resumed run tries this one again."""
    load, at = os.getloadavg()[0], time.monotonic()
    try:
        row = measure(key)
    except Exception as error:  # pylint: disable=broad-except
        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc()
        return {"failure": f"{type(error).__name__}: {str(error)[:500]}"}
    return {"load": round(load, 2), **row, "took_s": round(time.monotonic() - at, 1)}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
