# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signs of life that a node writes where others read them: its flare, its item in the witness table. Each has a number.

Heartbeats carry the number of the last one begun. So a sign from before the last heartbeat is told from one that came after it: of a
node that suspected somebody just before it died, only the latter says that it lives.
"""

from __future__ import annotations

from .cluster import Heard


class Signs:
    """Numbers the signs of one run of the service."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self.last = 0

    def next(self) -> str:
        """The value of a sign that is about to be written."""
        self.last += 1
        return "%s:%d" % (self._boot_id, self.last)


def older(value: str, heard: Heard) -> bool:
    """Was this sign begun before the last heartbeat? Then it says nothing that the heartbeat did not."""
    boot, _colon, number = value.rpartition(":")
    return heard.report is not None and boot == heard.boot_id and number.isdigit() and int(number) <= heard.report.signs
