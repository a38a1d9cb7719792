# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes of a reading of EC2 that has failed: is the API there, and how soon is it asked again?"""

from __future__ import annotations

import asyncio

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import RouteView
from nat_failover.observe.collector import Gatherer
from nat_failover.timing import Rhythm

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

    def find_instances(self, nodes, cluster):
        return {}

    def describe_homes(self, cluster):
        return {}


def read(refusal, watch=None):
    """One good reading, then one that is refused. Returns whether EC2 answers this node, and after how many seconds it is asked again."""
    times = iter(range(100, 200))
    asked = []

    async def run():
        ec2 = Ec2()
        rhythm = Rhythm(0.1, lambda: float(next(times)))
        gatherer = Gatherer(CONFIG, ec2, lambda *a, **k: (0, "", ""), rhythm, lambda: None)
        try:
            gatherer.demand(None, watch)
            await gatherer._read(100.0, gatherer._at_once)
            assert gatherer.me.ec2 and gatherer.me.ec2_at == 100.0
            gatherer._pause.forget()
            asyncio.get_running_loop().call_later = lambda seconds, call: asked.append(seconds)
            ec2.refusal = refusal
            await gatherer._read(103.0, gatherer._in_turn)
            return gatherer
        finally:
            gatherer.close()

    return asyncio.run(run()), asked


def test_an_api_that_fails_is_not_there_and_is_asked_again_soon():
    gatherer, asked = read(FAILING)
    assert not gatherer.me.ec2 and "InternalError" in gatherer.problem
    assert len(asked) == 1 and 0.5 <= asked[0] <= 1.0


def test_while_a_suspicion_watches_it_is_asked_often_enough_anyway():
    gatherer, asked = read(FAILING, watch=1.0)
    assert not gatherer.me.ec2 and asked == []


@pytest.mark.parametrize("watch", [None, 1.0])
def test_an_api_that_throttles_is_there_and_is_not_asked_more_often(watch):
    gatherer, asked = read(THROTTLED, watch)
    assert gatherer.me.ec2 and gatherer.me.ec2_at == 100.0, "an answer, but no reading"
    assert "RequestLimitExceeded" in gatherer.problem and asked == []
