# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words such as ``nat-a=carry`` behind an order to the root helper."""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError
from ..model.nat import Nat


def assigned(nat: Nat, words: t.Sequence[str], allowed: t.Sequence[str], what: str) -> dict[str, str]:
    """Identity -> value. ``what``: "with one of the states", for the error.

    Raises ``NatFailoverError`` for a name that is no identity of this node, or a value that is not
    among those ``allowed``.
    """
    known, found = {each.name for each in nat.identities}, {}
    for word in words:
        name, _equals, value = word.partition("=")
        if name not in known or value not in allowed:
            raise NatFailoverError(f"{word[:80]!r} is no identity of this node {what} {', '.join(allowed)}")
        found[name] = value
    return found
