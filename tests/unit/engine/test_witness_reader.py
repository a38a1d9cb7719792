# SPDX-License-Identifier: GPL-3.0-or-later
"""The pace of the witness table's reader, its outages, and its lock. The table is played; tests/integration/adapter has a served one."""

from __future__ import annotations

import asyncio
import types
from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import WitnessError
from nat_failover.model.evidence import VALID
from nat_failover.model.liveness import LivenessCounter
from nat_failover.model.plan import FenceStep
from nat_failover.observe.witness_reader import MOST_READS, WitnessReader
from nat_failover.timing import TimerCoalescer
from nat_failover.wire.seals import ITEM, Seals

from .config_case import LEAST
from .played import PlayedRuntime

BOOT = "0123456789abcdef"


class Table:
    """Keeps the lock and the items, and fails as it is told."""

    def __init__(self):
        self.lock_held = None
        self.shown = []
        self.reads = 0
        self.broken = False

    def read(self):
        self.reads += 1
        if self.broken:
            raise WitnessError("dynamodb:Query", "nat-failover", "Timeout", "no answer", retryable=True)
        return types.SimpleNamespace(items={}, lock=self.lock_held)

    def show(self, instance_id, value):
        self.shown.append((instance_id, value))

    def lock(self, holder, peer, value, expects):
        if self.lock_held is not None and self.lock_held[2] != expects:
            return False
        self.lock_held = (holder, peer, value)
        return True

    def unlock(self, expects):
        self.lock_held = None
        return True


class Node:
    def __init__(self, runtime):
        self.table, self.events, self.woken = Table(), [], 0
        config, seals = configuration.parse(LEAST), Seals((b"k" * 32,), "prod")
        self.reader = WitnessReader(
            replace(config, ec2=replace(config.ec2, poll=3600.0)),
            self.table,
            runtime,
            TimerCoalescer(0.1, runtime),
            boot_id=BOOT,
            liveness=LivenessCounter(BOOT, "nat-a", seals.sign, 0.0),
            seals=seals,
            instance_id=lambda: "i-1",
            wake=self.wake,
            emit=lambda kind, text, _level: self.events.append((kind, text)),
        )

    def wake(self):
        self.woken += 1

    async def until(self, condition):
        async def wait():
            while not condition():
                await asyncio.sleep(0.002)

        await asyncio.wait_for(wait(), 5)


def play(story, work=True):
    """A story of one node, while the loops of its reader run."""

    async def run():
        node = Node(PlayedRuntime(100.0, 0.001))
        loops = [asyncio.ensure_future(each) for each in node.reader.work() if work or each.close()]
        try:
            await story(node)
        finally:
            for each in loops:
                each.cancel()
            found = await asyncio.gather(*loops, return_exceptions=True)
            node.reader.close()
        assert all(isinstance(each, asyncio.CancelledError) for each in found), found
        return node

    return asyncio.run(run())


def test_it_reads_at_once_and_then_only_when_a_tighter_watch_is_demanded():
    async def story(node):
        await node.until(lambda: node.table.reads == 1)
        for watch in (60.0, 30.0):
            before = node.table.reads
            node.reader.demand(watch, False)
            await node.until(lambda before=before: node.table.reads == before + 1)
        node.reader.demand(60.0, False)
        node.reader.demand(None, False)
        await asyncio.sleep(0.03)
        assert node.table.reads == 3

    assert play(story).woken == 3


def test_readings_that_hang_are_not_piled_up():
    async def story(node):
        held = asyncio.get_running_loop().create_future()
        started = []

        async def hang(_began):
            started.append(1)
            await held

        node.reader._read = hang
        for watch in (9.0, 8.0, 7.0, 6.0):
            node.reader.demand(watch, False)
            await asyncio.sleep(0.01)
        assert len(started) == MOST_READS
        held.set_result(None)

    play(story)


def test_an_outage_is_reported_with_its_begin_and_its_end_and_keeps_the_view():
    async def story(node):
        await node.until(lambda: node.reader.view is not None)
        view, node.table.broken = node.reader.view, True
        for watch in (9.0, 8.0):
            node.reader.demand(watch, False)
            await node.until(lambda watch=watch: node.reader.problem and node.table.reads >= 11 - watch)
        assert node.reader.view is view
        node.table.broken = False
        node.reader.demand(7.0, False)
        await node.until(lambda: not node.reader.problem)

    begin, end = play(story).events
    assert begin[0] == "witness" and "no fence is begun until it answers" in begin[1]
    assert end == ("witness", "the witness table answers")


def test_the_own_item_is_rewritten_only_while_that_is_wanted():
    async def story(node):
        await asyncio.sleep(0.01)
        assert node.table.shown == []
        node.reader.demand(None, True)
        await node.until(lambda: node.table.shown)
        [(instance, value), *_later] = node.table.shown
        sign = Seals((b"k" * 32,), "prod").read(ITEM, "nat-a", "i-1", value)
        assert (instance, sign.boot, sign.number, sign.seal) == ("i-1", BOOT, 1, VALID)

    play(story)


@pytest.mark.parametrize("expects", ["", "another"])
def test_a_lock_is_dated_before_its_write_and_only_if_this_run_wrote_it(expects):
    async def story(node):
        began = node.reader._runtime.at
        assert await node.reader.carry_out(FenceStep("lock", "nat-b", "i-2", "", ""))
        lock = node.reader.view.lock
        assert lock.peer == "nat-b" and began - 0.001 <= lock.written_at < node.reader._runtime.at
        assert lock.sign.seal == VALID
        node.table.lock_held = ("nat-c", "nat-b", "fedcba:5")
        assert not await node.reader.carry_out(FenceStep("lock", "nat-b", "i-2", "", expects))
        assert node.reader.view.lock.written_at is None

    play(story, work=False)


def test_without_a_table_there_is_no_loop():
    async def run():
        reader = Node(PlayedRuntime()).reader
        reader.table = None
        return reader.work()

    assert asyncio.run(run()) == ()
