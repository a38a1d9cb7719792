# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of nftables that belongs to this product alone. It is compared by the comments of its rules.

Each rule has the same comment, a mark of the whole table. So a table of an earlier configuration
differs, and so does one that lost a rule.
"""

from __future__ import annotations

import typing as t

from . import nft_json
from .rule_tables import TIMEOUT, Runner, run

Marks = t.Mapping[str, t.Sequence[str]]  # chain -> the comments of its rules


class OwnTable(t.NamedTuple):
    """The table by its family and its name."""

    family: str
    name: str

    @property
    def listing(self) -> list[str]:
        """The command that lists it."""
        return ["nft", "--json", "list", "table", self.family, self.name]

    def marks(self, runner: Runner) -> Marks | None:
        """The marks that are there. None: there is no such table, or no nft.

        Raises ``NatFailoverError``.
        """
        code, out, _err = runner(self.listing, timeout=TIMEOUT)
        if code:
            return None
        found: dict[str, list[str]] = {}
        for kind, item in nft_json.items(out):
            if kind == "chain":
                found.setdefault(str(item.get("name", "")), [])
            elif kind == "rule":
                found.setdefault(str(item.get("chain", "")), []).append(str(item.get("comment", "")))
        return found

    def difference(self, present: t.Any, wanted: t.Any, otherwise: str) -> list[str]:
        """The change from present to wanted marks, in words. None: there is, or should be, no table.

        ``otherwise``: the doings of a table with other marks.
        """
        if present == wanted:
            return []
        if wanted is None:
            return [f"left over: nft table {self.family} {self.name} is not configured any more"]
        return [f"missing: nft table {self.family} {self.name} is not there, or {otherwise}"]

    def remove(self, runner: Runner) -> bool:
        """Remove it. Returns whether it was there. Raises ``NatFailoverError``."""
        if self.marks(runner) is None:
            return False
        run(["nft", "delete", "table", self.family, self.name], runner)
        return True
