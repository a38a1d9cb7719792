# SPDX-License-Identifier: GPL-3.0-or-later
"""Many incidents on all processors."""

from __future__ import annotations

import multiprocessing
import os
import time
import typing as t
from types import MappingProxyType

from .hunt import hunt
from .incidents import play
from .shells import FAST, prepare, shell_of
from .violation import Violation

CHUNK = 50  # incidents handed to a process at a time


class Found(t.NamedTuple):
    """A violated law: the seed that replays it, and its story."""

    seed: int
    story: str


class Played(t.NamedTuple):
    """Incidents that were played, what was found in them, and the seconds of CPU that they took."""

    incidents: int
    found: list[Found]
    cpu: float

    def plus(self, more: Played) -> Played:
        """Both together."""
        return Played(self.incidents + more.incidents, self.found + more.found, self.cpu + more.cpu)


def _chunk(work: tuple[int, int, str]) -> Played:
    first, end, shell = work
    found, began = [], time.process_time()
    for seed in range(first, end):
        try:
            play(seed, shell_of(shell))
        except Violation as violation:
            found.append(Found(seed, str(violation)))
    return Played(end - first, found, time.process_time() - began)


def campaign(first: int, incidents: int, jobs: int = 0, shell: str = FAST) -> t.Iterator[Played]:
    """Play incidents; yields them as they come, in the order of their seeds."""
    return played([(first, incidents)], jobs, shell)


def played(ranges: t.Iterable[tuple[int, int]], jobs: int = 0, shell: str = FAST) -> t.Iterator[Played]:
    """The same of several ranges (first seed, number of incidents), one after the other. No yield is of two of them."""
    chunks = [
        (seed, min(seed + CHUNK, first + incidents), shell)
        for first, incidents in ranges
        for seed in range(first, first + incidents, CHUNK)
    ]
    with multiprocessing.Pool(jobs or os.cpu_count(), prepare, (shell,)) as pool:
        yield from pool.imap(_chunk, chunks)


def hunts(
    names: t.Sequence[str], most: int, shell: str = FAST, known: t.Mapping[str, int] = MappingProxyType({})
) -> dict[str, tuple[int | None, str]]:
    """``hunt.hunt`` for several policies at once. ``known``: the incident to begin with, by the policy's name."""
    with multiprocessing.Pool(os.cpu_count(), prepare, (shell,)) as pool:
        work = [(name, most, 0, shell, known.get(name)) for name in names]
        return dict(zip(names, pool.starmap(hunt, work, chunksize=1)))
