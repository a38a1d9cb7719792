# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's pause: tags on all nodes, also where one of them cannot be written."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

from nat_failover.errors import Ec2Error, NatFailoverError
from nat_failover.model.cluster import TAG_PAUSE, InstanceView
from nat_failover.policy import pause
from nat_failover.service.commands import Commands

START = 1_800_000_000.0


class Node:
    """nat-a with two peers, of which nat-c has no instance. Tags that are written are read back."""

    def __init__(self):
        self.tags = {"nat-a": {}, "nat-b": {}}
        self.refused = set()
        self.events, self.reads = [], 0
        self.collector = SimpleNamespace(instances={}, read_soon=self.read, read_since=self.read_since)
        self.read()
        parts = SimpleNamespace(
            config=SimpleNamespace(self_name="nat-a"),
            runtime=SimpleNamespace(wall_time=lambda: START, now=lambda: 100.0),
            events=SimpleNamespace(
                emit=lambda kind, text, level=logging.INFO, **more: self.events.append((kind, text, level))
            ),
            collector=self.collector,
            executor=SimpleNamespace(tag=self.tag),
        )
        self.commands = Commands(parts, drain=None)

    def read(self):
        self.reads += 1
        views = {
            name: InstanceView("running", None, None, dict(tags), 1.0, instance_id=f"i-{name}")
            for name, tags in self.tags.items()
        }
        self.collector.instances = {**views, "nat-c": InstanceView("terminated", None, None, {}, 1.0)}

    async def read_since(self, _moment):
        self.read()

    async def tag(self, name, key, value):
        if name in self.refused:
            raise Ec2Error("ec2:CreateTags", f"i-{name}", "UnauthorizedOperation", "no", retryable=False)
        if value is None:
            del self.tags[name][key]
        else:
            self.tags[name][key] = value


@pytest.fixture
def node():
    return Node()


def test_a_pause_is_a_tag_on_every_instance_and_is_read_back(node):
    answer = asyncio.run(node.commands.pause(3600))
    end = pause.value(START + 3600)
    assert node.tags == {"nat-a": {TAG_PAUSE: end}, "nat-b": {TAG_PAUSE: end}}
    assert answer == {"changed": True, "state": f"paused until {end}"}
    assert [kind for kind, _text, _level in node.events] == ["paused"]
    assert TAG_PAUSE in node.collector.instances["nat-b"].tags


def test_a_peer_that_cannot_be_tagged_is_a_warning_and_the_pause_holds(node):
    node.refused = {"nat-b"}
    assert asyncio.run(node.commands.pause(60))["changed"]
    assert TAG_PAUSE in node.tags["nat-a"] and TAG_PAUSE not in node.tags["nat-b"]
    kind, text, level = node.events[-1]
    assert (kind, level) == ("failed", logging.WARNING)
    assert text.startswith("no pause tag on nat-b, which reads the pause on the other nodes: ec2:CreateTags")


def test_a_pause_that_this_node_cannot_write_is_refused(node):
    node.refused = {"nat-a"}
    with pytest.raises(NatFailoverError, match="UnauthorizedOperation"):
        asyncio.run(node.commands.pause(60))
    assert node.tags == {"nat-a": {}, "nat-b": {}} and node.events == []


def test_the_end_of_a_pause_removes_the_tag_from_each_node_that_has_it(node):
    node.tags["nat-b"][TAG_PAUSE] = "2099-01-31T12:00:00Z"  # written since the last reading
    assert asyncio.run(node.commands.unpause()) == {"changed": True, "state": "not paused"}
    assert node.tags == {"nat-a": {}, "nat-b": {}}
    assert [kind for kind, _text, _level in node.events] == ["unpaused"]


def test_the_end_of_no_pause_changes_nothing(node):
    assert asyncio.run(node.commands.unpause()) == {"changed": False, "state": "not paused"}
    assert node.events == []
