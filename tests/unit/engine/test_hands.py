# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hands look at once more before they hurt somebody."""

from __future__ import annotations

import asyncio
import types

import pytest

from nat_failover.act.executor import Hands
from nat_failover.model.cluster import TAG_FENCE, FenceStep, InstanceView


class Gatherer:
    """EC2 answers at each reading what it is told to."""

    def __init__(self, tags, answers=True, state="running"):
        self.now, self.answers, self.tags, self.state = 100.0, answers, tags, state
        self.instances = {"nat-b": InstanceView("running", "eni-b", "10.0.1.10", {}, 99.0)}

    async def read_since(self, moment):
        self.now += 0.1
        if self.answers:
            self.instances = {"nat-b": InstanceView(self.state, "eni-b", "10.0.1.10", self.tags, self.now)}

    def note_ec2(self, *arguments):
        pass

    def news(self):
        pass


def mark(gatherer):
    """What is written when a mark is carried out."""
    written, told = [], []
    ec2 = types.SimpleNamespace(set_tag=lambda *arguments: written.append(arguments))
    config = types.SimpleNamespace(self_name="nat-a", ec2=None)

    async def run():
        hands = Hands(config, ec2, gatherer, None, None, lambda: gatherer.now, lambda *a, **k: told.append(a[1]))
        try:
            return await hands._fence(FenceStep("mark", "nat-b", "i-b", "mark nat-b: about to fence it"))
        finally:
            hands.close()

    return asyncio.run(run()), written, told


def test_a_node_that_nobody_fences_is_marked():
    done, written, _told = mark(Gatherer({}))
    assert done and written == [("i-b", TAG_FENCE, "nat-a:stop")]


@pytest.mark.parametrize(
    ("gatherer", "said"),
    [
        (Gatherer({TAG_FENCE: "nat-c:started"}), "nat-c:started"),
        (Gatherer({}, state="stopping"), "EC2 says stopping"),
        (Gatherer({}, answers=False), "EC2 was not read"),
    ],
)
def test_one_that_somebody_else_has_begun_to_fence_is_not(gatherer, said):
    """The plan rests on a reading that may be a second old; two nodes may want the same in that time (L3)."""
    done, written, told = mark(gatherer)
    assert not done and written == [] and said in told[-1]
