# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that cannot be seen: without flares, a partition must not swap routes for ever."""

from __future__ import annotations

import random
import typing as t

import pytest

from nat_failover.policy import ownership, verdict

from . import links, machines
from .cloud import interface
from .laws import HOUR, WRITES
from .service import Service
from .shipping.process import Process
from .test_shipping import scenario
from .violation import Violation
from .world import World

LONG = 900.0  # seconds of the shipping shell, which is slow
SHELLS = [pytest.param(Service, HOUR, id="fast"), pytest.param(Process, LONG, id="shipping")]


def cut_off(world: World, names: t.Collection[str], seconds: float, *, refused: bool) -> None:
    """A partition, while no flare can be written on some nodes."""
    if refused:
        world.cloud.denied |= {(name, action) for name in names for action in ("Flare", "CreateTags")}
    else:
        world.cloud.full |= set(names)
    links.partition(world, random.Random(1), seconds)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("shell", "seconds"), SHELLS)
@pytest.mark.parametrize("refused", [False, True], ids=["full", "refused"])
def test_two_nodes_that_cannot_be_seen_swap_a_few_times_in_an_hour(shell, seconds, refused):
    def fault(world: World) -> None:
        cut_off(world, sorted(world.hosts), seconds, refused=refused)

    writes = [write for write in scenario(fault, shell, seconds).writes if write[1] == "ReplaceRoute"]
    subjects = {subject for _node, _action, subject in writes}
    assert subjects and all(sum(write[2] == each for write in writes) <= WRITES for each in subjects)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("shell", "seconds"), [(Service, HOUR), (Process, 120.0)], ids=["fast", "shipping"])
def test_one_node_that_cannot_be_seen_leaves_its_routes_where_they_are(shell, seconds):
    def fault(world: World) -> None:
        cut_off(world, ["nat-1"], seconds, refused=False)

    played = scenario(fault, shell, seconds)
    assert [(node, action) for node, action, _subject in played.writes] == [("nat-0", "ReplaceRoute")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shell", [Service, Process], ids=["fast", "shipping"])
def test_a_policy_that_does_not_know_that_it_cannot_be_seen_is_caught(shell, monkeypatch):
    monkeypatch.setattr(verdict, "swapping", lambda case: False)
    monkeypatch.setattr(ownership, "_would_swap", lambda case: False)
    with pytest.raises(Violation, match="L9"):
        scenario(lambda world: cut_off(world, sorted(world.hosts), LONG, refused=False), shell, LONG)


@pytest.mark.parametrize("shell", [Service, Process], ids=["fast", "shipping"])
def test_a_dead_node_is_replaced_although_no_flare_can_be_written(shell):
    def fault(world: World) -> None:
        world.cloud.full |= set(world.hosts)
        machines.die(world, "nat-1")

    played = scenario(fault, shell, 60.0)
    assert set(played.world.cloud.state.routes.values()) == {interface("nat-0")}
    assert not [write for write in played.writes if write[1] != "ReplaceRoute"], "it cannot be marked"


@pytest.mark.parametrize("shell", [Service, Process], ids=["fast", "shipping"])
def test_a_mark_that_could_not_be_written_spends_nothing(shell):
    """Room is made after a while, and the fence goes through, with a budget of one."""

    def fault(world: World) -> None:
        world.cloud.full.add("nat-1")
        world.timeline.after(50.0, world.cloud.full.clear)
        machines.die(world, "nat-1")

    actions = [action for _node, action, _subject in scenario(fault, shell, 120.0, budget=1).writes]
    assert actions.count("StopInstances") == actions.count("StartInstances") == 1


@pytest.mark.parametrize("shell", [Service, Process], ids=["fast", "shipping"])
def test_an_instance_that_ec2_does_not_stop_is_rebooted(shell):
    def fault(world: World) -> None:
        world.cloud.unstoppable.add("nat-1")
        machines.die(world, "nat-1")

    actions = [action for _node, action, _subject in scenario(fault, shell, 60.0, budget=1).writes]
    assert "StopInstances" not in actions and actions.count("RebootInstances") == 1
