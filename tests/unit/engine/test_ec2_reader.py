# SPDX-License-Identifier: GPL-3.0-or-later
"""A reading of EC2 that has failed: the state of the API, and the next reading."""

from __future__ import annotations

import asyncio

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import AddressView, RouteView
from nat_failover.observe.ec2_reader import Ec2Reader
from nat_failover.timing import TimerCoalescer

from .played import PlayedRuntime

CONFIG = configuration.parse(
    {
        "cluster": "c",
        "self": "nat-a",
        "region": "eu-west-1",
        "nodes": [
            {"name": "nat-a", "instance_id": "i-0000000a", "route_tables": ["rtb-0aaaaaaa"]},
            {"name": "nat-b", "instance_id": "i-0000000b", "route_tables": ["rtb-0bbbbbbb"]},
        ],
        "interface": "ens5",
        "key_file": "/k",
    }
)
FAILING = Ec2Error("ec2:DescribeRouteTables", "rtb-0aaaaaaa", "InternalError", "no", retryable=True)
THROTTLED = Ec2Error("ec2:DescribeRouteTables", "rtb-0aaaaaaa", "RequestLimitExceeded", "no", retryable=True)


class Ec2:
    """Answers, or refuses to read routes as it is told."""

    def __init__(self):
        self.refusal = None

    def describe_routes(self, claims):
        if self.refusal:
            raise self.refusal
        return {claim: RouteView("active", "eni-" + claim.home, 0.0) for claim in claims}

    def tagged_instances(self, cluster):
        return {}

    def named_instances(self, ids):
        return {}

    def describe_homes(self, cluster):
        return {}


class Runtime(PlayedRuntime):
    """Notes after how many seconds something is to be called back, and calls nothing."""

    def __init__(self):
        super().__init__(100.0)
        self.asked = []

    def later(self, seconds, callback, *arguments):
        self.asked.append(seconds)


def read(refusal, watch=None):
    """One good reading, then one that is refused. Returns the reader, and after how many seconds EC2 is read again."""

    async def run():
        ec2, runtime = Ec2(), Runtime()
        pool = runtime.pool("read", 3)
        reader = Ec2Reader(
            CONFIG,
            ec2,
            runtime,
            TimerCoalescer(0.1, runtime),
            pool,
            changed=lambda: None,
            emit=lambda kind, text, level: None,
        )
        try:
            reader.demand(None, watch)
            await reader.read(100.0)
            assert reader.answers and reader.answered_at == 100.0
            ec2.refusal = refusal
            await reader.read(103.0)
            return reader, runtime.asked
        finally:
            pool.close()

    return asyncio.run(run())


def test_an_api_that_fails_is_not_there_and_is_asked_again_soon():
    reader, asked = read(FAILING)
    assert not reader.answers and "InternalError" in reader.problem
    assert len(asked) == 1 and 0.5 <= asked[0] <= 1.0


def test_while_a_suspicion_watches_it_is_asked_often_enough_anyway():
    reader, asked = read(FAILING, watch=1.0)
    assert not reader.answers and asked == []


@pytest.mark.parametrize("watch", [None, 1.0])
def test_an_api_that_throttles_is_there_and_is_not_asked_more_often(watch):
    reader, asked = read(THROTTLED, watch)
    assert reader.answers and reader.answered_at == 100.0, "an answer, but no reading"
    assert "RequestLimitExceeded" in reader.problem and asked == []


def test_a_tighter_watch_reads_at_once_and_a_wider_one_does_not():
    reader, _asked = read(FAILING, watch=1.0)
    reader._pause.forget()
    for watch, hurried in ((2.0, False), (0.5, True), (None, False), (5.0, True)):
        reader.demand(None, watch)
        assert reader._pause._ended == hurried, watch
        reader._pause.forget()


# --- Elastic IPs of identities ---------------------------------------------------------------------------------------

ALLOCATION = "eipalloc-0aaaaaaa"


def with_identity():
    rows = [
        {"name": f"nat-{each}", "instance_id": f"i-0000000{each}", "route_tables": [f"rtb-0{each * 7}"]}
        for each in "ab"
    ]
    rows[0].update(egress_address=ALLOCATION, egress_private_address="10.0.0.20", egress_networks=["10.0.10.0/24"])
    least = {"cluster": "c", "self": "nat-a", "region": "eu-west-1", "interface": "ens5", "key_file": "/k"}
    return configuration.parse({**least, "nodes": rows})


def elastic(config, *answers):
    """Readings with these answers to DescribeAddresses. Returns (the reader, the calls, the events)."""
    asked, events, left = [], [], list(answers)

    class Api(Ec2):
        def describe_addresses(self, allocations):
            asked.append(list(allocations))
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    async def run():
        runtime = Runtime()
        pool = runtime.pool("read", 3)
        timers = TimerCoalescer(0.1, runtime)
        told = {"changed": lambda: None, "emit": lambda kind, text, level: events.append((kind, text))}
        reader = Ec2Reader(config, Api(), runtime, timers, pool, **told)
        try:
            for number in range(max(1, len(answers))):
                await reader.read(100.0 + number)
            return reader
        finally:
            pool.close()

    return asyncio.run(run()), asked, events


HERE = AddressView("203.0.113.10", "eni-a", "10.0.0.20", 0.0)


def refused(code):
    return Ec2Error("ec2:DescribeAddresses", ALLOCATION, code, "no", retryable=False)


def test_elastic_ips_are_read_in_the_same_round_and_dated_by_it():
    reader, asked, _events = elastic(with_identity(), {ALLOCATION: HERE})
    assert asked == [[ALLOCATION]]
    assert reader.elastic.views == {ALLOCATION: AddressView("203.0.113.10", "eni-a", "10.0.0.20", 100.0)}
    assert {view.read_at for view in reader.routes.values()} == {100.0}


def test_without_identities_no_elastic_ip_is_read():
    reader, asked, _events = elastic(CONFIG)
    assert asked == [] and reader.elastic.views == {} and reader.answers


@pytest.mark.parametrize("code, kept", [("UnauthorizedOperation", False), ("Timeout", True)])
def test_a_failed_reading_of_elastic_ips_is_no_failure_of_ec2(code, kept):
    reader, _asked, events = elastic(with_identity(), {ALLOCATION: HERE}, refused(code), refused(code))
    assert reader.answers and reader.problem == "" and reader.answered_at == 102.0
    assert (ALLOCATION in reader.elastic.views) == kept
    assert [kind for kind, _text in events] == ["addresses"]  # once
    assert "routes move as ever" in events[0][1] and code in reader.elastic.problem
