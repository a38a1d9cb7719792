# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections on the protection of this node itself: its credentials and its ports."""

from __future__ import annotations

import typing as t

from ..model.nat import Opening
from ..model.settings import TCP, UDP
from . import addresses
from .reader import Form, Reader, refuse_duplicates, refuse_empty

USER = Form("user name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "write the name of a local user as `id` shows it")


def imds_users(reader: Reader) -> tuple[str, ...] | None:
    """The section ``imds``. Without it, every local user may ask the metadata service."""
    users = tuple(reader.texts("users", [], form=USER))
    refuse_duplicates("imds.users", users, "name each user once")
    reader.refuse_unknown()
    return None if reader.empty else users


def openings(reader: Reader) -> tuple[Opening, ...] | None:
    """The section ``input``. Without it, the node refuses nothing."""
    if reader.empty:
        return None
    found = [each for index, raw in enumerate(reader.items("allow")) for each in _opening(index, raw)]
    reader.refuse_unknown()
    refuse_duplicates("input.allow", tuple(map(tuple, found)), "name each port and network once")
    return tuple(found)


def _opening(index: int, raw: t.Any) -> list[Opening]:
    reader = Reader(f"input.allow[{index}].", raw)
    protocol = reader.choice("protocol", (TCP, UDP), TCP)
    port = reader.whole("port", 0, 1, 65535)
    networks = reader.texts("networks", [])
    refuse_empty(f"input.allow[{index}].networks", networks, "name the networks that may reach the port")
    reader.refuse_unknown()
    return [Opening(protocol, port, each) for each in addresses.networks(f"input.allow[{index}].networks", networks)]
