# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source addresses whose datagrams the kernel lets in: those of the peers.

A flood of foreign datagrams costs this process nothing then. A host without such filters is told
once, and the process refuses them itself.
"""

from __future__ import annotations

import logging
import typing as t

from ..runtime.base import Datagrams, Runtime

LOG = logging.getLogger("nat-failover")
SAMPLE = 0.15  # seconds for which foreign datagrams pass: longer than one heartbeat interval
NOT_FILTERED = ""


class Admission:
    """The filter of one socket. ``filtered``: the kernel drops foreign datagrams."""

    def __init__(self, runtime: Runtime, port: int) -> None:
        self.filtered = True
        self.sampling = False
        self._runtime, self._port = runtime, port
        self._datagrams: Datagrams | None = None
        self._peers: frozenset[str] = frozenset()
        # The addresses that the kernel lets pass, None: all. NOT_FILTERED: it was not asked yet
        self._admitted: frozenset[str] | str | None = NOT_FILTERED

    def open(self, datagrams: Datagrams) -> None:
        """Filter this socket from now on."""
        self._datagrams = datagrams
        self._apply()

    def close(self) -> None:
        """The socket is closed."""
        self._datagrams, self._admitted = None, NOT_FILTERED

    def admit(self, addresses: t.Iterable[str]) -> None:
        """The addresses of the peers. Before the first reading of EC2 there may be none."""
        self._peers = frozenset(addresses)
        self._apply()

    def sample(self) -> None:
        """Let foreign datagrams pass for a moment, to notice a machine that runs in a peer's name.

        The kernel would hide it. A flood that lasts costs the service this share of its packets.
        """
        if self._datagrams is not None and self.filtered and not self.sampling:
            self.sampling = True
            self._apply()
            self._runtime.later(SAMPLE, self._end_sample)

    def _end_sample(self) -> None:
        self.sampling = False
        self._apply()

    def _apply(self) -> None:
        addresses = None if self.sampling else self._peers
        if self._datagrams is None or addresses == self._admitted or not self.filtered:
            return
        try:
            self._datagrams.admit(addresses)
            self._admitted = addresses
        except (OSError, ValueError) as error:
            self.filtered = False
            LOG.warning(
                "heartbeat: the kernel takes no filter of source addresses (%s); foreign packets on UDP port %s are "
                "refused by this process, which costs CPU. Let a security group admit the nodes only",
                error,
                self._port,
            )
