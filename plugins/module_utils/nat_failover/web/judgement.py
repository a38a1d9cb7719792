# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgements on a status that metrics and health share.

Shape of a status: ``service/status.py``. A key that a service of another version lacks makes an
answer unknown, never wrong.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import WITNESS

Status = t.Mapping[str, t.Any]
OBSERVE, PAUSED = "observe", "paused"


def objections(status: Status) -> list[str]:
    """The reasons why this node could not take over now, for an operator. Empty: it could."""
    if status.get("state") == WITNESS:
        return ["this node is a witness, which takes no routes"]
    codes = status.get("cannot_act")
    if codes is None:
        return ["the service of this node is of another version and does not report it"]
    texts = {row.get("code"): str(row.get("text")) for row in reversed(status.get("problems", ()))}
    return [texts.get(code, code) for code in dict.fromkeys(codes)]


def can_act(status: Status) -> bool | None:
    """Whether this node could take over, apart from a pause.

    None in mode observe, on a witness, and if the service does not report it.
    """
    codes = status.get("cannot_act")
    if codes is None or status.get("mode") == OBSERVE or status.get("state") == WITNESS:
        return None
    return not set(codes) - {PAUSED}


def dark(status: Status) -> list[str]:
    """The claims that are known to lead nowhere, as "rtb-1 0.0.0.0/0"."""
    return [
        f"{claim.get('route_table')} {claim.get('destination')}"
        for claim in status.get("claims", ())
        if claim.get("served") is False
    ]
