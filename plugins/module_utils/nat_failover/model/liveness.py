# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signs of life that a node writes for its peers: its flare, its item in the witness table.

Each sign has a number, and heartbeats carry the number of the last one begun. So a reader tells a
sign from before the last heartbeat from a later one. Only the later one shows that a silent node
lives: a node may have flared for another peer just before its death.

Numbers grow over all runs of the service of an instance: they begin at the time of day, and at the
number that the instance's own flare shows. So an old sign that a stranger writes again is older
than the peer's last heartbeat, whichever run it is from.
"""

from __future__ import annotations

import typing as t

from .evidence import UNSIGNED, VALID, Heard, Sign

Seal = t.Callable[[str, str, str, str, int], str]  # (kind, node, instance id, boot id, number) -> value


class LivenessCounter:
    """Numbers and seals the signs of one run of the service."""

    def __init__(self, boot_id: str, node: str, seal: Seal, wall_time: float) -> None:
        """``wall_time``: seconds since 1970 at the start of the service."""
        self._boot_id, self._node, self._seal = boot_id, node, seal
        self.last = max(0, int(wall_time))

    def next(self, kind: str, instance_id: str) -> str:
        """The value of a sign that is about to be written on, or for, this node's instance."""
        self.last += 1
        return self._seal(kind, self._node, instance_id, self._boot_id, self.last)

    def note(self, own: Sign) -> None:
        """Note the flare that EC2 shows on this node's instance. Later numbers are higher."""
        if own.seal == VALID:
            self.last = max(self.last, own.number)


def believed(sign: Sign, heard: Heard) -> bool:
    """Whether the peer, and no stranger, wrote this sign.

    A sign without a seal counts only while the peer's own heartbeats, which are authenticated,
    carry no note that it seals its signs: then its service is of an older version.
    """
    return sign.seal == VALID or (sign.seal == UNSIGNED and is_older_version(heard))


def is_older_version(heard: Heard) -> bool:
    """Whether the newest heartbeat of a node is of a version that does not seal."""
    return heard.report is not None and not heard.report.seals


def older(sign: Sign, heard: Heard) -> bool:
    """Whether this sign was begun before the peer's last heartbeat.

    Then it proves no more than the heartbeat.
    """
    report = heard.report
    if report is None:
        return False
    if sign.seal == VALID:
        return report.seals and sign.number <= report.signs
    return bool(sign.boot) and sign.boot == heard.boot_id and sign.number <= report.signs
