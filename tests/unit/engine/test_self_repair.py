# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-repair as the service asks for it, and its end when another program keeps undoing it."""

from __future__ import annotations

import asyncio
import types

import pytest

from nat_failover.host.repair_helper import RULES, SYSCTLS
from nat_failover.observe.self_repair import AGAIN_AFTER, BURST, MOST, WINDOW, NoHelper, SelfRepair

from .played import PlayedRuntime


class Node:
    """One node, its helper's answers, and the events that it reports."""

    def __init__(self, path):
        self.runtime = PlayedRuntime(0.0)
        self.events = []
        config = types.SimpleNamespace(repair_socket=str(path))
        self.repair = SelfRepair(config, self.runtime, lambda kind, text, _level: self.events.append((kind, text)))

    def answers(self, line):
        async def ask(_word):
            return line.encode()

        async def connect(_path):
            return types.SimpleNamespace(ask=ask, close=lambda: None)

        self.runtime.connect_unix = connect

    def repair_one(self, word):
        return asyncio.run(self.repair.repair_one(word))


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "s")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"mended\n", ""),
        (b"nothing to mend\n", ""),
        (b"failed: no\n", "failed: no"),
        (b"", "the helper ended without an answer"),
    ],
)
def test_the_helpers_answers(tmp_path, line, problem):
    asked, node = [], Node(tmp_path / "s")

    async def helper(reader, writer):
        asked.append(await reader.readline())
        writer.write(line)
        writer.close()

    async def body():
        server = await asyncio.start_unix_server(helper, str(tmp_path / "s"))
        try:
            return await node.repair.repair_one(RULES)
        finally:
            server.close()

    assert asyncio.run(body()) == problem
    assert asked == [b"rules\n"]


def test_a_host_without_a_helper_is_not_repaired(node):
    with pytest.raises(NoHelper):
        node.repair_one(RULES)
    assert node.events == []


def test_a_helper_that_failed_is_not_asked_again_at_once(node):
    node.answers("failed: no")
    assert node.repair_one(RULES) == "failed: no"
    node.answers("mended")
    assert node.repair_one(RULES) == "failed: no"
    assert node.repair.fight(RULES) == "", "a repair that failed is no fight"
    node.runtime.at = AGAIN_AFTER
    assert node.repair_one(RULES) == ""


def test_a_fight_is_seen_and_forgotten_after_a_while(node):
    node.answers("mended")
    for count in range(MOST):
        assert node.repair.fight(RULES) == "", count
        assert node.repair_one(RULES) == ""
        node.runtime.at += 10
    assert "undone again" in node.repair.fight(RULES)
    assert node.repair.fight(SYSCTLS) == "", "each has its own count"
    node.runtime.at = WINDOW + 1
    assert node.repair.fight(RULES) == ""


def test_repairs_of_one_reload_that_takes_the_rules_away_table_by_table_count_as_one(node):
    node.answers("mended")
    for reload in range(MOST):
        assert node.repair.fight(RULES) == "", reload
        for _table in range(3):
            assert node.repair_one(RULES) == ""
            node.runtime.at += BURST / 4
        node.runtime.at += 60
    assert "undone again" in node.repair.fight(RULES)


def test_a_program_that_never_stops_is_a_fight_after_as_many_bursts(node):
    node.answers("mended")
    repairs = 0
    while not node.repair.fight(RULES):
        assert node.repair_one(RULES) == ""
        node.runtime.at += 0.5
        repairs += 1
    assert repairs == (MOST - 1) * BURST / 0.5 + 1


def test_a_defect_that_stays_is_reported_once(node):
    node.answers("failed: no")
    for _check in range(3):
        assert asyncio.run(node.repair.repair({RULES: "no jump"})) == "failed: no"
    assert node.events == [("not_mended", "no jump; not repaired: failed: no")]


def test_sysctls_are_repaired_before_rules(node):
    node.answers("mended")
    assert asyncio.run(node.repair.repair({RULES: "no jump", SYSCTLS: "ip_forward=0"})) == ""
    assert node.events == [("mended", "ip_forward=0; repaired"), ("mended", "no jump; repaired")]
    assert node.repair.repaired_at == node.runtime.at
