# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign over days: its pieces on disk, one JSON object per line, and the totals that docs/safety.md shows."""

from __future__ import annotations

import hashlib
import subprocess
import time
import typing as t
from pathlib import Path

from benchmarks.store import RESULTS, Store
from benchmarks.table import table

from .campaign import Played, played, seeds_from
from .shape import EARLY, IDENTITIES, SERVED, SYNCED, WITNESSED
from .shells import FAST, REAL

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "plugins" / "module_utils" / "nat_failover"
UNPLAYED = ("cli.py", "readers.py", "console", "web", "hooks")  # of the engine: no incident runs them
STORE = Store(RESULTS / "simulation.jsonl", ("shell", "first", "engine"))
PAGE = ROOT / "docs" / "safety.md"
BEGIN, END = "<!-- begin: ./dev simulate --total -->\n", "<!-- end -->\n"
INCIDENTS = {REAL: 200, FAST: 5000}  # of a piece: about a minute of one processor
# Where the seeds of a campaign begin, and the incidents of ten pieces: half of them have identities.
BEGINS = {FAST: 120_000_000, REAL: 200_000_000}
KINDS = (0, IDENTITIES, IDENTITIES, WITNESSED, 0, IDENTITIES, EARLY, SYNCED, IDENTITIES, SERVED)

Row = dict[str, t.Any]


def engine() -> str:
    """A digest of the files of the engine that an incident runs. Results of equal ones add up."""
    digest = hashlib.sha256()
    for path in sorted(ENGINE.rglob("*.py")):
        name = path.relative_to(ENGINE)
        if name.parts[0] not in UNPLAYED:
            digest.update(f"{name} ".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def next_first(rows: t.Sequence[Row], shell: str) -> int:
    """The first seed of the next piece. No seed is played twice, whatever became of the engine."""
    mine = [row for row in rows if row["shell"] == shell]
    begin = BEGINS[shell] + KINDS[len(mine) % len(KINDS)]
    # Each kind has a thousand million seeds, and a campaign begins above the first hundred million of them.
    ends = [row["first"] + row["incidents"] for row in mine if 0 <= row["first"] - begin < WITNESSED - BEGINS[shell]]
    return max(ends, default=begin)


def play_on(incidents: int, shell: str, jobs: int, store: Store = STORE) -> t.Iterator[Row]:
    """Play so many more incidents; yields each piece once it is in the store. A piece that was interrupted is played again."""
    rows, of_piece = store.rows(), min(incidents, INCIDENTS[shell])
    plan: list[tuple[int, int]] = []
    while sum(count for _first, count in plan) < incidents:
        planned = [{"shell": shell, "first": first, "incidents": count} for first, count in plan]
        plan.append((next_first([*rows, *planned], shell), of_piece))
    origin, began, results = _origin(), time.monotonic(), played([seeds_from(*each) for each in plan], jobs, shell)
    for first, count in plan:
        done = Played(0, [], 0.0)
        for part in results:
            done = done.plus(part)
            if done.incidents >= count:
                break
        row = {
            **origin,
            "shell": shell,
            "first": first,
            "incidents": count,
            "violations": len(done.found),
            "failing": [each.seed for each in done.found],
            "cpu_s": round(done.cpu, 1),
            "took_s": round(time.monotonic() - began, 1),
        }
        began = time.monotonic()
        store.add(row)
        yield {**row, "stories": [each.story for each in done.found]}


def totals(rows: t.Iterable[Row]) -> str:
    """A table by engine and shell, in the order of their first pieces."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["engine"], row["shell"]), []).append(row)
    body = []
    for (digest, shell), pieces in found.items():
        sums = {name: sum(row[name] for row in pieces) for name in ("incidents", "violations", "cpu_s")}
        seeds = ", ".join(str(seed) for row in pieces for seed in row["failing"]) or "–"
        cpu = f"{1000 * sums['cpu_s'] / sums['incidents']:.0f} ms"
        body.append([digest, pieces[0]["commit"], shell, f"{sums['incidents']:,}", sums["violations"], seeds, cpu])
    head = ["engine", "first commit", "shell", "incidents", "broke a law", "their seeds", "CPU of an incident"]
    return table(head, body)


def renewed(page: str, rows: t.Iterable[Row]) -> str:
    """The page with the present totals between its two marks. Raises ``ValueError`` for one without them."""
    before, after = page.split(BEGIN)
    return before + BEGIN + "\n" + totals(rows) + "\n" + END + after.split(END, 1)[1]


def _origin() -> Row:
    argv = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"commit": done.stdout.strip(), "engine": engine()}
