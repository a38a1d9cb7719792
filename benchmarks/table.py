# SPDX-License-Identifier: GPL-3.0-or-later
"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; what is in a cell cannot break out of it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(each) for each in line) + " |" for line in lines) + "\n"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds with a separator; a dash for what did not happen."""
    return "–" if value is None else f"{value:,.0f}"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
