# SPDX-License-Identifier: GPL-3.0-or-later
"""The tick loop on a real event loop, with intervals of an hour or of milliseconds and generous bounds on time."""

from __future__ import annotations

import asyncio
import time

import pytest

from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.service.loop import TickLoop
from nat_failover.timing import TimerCoalescer

HOUR = 3600.0
SOON = 5.0


class Node:
    """A node whose ticks are only noted."""

    def __init__(self, interval=HOUR, longest=HOUR):
        self.beats, self.ticks = [], []
        self.longest = longest
        self.late = (float("inf"), "")
        self.problem = None
        self.timers = TimerCoalescer(interval, AsyncioRuntime())
        self.tick_loop = TickLoop(
            AsyncioRuntime(), self.timers, self.beats.append, self.tick, lambda: self.longest, lambda: self.late
        )

    def tick(self, now):
        self.ticks.append(now)
        if self.problem:
            raise self.problem

    def play(self, body):
        async def run():
            living = asyncio.ensure_future(self.tick_loop.live())
            await asyncio.sleep(0)
            try:
                await asyncio.wait_for(body(), SOON)
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)

        asyncio.run(run())

    async def until(self, count):
        while len(self.ticks) < count:
            await asyncio.sleep(0.001)


def test_it_begins_with_a_heartbeat_and_a_decision():
    node = Node()

    async def body():
        assert len(node.beats) == len(node.ticks) == 1

    node.play(body)


def test_heartbeats_and_decisions_share_their_ticks():
    node = Node(interval=0.005)
    node.play(lambda: node.until(10))
    assert len(node.beats) == len(node.ticks)


def test_decisions_come_without_heartbeats_where_these_are_rare():
    node = Node(longest=0.002)
    node.play(lambda: node.until(10))
    assert len(node.beats) == 1


def test_evidence_of_one_round_of_the_event_loop_shares_a_tick():
    node = Node()

    async def body():
        node.tick_loop.wake()
        node.tick_loop.wake()
        assert len(node.ticks) == 1
        await asyncio.sleep(0.01)
        assert len(node.ticks) == 2 and len(node.beats) == 1

    node.play(body)


def test_changed_evidence_is_judged_as_soon_as_all_packets_are_read():
    node = Node()

    async def body():
        node.tick_loop.packet_received("nat-b")
        node.tick_loop.all_read()
        assert len(node.ticks) == 1, "nothing new"
        node.tick_loop.wake_after_read()
        node.tick_loop.wake_after_read()
        assert len(node.ticks) == 1
        node.tick_loop.all_read()
        assert len(node.ticks) == 2
        node.tick_loop.all_read()
        assert len(node.ticks) == 2

    node.play(body)


def test_a_heartbeat_that_is_nearly_due_leaves_with_what_came_in():
    node = Node()

    async def body():
        node.timers.due_at = time.monotonic() + 1
        node.tick_loop.packet_received("nat-b")
        node.tick_loop.all_read()
        assert len(node.beats) == len(node.ticks) == 2

    node.play(body)


def test_a_late_peer_causes_a_tick_and_a_peer_in_time_puts_it_off():
    node = Node()

    async def body():
        node.late = (time.monotonic() + 0.03, "nat-b")
        node.tick_loop.wake()
        await node.until(2)
        node.late = (time.monotonic() + HOUR / 2, "nat-b")
        node.tick_loop.packet_received("nat-c")  # the alarm waits for another peer
        node.tick_loop.packet_received("nat-b")
        await asyncio.sleep(0.06)
        assert len(node.ticks) == 2
        node.late = (time.monotonic() + 0.001, "nat-b")
        node.tick_loop.packet_received("nat-b")
        node.late = (float("inf"), "")
        await node.until(3)

    node.play(body)


def test_an_error_ends_it():
    node = Node()
    node.problem = ValueError("a mistake")
    with pytest.raises(ValueError, match="a mistake"):
        asyncio.run(asyncio.wait_for(node.tick_loop.live(), SOON))


def test_after_the_end_nothing_causes_a_tick():
    node = Node(interval=0.001)
    node.play(lambda: node.until(2))
    before = len(node.ticks)

    async def body():
        node.tick_loop.wake()
        node.tick_loop.wake_after_read()
        node.tick_loop.all_read()
        await asyncio.sleep(0.01)

    asyncio.run(body())
    assert len(node.ticks) == before
