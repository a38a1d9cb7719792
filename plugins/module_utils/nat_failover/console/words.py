# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that an operator types and reads: near misses, lengths of time, columns."""

from __future__ import annotations

import difflib
import re
import typing as t
from datetime import datetime, timezone

from ..errors import UsageError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d")


def unknown(noun: str, value: str, known: t.Iterable[str]) -> UsageError:
    """The error for a word that is none of the known ones, with the nearest of them."""
    names = sorted(known)
    near = difflib.get_close_matches(value, names, 1)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {noun} {value!r}; {remedy}")


def moment(text: str, now: float) -> float:
    """``2h`` (ago), ``2026-11-28`` or ``2026-11-28T23:40:00Z`` in seconds since 1970.

    Raises ``UsageError`` for anything else.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match:
        return now - int(match.group(1)) * UNITS[match.group(2)]
    for form in FORMATS:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            continue
    raise UsageError(f"{text!r} is no time; write e.g. 90s, 30m, 2h, 3d, 2026-11-28 or 2026-11-28T23:40:00Z")


def columns(rows: t.Sequence[t.Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows of texts as aligned lines. The first row holds the headings."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [(indent + "  ".join(text.ljust(width) for text, width in zip(row, widths))).rstrip() for row in rows]
