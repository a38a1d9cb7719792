# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls a node makes to EC2, by the shipping shell. docs/tuning.md publishes these figures for an hour.

EC2 throttles each action of an account and region by itself: 100 calls at once, then 20 a second for readings, 50 and 5
for writes (Amazon EC2 Developer Guide, "Request throttling for the Amazon EC2 API"). A partition may last for hours.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from . import links
from .shipping.aws import FakeConnection
from .shipping.process import Process
from .world import World

SECONDS = 120.0
CALM = 60.0  # seconds after the fault: the first moments of a suspicion are over


def calm(_world: World) -> None:
    """No fault."""


def partition(world: World) -> None:
    """The nodes do not hear each other, and both reach EC2."""
    links.partition(world, random.Random(1), 10 * SECONDS)


def outage(world: World) -> None:
    """EC2 answers nobody."""
    world.cloud.up = False


# Calls of a node in a second, at most
LIMITS = {
    calm: {"DescribeInstances": 0.25, "DescribeRouteTables": 0.45},
    partition: {"DescribeInstances": 1.1, "DescribeRouteTables": 1.3, "CreateTags": 0.4},
    outage: {"DescribeInstances": 1.0, "DescribeRouteTables": 1.5},
}


@pytest.mark.parametrize("state", LIMITS, ids=lambda state: state.__name__)
def test_calls_to_ec2_are_bounded(state, monkeypatch):
    made: Counter[tuple[str, str]] = Counter()
    call = FakeConnection.call

    def counted(self, action, *arguments, **parameters):
        made[self._process.name, action.operation] += 1
        return call(self, action, *arguments, **parameters)

    monkeypatch.setattr(FakeConnection, "call", counted)
    world = World(1, shell=Process)
    state(world)
    world.timeline.run(world.timeline.now + CALM)
    made.clear()
    world.timeline.run(world.timeline.now + SECONDS)
    world.end()
    assert {action for _node, action in made} == LIMITS[state].keys()
    for (node, action), count in made.items():
        assert 0 < count / SECONDS <= LIMITS[state][action], (node, action)
