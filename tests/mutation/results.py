# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on each mutant so far, and the list of those that no test can tell from the original."""

from __future__ import annotations

import json
import tomllib
import typing as t
from dataclasses import dataclass
from pathlib import Path

if t.TYPE_CHECKING:
    from .mutants import Mutant

EQUIVALENT = Path(__file__).parents[1] / "mutants.toml"
FIELDS = {"file", "function", "line", "mutants", "reason"}


@dataclass(frozen=True)
class Equivalent:
    """Mutants of a line that change nothing. ``function``: empty for a line of the module."""

    file: str
    function: str
    line: str
    mutants: tuple[str, ...]
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        """Whether this entry is about this mutant."""
        where = (self.file, self.function, self.line) == (mutant.file, mutant.function, mutant.old)
        return where and mutant.new in self.mutants


def equivalents(path: Path = EQUIVALENT) -> list[Equivalent]:
    """The list, read. Raises ``ValueError`` for an entry that lacks something."""
    found = []
    for number, entry in enumerate(tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", []), 1):
        if set(entry) != FIELDS or not str(entry["reason"]).strip() or not entry["mutants"]:
            raise ValueError(f"{path.name}: entry {number} needs each of {', '.join(sorted(FIELDS))}, and nothing else")
        found.append(Equivalent(**{**entry, "mutants": tuple(entry["mutants"])}))
    return found


class Known:
    """Verdicts on disk, one JSON object per line, the last one of a key counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, t.Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):  # half a line was left by a crash
                    row = json.loads(line)
                    self._rows[row["key"]] = row

    def row(self, key: str) -> dict[str, t.Any] | None:
        """The verdict on a mutant, if there is one."""
        return self._rows.get(key)

    def add(self, row: dict[str, t.Any]) -> None:
        """Append a verdict."""
        self._rows[row["key"]] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")

    def tidy(self, keys: t.Collection[str]) -> None:
        """Keep the last verdicts on the mutants that there are, in the order of their keys."""
        self._rows = {key: self._rows[key] for key in sorted(self._rows) if key in keys}
        lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in self._rows.values())
        if self.path.exists() and self.path.read_text(encoding="utf-8") != lines:
            beside = self.path.with_suffix(".new")
            beside.write_text(lines, encoding="utf-8")
            beside.replace(self.path)


@dataclass
class Score:
    """Counts, and what a reader must look at."""

    mutants: int = 0
    killed: int = 0
    survived: int = 0
    equivalent: int = 0
    left: int = 0

    def line(self) -> dict[str, t.Any]:
        """For the JSON line. ``percent``: killed, of those that were judged and are not equivalent."""
        judged = self.killed + self.survived
        return {**vars(self), "percent": round(100 * self.killed / judged, 1) if judged else None}


def count(mutants: t.Iterable[Mutant], known: Known, listed: t.Sequence[Equivalent]) -> tuple[Score, list[str]]:
    """The score of these mutants, and remarks: survivors without an explanation, and explanations that are wrong."""
    score, remarks, used = Score(), [], set()
    for mutant in mutants:
        score.mutants += 1
        row = known.row(mutant.key)
        reasons = [number for number, entry in enumerate(listed) if entry.covers(mutant)]
        used.update(reasons)
        where = f"{mutant.file}:{mutant.row} {mutant.function}: {mutant.old}  ->  {mutant.new}"
        if row is None:
            score.left += 1
        elif row["outcome"] == "killed":
            score.killed += 1
            if reasons:
                remarks.append(f"listed as equivalent, but killed by {row['by']}: {where}")
        elif reasons:
            score.equivalent += 1
        else:
            score.survived += 1
            remarks.append(f"survived: {where}")
    stale = [entry for number, entry in enumerate(listed) if number not in used]
    remarks += [f"{EQUIVALENT.name} explains a line that is not there: {e.file} {e.function}: {e.line}" for e in stale]
    return score, remarks
