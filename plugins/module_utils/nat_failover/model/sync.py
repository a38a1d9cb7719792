# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The synchronisation of connections as plain data: the places of identities, and conntrackd as it
shows itself.

docs/design.md, "Synchronised connections", says what follows from a place.
"""

from __future__ import annotations

import typing as t

# The place of an identity, by its claims
HERE = "here"
ENDED = "ended"  # here, and its Elastic IP does not follow
AWAY = "away"
PLACES = (HERE, ENDED, AWAY)
WORD = "sync"
NUMBERS = ("received", "lost", "refused", "cached")


class SyncReading(t.NamedTuple):
    """conntrackd as it shows itself. ``problem``: why it does not answer, in words."""

    problem: str = ""
    received: int = 0  # bytes from the peer since it started
    lost: int = 0  # messages of the peer that never arrived
    refused: int = 0  # flows of the peer that this kernel did not take
    cached: int = 0  # flows in its internal cache
    flows: t.Mapping[str, int] = {}  # identity -> its flows in the kernel, where they were counted

    def line(self) -> str:
        """The reading as the root helper answers it."""
        counts = [f"{name}:{count}" for name, count in self.flows.items()]
        numbers = f"received={self.received} lost={self.lost} refused={self.refused} cached={self.cached}"
        return " ".join((WORD, numbers, *counts)) if not self.problem else f"{WORD} problem={self.problem}"

    @classmethod
    def of(cls, line: str) -> SyncReading:
        """The reading in a line. Any other line is the reason for which there is none."""
        word, _blank, rest = line.partition(" ")
        if word != WORD or rest.startswith("problem="):
            return cls(problem=rest.partition("=")[2] if word == WORD else line or "the root helper gave no answer")
        try:
            numbers = dict(each.split("=") for each in rest.split(" ") if "=" in each)
            counts = dict(each.rsplit(":", 1) for each in rest.split(" ") if ":" in each)
            flows = {name: int(count) for name, count in counts.items()}
            received, lost, refused, cached = (int(numbers[key]) for key in NUMBERS)
            return cls("", received, lost, refused, cached, flows)
        except (KeyError, ValueError):
            return cls(problem=f"the root helper answered {line[:80]!r}")
