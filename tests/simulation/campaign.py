# SPDX-License-Identifier: GPL-3.0-or-later
"""Many incidents on all processors."""

from __future__ import annotations

import multiprocessing
import os
import typing as t
from types import MappingProxyType

from .broken import hunt
from .incidents import play
from .laws import Violation
from .shells import FAST, shell_of

CHUNK = 50  # incidents handed to a process at a time


class Found(t.NamedTuple):
    """A violated law: the seed that replays it, and its story."""

    seed: int
    story: str


def _chunk(work: tuple[int, int, str]) -> tuple[int, list[Found]]:
    first, end, shell = work
    found = []
    for seed in range(first, end):
        try:
            play(seed, shell_of(shell))
        except Violation as violation:
            found.append(Found(seed, str(violation)))
    return end - first, found


def campaign(first: int, incidents: int, jobs: int = 0, shell: str = FAST) -> t.Iterator[tuple[int, list[Found]]]:
    """Play incidents; yields (how many more were played, what was found in them) as they come, in the order of their seeds."""
    chunks = [(seed, min(seed + CHUNK, first + incidents), shell) for seed in range(first, first + incidents, CHUNK)]
    with multiprocessing.Pool(jobs or os.cpu_count()) as pool:
        yield from pool.imap(_chunk, chunks)


def hunts(
    names: t.Sequence[str], most: int, shell: str = FAST, known: t.Mapping[str, int] = MappingProxyType({})
) -> dict[str, tuple[int | None, str]]:
    """``broken.hunt`` for several policies at once. ``known``: the incident to begin with, by the policy's name."""
    with multiprocessing.Pool(os.cpu_count()) as pool:
        work = [(name, most, 0, shell, known.get(name)) for name in names]
        return dict(zip(names, pool.starmap(hunt, work, chunksize=1)))
