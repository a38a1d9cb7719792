# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The origin of an operator's order."""

from __future__ import annotations

import typing as t


class By(t.NamedTuple):
    """The origin of an order. The client names it, so it is a hint and no proof."""

    actor: str = ""
    reason: str = ""

    def __str__(self) -> str:
        who = f"by {self.actor}" if self.actor else "by the operator"
        return f"{who}: {self.reason}" if self.reason else who

    @property
    def details(self) -> dict[str, t.Any]:
        """The details of an event about the order."""
        return {"actor": self.actor, "reason": self.reason}


NOBODY = By()
