# SPDX-License-Identifier: GPL-3.0-or-later
"""The tick loop on a real event loop, with intervals of an hour or of milliseconds and generous bounds on time."""

from __future__ import annotations

import asyncio
import time

import pytest

from nat_failover.model.settings import Heartbeat
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.service.loop import TickLoop, pace
from nat_failover.timing import TimerCoalescer

HOUR = 3600.0
SOON = 5.0


class Node:
    """A node whose ticks are only noted."""

    def __init__(self, interval=HOUR, longest=HOUR, count=1):
        self.beats, self.ticks = [], []
        self.pace = (count, longest)
        self.late = (float("inf"), "")
        self.problem = None
        self.timers = TimerCoalescer(interval, AsyncioRuntime())
        self.tick_loop = TickLoop(
            AsyncioRuntime(), self.timers, self.beats.append, self.tick, lambda: self.pace, lambda: self.late
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


@pytest.mark.parametrize(
    ("interval", "silent_after", "count", "longest"),
    [
        pytest.param(0.1, 0.6, 2, 0.25, id="default"),
        pytest.param(0.1, 0.25, 1, 0.105, id="fast"),
        pytest.param(0.2, 2.0, 1, 0.84, id="calm"),
        pytest.param(0.3, 0.6, 1, 0.252, id="heartbeats as rare as they may be"),
        pytest.param(0.12, 0.5, 1, 0.21, id="two would be longer than a freeze"),
    ],
)
def test_the_pace_of_decisions_is_that_of_heartbeats_and_no_gap_of_a_freeze_goes_unjudged(
    interval, silent_after, count, longest
):
    heartbeat = Heartbeat(4710, interval, 0.02, silent_after)
    assert pace(heartbeat, {}) == (count, pytest.approx(longest))
    assert longest <= silent_after / 2
    assert pace(heartbeat, {"nat-b": 0.02, "nat-c": interval}) == (count, 0.02), "each probe decides"


def test_a_decision_comes_with_each_second_heartbeat_where_that_is_the_pace():
    node = Node(interval=0.005, count=2)
    node.play(lambda: node.until(6))
    assert 2 * len(node.ticks) - 1 <= len(node.beats) <= 2 * len(node.ticks)


@pytest.mark.parametrize("news", ["wake", "wake_after_read"])
def test_news_are_judged_with_a_heartbeat_that_would_decide_nothing(news):
    node = Node(count=1000)

    async def body():
        node.timers.due_at = time.monotonic()
        getattr(node.tick_loop, news)()
        node.tick_loop.all_read()
        await node.until(2)
        assert len(node.beats) == 2

    node.play(body)


def test_a_heartbeat_that_leaves_when_another_is_late_decides():
    node = Node(count=1000)

    async def body():
        node.late = (time.monotonic() + 0.01, "nat-b")
        node.tick_loop.wake()
        await asyncio.sleep(0)
        await node.until(2)
        time.sleep(0.02)
        node.timers.due_at = time.monotonic()
        node.tick_loop.packet_received("nat-c")
        node.tick_loop.all_read()
        assert (len(node.ticks), len(node.beats)) == (3, 2)

    node.play(body)


def test_a_tick_knows_the_one_before_it():
    node = Node(count=1000)

    async def body():
        [first] = node.ticks
        assert node.tick_loop.awake_at is None
        node.timers.due_at = time.monotonic()
        node.tick_loop.packet_received("nat-b")
        node.tick_loop.all_read()
        assert (len(node.ticks), len(node.beats), node.tick_loop.awake_at) == (1, 2, first)
        node.tick_loop.wake()
        await node.until(2)
        assert node.tick_loop.awake_at == node.beats[-1]

    node.play(body)


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
