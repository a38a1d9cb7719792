# SPDX-License-Identifier: GPL-3.0-or-later
"""When heartbeats leave, and when the pauses of a node's workers end. Time is played, but for a few milliseconds."""

from __future__ import annotations

import asyncio

import pytest

from nat_failover.timing import EARLY, LAG, Pause, TimerCoalescer

from .played import PlayedRuntime

INTERVAL = 0.1


@pytest.fixture
def clock():
    return PlayedRuntime(100.0)


@pytest.fixture
def timers(clock):
    timers = TimerCoalescer(INTERVAL, clock)
    timers.begin(clock.at)
    return timers


def test_heartbeats_keep_their_pace_and_do_not_pile_up_after_a_delay(timers):
    assert timers.due_at == 100.0
    timers.heartbeats_sent(100.003)
    assert timers.due_at == pytest.approx(100.1)  # late ones do not shift the others
    timers.heartbeats_sent(101.7)
    assert timers.due_at == 101.7  # one for all that were missed


def test_a_heartbeat_that_is_nearly_due_leaves_with_one_that_comes_in(timers):
    timers.heartbeats_sent(100.0)
    assert not timers.packet_received(100.1 - EARLY * INTERVAL - 0.001)
    assert timers.due_at == pytest.approx(100.1)
    assert timers.packet_received(100.1 - EARLY * INTERVAL + 0.001)
    assert timers.due_at == pytest.approx(100.051)
    timers.heartbeats_sent(100.0511)
    assert timers.due_at == pytest.approx(100.0511 + INTERVAL * (1 + LAG))  # the other's is to come first
    assert timers.longest == pytest.approx(INTERVAL * (1 + LAG))


def test_of_several_packets_at_once_one_is_enough(timers):
    timers.heartbeats_sent(100.0)
    assert timers.packet_received(100.08) and timers.packet_received(100.08)
    timers.heartbeats_sent(100.08)
    assert not timers.packet_received(100.081)


def play(shifts, seconds, lost=lambda sender, now: False, delay=0.0005):
    """Nodes that hear each other, in steps of 0.1 ms. Returns when each has sent."""
    nodes = [TimerCoalescer(INTERVAL, PlayedRuntime(0.0)) for _shift in shifts]
    for node, shift in zip(nodes, shifts):
        node.begin(shift)
    sent, flying = [[] for _node in nodes], []
    for step in range(round(seconds * 10000)):
        now = step / 10000
        for sender, _at in [each for each in flying if each[1] <= now]:
            for number, node in enumerate(nodes):
                if number != sender and now >= shifts[number]:
                    node.packet_received(now)
        flying = [each for each in flying if each[1] > now]
        for number, node in enumerate(nodes):
            if node.due_at <= now:
                node.heartbeats_sent(now)
                sent[number].append(now)
                if not lost(number, now):
                    flying.append((number, now + delay))
    return sent


@pytest.mark.parametrize("shifts", [(0.0, 0.02), (0.0, 0.07), (0.0, 0.05), (0.0, 0.03, 0.06, 0.09, 0.045)])
def test_nodes_end_up_sending_together_at_the_pace_of_one(shifts):
    sent = play(shifts, 4.0)
    for times in sent:
        gaps = [later - sooner for sooner, later in zip(times, times[1:])]
        assert max(gaps) <= INTERVAL * (1 + LAG) + 0.0002
        assert len(times) <= 4.0 / INTERVAL * 1.05 + 2
    lasts = [times[-2] for times in sent]
    assert max(lasts) - min(lasts) < 0.01


def test_who_sets_the_pace_may_die_or_be_lost(timers):
    sent = play((0.0, 0.02, 0.04), 4.0, lost=lambda sender, now: sender == 0 and now > 1.0)
    for times in sent:
        gaps = [later - sooner for sooner, later in zip(times, times[1:])]
        assert max(gaps) <= INTERVAL * (1 + LAG) + 0.0002


def test_a_long_pause_ends_with_the_heartbeat_next_to_its_end_a_short_one_by_itself(timers, clock):
    async def run():
        long, short = timers.rest(1.0), timers.rest(0.01)
        await asyncio.wait_for(short, 5)
        clock.at = 100.9
        timers.heartbeats_sent(clock.at)
        assert not long.done()
        clock.at = 100.98
        timers.heartbeats_sent(clock.at)
        assert long.done()
        timers.heartbeats_sent(101.1)

    asyncio.run(run())


def test_without_a_loop_that_sends_heartbeats_pauses_end_by_themselves(clock):
    async def run():
        timers = TimerCoalescer(0.001, clock)
        await asyncio.wait_for(timers.rest(0.02), 5)
        timers.begin(100.0)
        waiting = timers.rest(3600)
        timers.end()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_anybody_may_end_a_pause_and_one_ended_before_does_not_begin(timers):
    async def run():
        pause = Pause(timers)
        waiting = asyncio.ensure_future(pause.wait(3600))
        await asyncio.sleep(0)
        pause.end()
        assert await asyncio.wait_for(waiting, 5)
        pause.end()
        assert await asyncio.wait_for(pause.wait(3600), 5)
        assert not await asyncio.wait_for(pause.wait(0.001), 5)
        pause.end()
        pause.forget()
        assert not await asyncio.wait_for(pause.wait(0.001), 5)

    asyncio.run(run())


def test_who_is_cancelled_in_a_pause_disturbs_nobody(timers):
    async def run():
        pause = Pause(timers)
        waiting = asyncio.ensure_future(pause.wait(1.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        timers.heartbeats_sent(200.0)
        pause.end()
        assert await pause.wait(1.0)

    asyncio.run(run())
