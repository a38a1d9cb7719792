# SPDX-License-Identifier: GPL-3.0-or-later
"""Many incidents on all processors."""

from __future__ import annotations

import multiprocessing
import os
import typing as t

from .broken import hunt
from .incidents import play
from .laws import Violation

CHUNK = 50  # incidents handed to a process at a time


class Found(t.NamedTuple):
    """A violated law: the seed that replays it, and its story."""

    seed: int
    story: str


def _chunk(seeds: t.Tuple[int, int]) -> t.Tuple[int, t.List[Found]]:
    found = []
    for seed in range(*seeds):
        try:
            play(seed)
        except Violation as violation:
            found.append(Found(seed, str(violation)))
    return seeds[1] - seeds[0], found


def campaign(first: int, incidents: int, jobs: int = 0) -> t.Iterator[t.Tuple[int, t.List[Found]]]:
    """Play incidents; yields (how many more were played, what was found in them) as they come, in the order of their seeds."""
    chunks = [(seed, min(seed + CHUNK, first + incidents)) for seed in range(first, first + incidents, CHUNK)]
    with multiprocessing.Pool(jobs or os.cpu_count()) as pool:
        yield from pool.imap(_chunk, chunks)


def hunts(names: t.Sequence[str], most: int) -> t.Dict[str, t.Tuple[t.Optional[int], str]]:
    """``broken.hunt`` for several policies at once."""
    with multiprocessing.Pool(os.cpu_count()) as pool:
        return dict(zip(names, pool.starmap(hunt, [(name, most) for name in names], chunksize=1)))
