# SPDX-License-Identifier: GPL-3.0-or-later
"""Early takeovers: needless ones are few, the home takes its routes back, and nobody is stopped by them."""

from __future__ import annotations

import pytest

from nat_failover.policy import early

from . import machines
from .cloud import owner_of
from .incidents import EARLY
from .needless import BEFORE, TRAITS, cut, go_on, partition
from .shipping.process import Process
from .test_simulation import simulate
from .world import World

INCIDENTS = 80
FLAPS, EVERY, LENGTH = 4, 5.0, 0.5  # a path that comes and goes: how often, every so many seconds, for so long
SLOW = 1.0  # seconds of a call to EC2


@pytest.mark.timeout(600)
def test_no_incident_with_early_takeovers_breaks_a_law():
    result, words = simulate("--shell", "fast", "--incidents", INCIDENTS, "--first", EARLY)
    assert result["incidents"] == INCIDENTS and result["violations"] == 0, words


@pytest.mark.parametrize("number", range(3))
def test_with_a_fast_api_an_early_takeover_sees_the_flare_and_is_none(number):
    assert partition(True, 0.02, 20.0, number) == (0, 0, 0)


@pytest.mark.parametrize("latency", [0.3, SLOW, 2.0])
def test_a_needless_takeover_is_taken_back_and_stops_nobody(latency):
    """Each node takes the other's route at the most once, also in a partition that outlasts the return."""
    found = partition(True, latency, 40.0, 1, TRAITS._replace(return_after=3))
    assert 0 < found.takeovers <= 2, "this latency does not show an early takeover"
    assert (found.away, found.stopped) == (0, 0)


def flapping() -> int:
    """How often nodes take routes of each other while their path comes and goes, with a slow API."""
    world = World(1, traits=TRAITS._replace(early=True, return_after=1), shell=Process)
    world.cloud.latency, world.cloud.jitter = SLOW, (1.0, 1.0)
    watch, taken = world.cloud.watch, []

    def watched(caller: str, action: str, subject: str) -> None:
        home = next((owner_of(to) for claim, to in world.cloud.state.routes.items() if str(claim) == subject), "")
        taken.extend([subject] * (action == "ReplaceRoute" and caller != home))
        watch(caller, action, subject)

    world.cloud.watch = watched
    go_on(world, BEFORE)
    for _flap in range(FLAPS):
        for seconds, apart in ((LENGTH, True), (EVERY - LENGTH, False)):
            cut(world.network, apart)
            go_on(world, seconds)
    world.end()
    return len(taken)


def test_a_path_that_comes_and_goes_leads_to_one_early_takeover_of_each_node():
    assert flapping() <= 4, "each node takes the other's route once, and gives it back once"


def test_a_policy_that_takes_early_each_time_is_caught(monkeypatch):
    monkeypatch.setattr(early, "_spent", lambda case: False)
    assert flapping() > 4


def test_a_second_death_within_the_damping_waits_for_the_reading_and_no_longer():
    world = World(1, traits=TRAITS._replace(early=True, return_after=3), shell=Process)
    world.cloud.latency, world.cloud.jitter = SLOW, (1.0, 1.0)
    moved = []
    for before in (BEFORE, BEFORE / 2):
        go_on(world, before)
        began = world.timeline.now
        machines.die(world, "nat-1")
        while all(owner_of(to) == claim.home for claim, to in world.cloud.state.routes.items()):
            world.timeline.run(world.timeline.now + 0.01)
        moved.append(world.timeline.now - began)
        world.hosts["nat-1"].power("on")
    world.end()
    assert moved[0] < 1.0 < moved[1] < 1.5 + SLOW / 2
