# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes that EC2 throttles are done soon after its token bucket allows, and re-reads of many writes share their calls."""

from __future__ import annotations

import asyncio

import pytest

from nat_failover.act.throttle import CATCH_UP, FIRST, MOST, SLOWER, AdaptiveThrottle, ReadBatcher
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import Claim, RouteView

TICK, LATENCY = 0.1, 0.3


def adopt(count, burst, rate):
    """(seconds until all are written, how many were refused) by a token bucket, on virtual time, as the service does it."""
    pace, tokens, refused, now = AdaptiveThrottle(), float(burst), 0, 0.0
    planned, under_way = {("route", str(number)) for number in range(count)}, []
    while planned or under_way:
        pace.release(now)
        begin = sorted(planned - pace.waiting.keys() - {key for _at, key, _ok in under_way})
        for key in begin:
            granted = tokens >= 1
            tokens -= granted
            under_way.append((now, key, granted))
        now += TICK
        tokens = min(float(burst), tokens + TICK * rate)
        for entry in [each for each in under_way if now - each[0] >= LATENCY]:
            under_way.remove(entry)
            began, key, granted = entry
            refused += not granted
            if granted:
                pace.granted()
                planned.discard(key)
            else:
                pace.refused(key, began, now)
    return now, refused


@pytest.mark.parametrize(("burst", "rate"), [(50, 5), (50, 10), (100, 20), (10, 2), (50, 50)])
def test_two_hundred_writes_take_a_bucket_little_more_than_its_own_time(burst, rate):
    least = (200 - burst) / rate
    seconds, refused = adopt(200, burst, rate)
    assert least <= seconds <= 1.1 * least + MOST
    assert refused < 2 * 200


def test_what_the_bucket_holds_is_written_at_once():
    seconds, refused = adopt(50, 50, 5)
    assert (round(seconds, 3), refused) == (LATENCY, 0)


def keys(count):
    return [("route", f"rtb-{number:03d}") for number in range(count)]


def test_the_refusals_of_one_moment_slow_down_once_and_take_turns():
    pace, order = AdaptiveThrottle(), []
    for key in keys(100):
        pace.refused(key, 1.0, 1.1)
    assert pace.interval == FIRST
    now = 1.1
    while pace.waiting:
        now += 0.01
        before = list(pace.waiting)
        pace.release(now)
        order += [key for key in before if key not in pace.waiting]
    assert order == keys(100)
    assert now - 1.1 == pytest.approx(100 * FIRST, abs=0.02)
    pace.refused(keys(1)[0], 1.2, now)
    assert pace.interval == pytest.approx(FIRST * SLOWER)


def test_a_late_look_lets_no_crowd_go_on_at_once():
    pace = AdaptiveThrottle()
    for key in keys(100):
        pace.refused(key, 1.0, 1.0)
    pace.release(60.0)
    assert len(pace.waiting) >= 100 - CATCH_UP / FIRST - 1


def test_a_new_time_of_throttling_begins_afresh():
    pace = AdaptiveThrottle()
    for number in range(50):
        pace.refused(keys(1)[0], number, number)
    assert pace.interval == MOST
    pace.refused(keys(1)[0], 100.0, 100.0)
    assert pace.interval == FIRST


class Api:
    """Answers once it is let; keeps what was asked."""

    def __init__(self):
        self.calls = []
        self.go = asyncio.Event()
        self.error = None

    async def read(self, claims):
        self.calls.append(list(claims))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return {claim: RouteView("active", f"eni-{claim.route_table}", float(len(self.calls))) for claim in claims}


def claims(count):
    return [Claim(f"rtb-{number:03d}", "0.0.0.0/0", "nat-a") for number in range(count)]


def test_a_single_write_is_reread_at_once_and_all_others_together():
    async def body():
        api = Api()
        rereads = ReadBatcher(api.read)
        first, *others = claims(200)
        tasks = [asyncio.ensure_future(rereads.read(first))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert api.calls == [[first]]
        tasks += [asyncio.ensure_future(rereads.read(claim)) for claim in others]
        await asyncio.sleep(0)
        api.go.set()
        views = await asyncio.gather(*tasks)
        assert api.calls == [[first], others]
        assert [view.target for view in views] == [f"eni-{claim.route_table}" for claim in (first, *others)]
        assert {view.read_at for view in views[1:]} == {2.0}, "by a call that began after they asked"
        assert (await rereads.read(first)).read_at == 3.0

    asyncio.run(body())


def test_who_shares_a_failed_call_shares_its_error_and_the_next_one_works():
    async def body():
        api = Api()
        rereads = ReadBatcher(api.read)
        api.error = Ec2Error("ec2:DescribeRouteTables", "rtb", "Timeout", "late", retryable=True)
        api.go.set()
        found = await asyncio.gather(*(rereads.read(claim) for claim in claims(3)), return_exceptions=True)
        assert found == [api.error] * 3
        api.error = None
        assert (await rereads.read(claims(1)[0])).state == "active"

    asyncio.run(body())


def test_an_answer_that_lacks_a_claim_is_an_error_and_not_a_wait_without_end():
    async def nothing(_claims):
        return {}

    async def body():
        with pytest.raises(KeyError):
            await asyncio.wait_for(ReadBatcher(nothing).read(claims(1)[0]), 5)

    asyncio.run(body())
