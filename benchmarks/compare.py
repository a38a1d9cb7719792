# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a part beside those of the run before: what got worse is easy to spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .campaign import Part
from .table import table

SLACK = 0.10  # what a figure may differ from run to run on a quiet machine


@dataclass(frozen=True)
class Line:
    """One figure, of which a smaller one is the better one."""

    part: str
    name: str
    before: float
    now: float

    @property
    def worse(self) -> bool:
        return self.now > self.before * (1 + SLACK)

    @property
    def better(self) -> bool:
        return self.now < self.before * (1 - SLACK)

    def cells(self) -> list[str]:
        change = f"{(self.now / self.before - 1) * 100:+.0f} %" if self.before else "–"
        word = "**worse**" if self.worse else "better" if self.better else ""
        return [self.part, self.name, f"{self.before:,.4g}", f"{self.now:,.4g}", change, word]


def lines(part: Part, path: Path | None = None) -> list[Line]:
    """The figures that both runs have."""
    store = part.store(path)
    now, before = store.rows(), store.before.rows()
    if not (now and before):
        return []
    figures, earlier = part.figures(now), part.figures(before)
    return [Line(part.name, name, earlier[name], value) for name, value in figures.items() if name in earlier]


def markdown(found: Sequence[Line]) -> str:
    """The worse ones first; empty when there is nothing to compare."""
    ordered = sorted(found, key=lambda line: (not line.worse, line.part))
    return table(["part", "figure", "before", "now", "change", ""], [line.cells() for line in ordered]) if found else ""
