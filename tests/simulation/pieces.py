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
INCIDENTS = {REAL: 1000, FAST: 20_000}  # of a piece: some minutes of one processor
BEGINS = {FAST: 120_000_000, REAL: 200_000_000}  # where the seeds of a campaign begin


class Kind(t.NamedTuple):
    """The incidents of a piece. ``first``: where the seeds of their kind begin; ``nodes``: of larger clusters there are none."""

    first: int
    nodes: int | None = 2


# Of ten incidents nine have identities. One of eight has a cluster of any size, which costs five times as much.
ALONE = (Kind(0), Kind(WITNESSED, None), Kind(EARLY), Kind(SERVED))
KINDS = tuple(
    kind
    for alone in ALONE
    for kind in (alone, *[Kind(IDENTITIES)] * 4, Kind(SYNCED), *[Kind(IDENTITIES)] * 3, Kind(IDENTITIES, None))
)

HEAD = ("engine", "first commit", "shell", "incidents", "with identities", "broke a law", "their seeds", "CPU of one")

Row = dict[str, t.Any]


def engine() -> str:
    """A digest of the files of the engine that an incident runs. Results of equal ones add up."""
    digest = hashlib.sha256()
    for path in sorted(ENGINE.rglob("*.py")):
        name = path.relative_to(ENGINE)
        if name.parts[0] not in UNPLAYED:
            digest.update(f"{name} ".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def next_piece(rows: t.Sequence[Row], shell: str) -> tuple[Kind, int]:
    """The kind and the first seed of the next piece. No seed is played twice, whatever became of the engine."""
    mine = [row for row in rows if row["shell"] == shell]
    kind = KINDS[len(mine) % len(KINDS)]
    begin = BEGINS[shell] + kind.first
    # Each kind has a thousand million seeds, and a campaign begins above the first hundred million of them.
    ends = [_end(row) for row in mine if 0 <= row["first"] - begin < WITNESSED - BEGINS[shell]]
    return kind, max(ends, default=begin)


def _end(row: Row) -> int:
    """The seed after the last one of a piece. Older pieces pass no seeds over, and do not name it."""
    return int(row.get("end", row["first"] + row["incidents"]))


def play_on(incidents: int, shell: str, jobs: int, store: Store = STORE) -> t.Iterator[Row]:
    """Play so many more incidents; yields each piece once it is in the store. A piece that was interrupted is played again."""
    rows, of_piece = store.rows(), min(incidents, INCIDENTS[shell])
    planned: list[Row] = []
    plan: list[t.Sequence[int]] = []
    while of_piece * len(plan) < incidents:
        kind, first = next_piece([*rows, *planned], shell)
        seeds = seeds_from(first, of_piece, kind.nodes)
        plan.append(seeds)
        planned.append(
            {"shell": shell, "first": first, "end": seeds[-1] + 1, "nodes": kind.nodes, "incidents": of_piece}
        )
    origin, began, results = _origin(), time.monotonic(), played(plan, jobs, shell)
    for piece in planned:
        done = Played(0, [], 0.0)
        for part in results:
            done = done.plus(part)
            if done.incidents >= of_piece:
                break
        row = {
            **origin,
            **piece,
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
        moving = sum(row["incidents"] for row in pieces if row["first"] >= IDENTITIES)
        cpu = f"{1000 * sums['cpu_s'] / sums['incidents']:.0f} ms"
        counts = [f"{count:,}" for count in (sums["incidents"], moving)]
        body.append([digest, pieces[0]["commit"], shell, *counts, sums["violations"], seeds, cpu])
    return table(HEAD, body)


def renewed(page: str, rows: t.Iterable[Row]) -> str:
    """The page with the present totals between its two marks. Raises ``ValueError`` for one without them."""
    before, after = page.split(BEGIN)
    return before + BEGIN + "\n" + totals(rows) + "\n" + END + after.split(END, 1)[1]


def _origin() -> Row:
    argv = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"commit": done.stdout.strip(), "engine": engine()}
