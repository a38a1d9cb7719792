# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are this node's iptables rules in place?

Read rarely, since reading spawns two processes a family of addresses.
"""

from __future__ import annotations

from ..errors import NatFailoverError
from ..host.netfilter import RulesReading
from ..model.nat import Nat
from ..runtime.base import Pool, Runtime
from .this_host import Host

EVERY = 2.0  # seconds between readings where the kernel does not report changes
EVERY_REPORTED = 30.0  # seconds between readings where it does
SHORTEST_PAUSE = 0.5  # seconds between readings, however many changes are reported
OTHERS_EVERY = 30.0  # seconds between readings of the tables of others
OTHERS_PAUSE = 5.0  # seconds between those readings, however many changes are reported
OTHERS_SHARE = 0.05  # of the time may be spent in them: a table may have 100,000 elements


class RulesReader:
    """``reading`` is the newest comparison of this node's rules.

    ``foreign`` are rules of others that may drop clients' packets. ``unknown`` is why those outside
    of iptables' tables cannot be read, "" if they can. ``policy`` are rules of the policy routing
    that drop packets of clients.
    """

    def __init__(self, host: Host, runtime: Runtime, pool: Pool) -> None:
        self.reading = RulesReading()
        self.unknown = ""
        self.policy: tuple[str, ...] = ()
        self._others: tuple[str, ...] = ()
        self._others_changed = True
        self._others_read_at = self._others_soonest = float("-inf")
        self._host = host
        self._runtime = runtime
        self._pool = pool
        self._every = EVERY
        self._due = self._read_at = float("-inf")

    @property
    def due(self) -> float:
        """When rules are read next."""
        return min(self._due, self._due_of_others())

    def demand(self) -> None:
        """The rules may have changed, also those of others: read them soon."""
        self._due = min(self._due, self._read_at + SHORTEST_PAUSE)
        self._others_changed = True

    def demand_now(self) -> None:
        """Read the rules with the next call of ``read``."""
        self._due = float("-inf")

    async def begin(self, reported: bool) -> None:
        """Choose the pace.

        ``reported``: the kernel reports changes of nf_tables, which iptables may not use.
        """
        if reported and await self._pool.run(self._host.rules_in_nftables):
            self._every = EVERY_REPORTED

    @property
    def foreign(self) -> tuple[str, ...]:
        """Rules of others that may drop clients' packets, in words."""
        return (*self.reading.foreign, *self._others)

    async def read(self, nat: Nat) -> RulesReading:
        """``reading``, after a reading if one is due."""
        now = self._runtime.now()
        if now >= self._due:
            self._read_at, self._due = now, now + self._every
            self.reading = await self._pool.run(self._host.read_rules, nat)
        if now >= self._due_of_others():
            await self._read_others(nat)
        return self.reading

    def _due_of_others(self) -> float:
        """When the rules outside of this node's own are read next."""
        return self._others_soonest if self._others_changed else self._others_read_at + OTHERS_EVERY

    async def _read_others(self, nat: Nat) -> None:
        """Read the rules outside of this node's own. Long tables are read the more rarely."""
        began, self._others_changed = self._runtime.now(), False
        try:
            self.policy = await self._pool.run(self._host.read_policy_rules, nat)
        except NatFailoverError:
            self.policy = ()  # an iproute2 without JSON, before 4.14
        try:
            self._others, self.unknown = await self._pool.run(self._host.read_other_tables, nat), ""
        except NatFailoverError as error:
            self._others, self.unknown = (), str(error)
        self._others_read_at = self._runtime.now()
        took = self._others_read_at - began
        self._others_soonest = self._others_read_at + max(OTHERS_PAUSE, took / OTHERS_SHARE)
