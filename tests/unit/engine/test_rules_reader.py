# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a change of the rules is read, and how much may be spent on the rules of others."""

from __future__ import annotations

import asyncio

from nat_failover.host.netfilter import RulesReading
from nat_failover.model.nat import Nat
from nat_failover.observe import rules_reader
from nat_failover.observe.rules_reader import RulesReader

NAT = Nat(("10.0.0.0/16",), "ens5")


class Node:
    """A host, a runtime and a pool in one, on a clock that the test moves."""

    def __init__(self, took: float = 0.0) -> None:
        self.at, self.took = 0.0, took
        self.read: list[float] = []  # when the rules of others were read
        self.rules = 0  # readings of this node's own
        self.reader = RulesReader(self, self, self)  # type: ignore[arg-type]
        self.look()

    def now(self) -> float:
        return self.at

    async def run(self, call, *arguments):
        return call(*arguments)

    def read_rules(self, _nat):
        self.rules += 1
        return RulesReading("", "", {})

    def rules_in_nftables(self):
        return True

    def read_policy_rules(self, _nat):
        return ()

    def read_other_tables(self, _nat):
        self.read.append(self.at)
        self.at += self.took
        return ("iptables raw PREROUTING: drop",)

    def look(self) -> None:
        """The check's loop wakes."""
        asyncio.run(self.reader.read(NAT))

    def change(self, at: float) -> None:
        """The kernel reports a change at a time, and the check's loop wakes at once."""
        self.wait(at)
        self.reader.demand()
        self.look()

    def wait(self, until: float) -> None:
        """The check's loop wakes whenever something is due."""
        while self.reader.due < until:
            self.at = max(self.at, self.reader.due)
            self.look()
        self.at = max(self.at, until)


def test_a_rule_of_others_is_read_soon_after_the_kernel_reports_it() -> None:
    node = Node()
    node.change(at=12.0)
    assert node.read == [0.0, 12.0]
    assert node.reader.foreign == ("iptables raw PREROUTING: drop",)


def test_a_second_change_waits_for_a_pause_and_is_not_forgotten() -> None:
    node = Node()
    for at in (12.0, 12.1, 12.2):
        node.change(at)
    node.wait(30.0)
    assert node.read == [0.0, 12.0, 12.0 + rules_reader.OTHERS_PAUSE]


def test_without_a_report_they_are_read_now_and_then() -> None:
    node = Node()
    asyncio.run(node.reader.begin(True))
    node.wait(2.5 * rules_reader.OTHERS_EVERY)
    assert node.read == [0.0, rules_reader.OTHERS_EVERY, 2 * rules_reader.OTHERS_EVERY]


def test_a_change_while_they_are_read_is_read_after_a_pause() -> None:
    node = Node(took=2.0)
    asyncio.run(node.reader.begin(True))
    during = node.read_other_tables
    node.read_other_tables = lambda nat: (node.reader.demand(), during(nat))[1]  # type: ignore[method-assign]
    node.wait(400.0)
    assert 400.0 / len(node.read) > 0.9 * node.took / rules_reader.OTHERS_SHARE


def test_long_tables_that_change_all_the_time_cost_a_bounded_share_of_it() -> None:
    node = Node(took=2.0)
    for at in range(10, 1000):
        node.change(float(at))
    spent = len(node.read) * node.took
    assert 0.02 < spent / node.at < 1.5 * rules_reader.OTHERS_SHARE


def test_the_own_rules_are_read_at_each_change_all_the_same() -> None:
    node = Node()
    for at in (12.0, 13.0, 14.0):
        node.change(at)
    assert node.rules >= 4
