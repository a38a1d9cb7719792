# SPDX-License-Identifier: GPL-3.0-or-later
"""Many incidents on all processors."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
import typing as t
from types import MappingProxyType

from .hunt import hunt
from .incidents import play
from .shape import size
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


def _chunk(work: tuple[t.Sequence[int], str]) -> Played:
    seeds, shell = work
    found, began = [], time.process_time()
    for seed in seeds:
        try:
            play(seed, shell_of(shell))
        except Violation as violation:
            found.append(Found(seed, str(violation)))
    return Played(len(seeds), found, time.process_time() - began)


def seeds_from(first: int, incidents: int, nodes: int | None = None) -> t.Sequence[int]:
    """The seeds of so many incidents. ``nodes``: those of larger clusters are passed over."""
    if nodes is None:
        return range(first, first + incidents)
    fitting = (seed for seed in itertools.count(first) if size(seed) <= nodes)
    return list(itertools.islice(fitting, incidents))


def campaign(
    first: int, incidents: int, jobs: int = 0, shell: str = FAST, nodes: int | None = None
) -> t.Iterator[Played]:
    """Play incidents; yields them as they come, in the order of their seeds. ``nodes``: of clusters that are no larger."""
    return played([seeds_from(first, incidents, nodes)], jobs, shell)


def played(ranges: t.Iterable[t.Sequence[int]], jobs: int = 0, shell: str = FAST) -> t.Iterator[Played]:
    """The same of several ranges of seeds, one after the other. No yield is of two of them."""
    chunks = [(seeds[at : at + CHUNK], shell) for seeds in ranges for at in range(0, len(seeds), CHUNK)]
    with multiprocessing.Pool(jobs or os.cpu_count(), prepare, (shell,)) as pool:
        yield from pool.imap(_chunk, chunks)


def hunts(
    names: t.Sequence[str], most: int, shell: str = FAST, known: t.Mapping[str, int] = MappingProxyType({})
) -> dict[str, tuple[int | None, str]]:
    """``hunt.hunt`` for several policies at once. ``known``: the incident to begin with, by the policy's name."""
    with multiprocessing.Pool(os.cpu_count(), prepare, (shell,)) as pool:
        work = [(name, most, 0, shell, known.get(name)) for name in names]
        return dict(zip(names, pool.starmap(hunt, work, chunksize=1)))
