# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch of synchronised connections: orders to the root helper, its readings, and problems."""

from __future__ import annotations

import asyncio
import types

import pytest

from nat_failover.model.sync import AWAY, ENDED, HERE, SyncReading
from nat_failover.observe import sync_watch

from .played import PlayedRuntime


class Watch:
    """The watch of one node, with the answers of its helper."""

    def __init__(self, mode="full"):
        self.runtime = PlayedRuntime(100.0)
        config = types.SimpleNamespace(state_sync="conntrackd", mode=mode, repair_socket="/run/x")
        timers = types.SimpleNamespace(rest=None)
        self.watch = sync_watch.SyncWatch(config, self.runtime, timers)
        self.watch.orders = True
        self.asked, self.refusal, self.reading = [], "", SyncReading("", 1)
        self.watch._line = self.line

    async def line(self, *words):
        self.asked.append(" ".join(words))
        if words[0] == "check":
            return self.reading.line()
        return self.refusal or "mended"

    def round(self, seconds=60.0, heard=True):
        """One round, so much later. Returns the orders that were given."""
        self.runtime.at += seconds
        if heard and not self.reading.problem:
            self.reading = self.reading._replace(received=self.reading.received + 1)
        self.asked.clear()
        self.watch.pause = asyncio.run(self.watch._round())
        return [each for each in self.asked if not each.startswith("check")]


def test_conntrackd_is_told_once_and_of_a_departure_only_when_packets_on_their_way_have_passed():
    node = Watch()
    assert node.round() == ["push"]
    node.watch._pushed_at = float("inf")
    node.watch.place({"nat-a": HERE, "nat-b": AWAY}, ())
    assert node.round(1.0) == ["arrange nat-a=here"]
    assert node.watch.pause < 5
    assert node.round(sync_watch.SETTLE) == ["arrange nat-a=here nat-b=away"]
    assert node.round() == [] and node.watch.pause == sync_watch.CHECK_EVERY
    node.watch.place({"nat-a": ENDED, "nat-b": AWAY}, ())
    assert node.round() == ["arrange nat-a=ended nat-b=away"]
    node.watch.place({"nat-a": ENDED, "nat-b": HERE}, ())
    assert node.round(0.1) == ["arrange nat-a=ended nat-b=here"]


def test_all_flows_are_pushed_at_an_easy_pace():
    node = Watch()
    node.round()
    found = [node.round(10.0) for _count in range(24)]
    assert [each for each in found if each] == [["push"], ["push"]]
    node.watch.place({"nat-a": HERE}, ())
    node.round(10.0)
    found = [node.round(10.0) for _count in range(24)]
    assert [each for each in found if each] == [["arrange nat-a=here", "push"]] * 2


def test_at_rest_conntrackd_is_asked_once_a_minute_and_more_often_while_something_is_away():
    def readings(node):
        return sum(
            bool(node.round(10.0) or any(each.startswith("check") for each in node.asked)) for _count in range(12)
        )

    node = Watch()
    node.round()
    node.watch._pushed_at = node.runtime.at + 999
    assert readings(node) == 2
    node.watch.place({"nat-a": HERE}, ("nat-a",))
    node.round()
    assert readings(node) == 12


def test_the_places_are_told_again_after_a_restart_of_conntrackd():
    node = Watch()
    node.watch._pushed_at = float("inf")
    node.watch.place({"nat-a": HERE}, ())
    node.round()
    node.reading = SyncReading("", 0)
    assert node.round() == []  # this round finds the restart
    assert node.round() == ["arrange nat-a=here"]
    node.reading = SyncReading("it is dead")
    node.round()
    node.reading = SyncReading("", 5)
    node.round()
    assert node.round() == ["arrange nat-a=here"]


def test_a_refusal_is_a_problem_and_is_not_repeated_at_once():
    node = Watch()
    node.watch.place({"nat-a": HERE}, ())
    node.refusal = "failed: no"
    assert "arrange nat-a=here" in node.round()
    assert node.watch.problem == "an order was not carried out: failed: no"
    assert node.round(1.0) == []
    node.refusal = ""
    assert node.round() == ["arrange nat-a=here"]
    assert node.watch.problem == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"problem": "conntrackd -s failed"}, "conntrackd -s failed"),
        ({"lost": 3}, "3 messages of the peer were lost"),
        ({"refused": 2}, "2 connections of the peer were not taken"),
    ],
)
def test_what_is_wrong_is_told_and_ends(change, words):
    node = Watch()
    node.round()
    assert node.watch.problem == ""
    node.reading = node.reading._replace(flows={"nat-a": 3}, **change)
    node.round()
    assert words in node.watch.problem and node.watch.flows == {}
    node.reading = node.reading._replace(problem="")
    node.round()
    node.round()
    assert node.watch.problem == "" and node.watch.flows == {"nat-a": 3}


def test_a_peer_that_sends_nothing_is_a_problem():
    node = Watch()
    node.round()
    for _count in range(3):
        node.round(heard=False)
    assert "was not heard for 180 s" in node.watch.problem


def test_only_identities_away_from_home_are_counted_and_nothing_is_ordered_in_mode_observe():
    node = Watch("observe")
    node.watch.place({"nat-a": HERE}, ("nat-a",))
    assert node.round() == []
    assert node.asked == ["check nat-a"]
