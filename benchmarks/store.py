# SPDX-License-Identifier: GPL-3.0-or-later
"""Results on disk: one JSON object per line, appended as soon as it is measured, so that a run can be resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


class Store:
    """The rows of one part. ``keys`` are the fields that say which measurement a row is."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path = path
        self.keys = tuple(keys)

    def rows(self) -> list[dict[str, Any]]:
        """All rows; half a line, left by a crash, is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def has(self, **wanted: Any) -> bool:
        """Whether this measurement is there already."""
        key = self._key(wanted)
        return any(self._key(row) == key for row in self.rows())

    def add(self, row: dict[str, Any]) -> None:
        """Append a row, whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        if text and not text.endswith("\n"):
            self.path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")

    def set_aside(self) -> None:
        """Begin anew; what was measured before is what the new figures are compared with."""
        if self.path.exists():
            self.path.replace(self.before.path)
        self.path.with_suffix(".note").unlink(missing_ok=True)

    @property
    def before(self) -> Store:
        """The run before this one."""
        return Store(self.path.with_suffix(".before.jsonl"), self.keys)

    def note(self) -> str:
        """The remarks of the person who measured. A file beside the rows, which goes with them."""
        path = self.path.with_suffix(".note")
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in self.keys)
