# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node sends and decides: turns on a real event loop, with intervals of an hour or of milliseconds, and no bounds on time but generous ones."""

from __future__ import annotations

import asyncio
import time

import pytest

from nat_failover.service.loop import Turns
from nat_failover.timing import Rhythm

HOUR = 3600.0
SOON = 5.0


class Node:
    """What its turns do is only noted."""

    def __init__(self, interval=HOUR, longest=HOUR):
        self.beats, self.ticks = [], []
        self.longest = longest
        self.late = (float("inf"), "")
        self.problem = None
        self.rhythm = Rhythm(interval, time.monotonic)
        self.turns = Turns(self.rhythm, self.beats.append, self.tick, lambda: self.longest, lambda: self.late)

    def tick(self, now):
        self.ticks.append(now)
        if self.problem:
            raise self.problem

    def play(self, body):
        async def run():
            living = asyncio.ensure_future(self.turns.live())
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


def test_heartbeats_and_decisions_share_their_turns():
    node = Node(interval=0.005)
    node.play(lambda: node.until(10))
    assert len(node.beats) == len(node.ticks)


def test_decisions_come_without_heartbeats_where_these_are_rare():
    node = Node(longest=0.002)
    node.play(lambda: node.until(10))
    assert len(node.beats) == 1


def test_what_is_new_is_judged_together_and_soon():
    node = Node()

    async def body():
        node.turns.wake()
        node.turns.wake()
        assert len(node.ticks) == 1
        await asyncio.sleep(0.01)
        assert len(node.ticks) == 2 and len(node.beats) == 1

    node.play(body)


def test_news_of_the_radio_are_judged_as_soon_as_all_is_read():
    node = Node()

    async def body():
        node.turns.heard("nat-b")
        node.turns.read()
        assert len(node.ticks) == 1, "nothing new"
        node.turns.news("nat-b")
        node.turns.news("nat-c")
        assert len(node.ticks) == 1
        node.turns.read()
        assert len(node.ticks) == 2
        node.turns.read()
        assert len(node.ticks) == 2

    node.play(body)


def test_a_heartbeat_that_is_nearly_due_leaves_with_what_came_in():
    node = Node()

    async def body():
        node.rhythm.beat_at = time.monotonic() + 1
        node.turns.heard("nat-b")
        node.turns.read()
        assert len(node.beats) == len(node.ticks) == 2

    node.play(body)


def test_who_is_late_causes_a_turn_and_who_is_heard_in_time_puts_it_off():
    node = Node()

    async def body():
        node.late = (time.monotonic() + 0.03, "nat-b")
        node.turns.wake()
        await node.until(2)
        node.late = (time.monotonic() + HOUR / 2, "nat-b")
        node.turns.heard("nat-c")  # not whom the alarm is for
        node.turns.heard("nat-b")
        await asyncio.sleep(0.06)
        assert len(node.ticks) == 2
        node.late = (time.monotonic() + 0.001, "nat-b")
        node.turns.heard("nat-b")
        node.late = (float("inf"), "")
        await node.until(3)

    node.play(body)


def test_an_error_ends_it():
    node = Node()
    node.problem = ValueError("a mistake")
    with pytest.raises(ValueError, match="a mistake"):
        asyncio.run(asyncio.wait_for(node.turns.live(), SOON))


def test_after_its_end_nothing_makes_a_turn():
    node = Node(interval=0.001)
    node.play(lambda: node.until(2))
    before = len(node.ticks)

    async def body():
        node.turns.wake()
        node.turns.news("nat-b")
        node.turns.read()
        await asyncio.sleep(0.01)

    asyncio.run(body())
    assert len(node.ticks) == before
