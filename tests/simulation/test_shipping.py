# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipping service on virtual time: the laws hold, its mistakes show, and the fast model writes what it writes."""

from __future__ import annotations

import asyncio
import inspect
import random
import typing as t

import pytest

from . import departures, level_two, links, machines, strangers
from .campaign import seeds_from
from .cloud import interface
from .incidents import play, story
from .level_two import PROMPT
from .service import Service
from .shape import size
from .shipping.broken import BROKEN_SHELLS, broken
from .shipping.process import Process
from .test_simulation import simulate
from .violation import Violation
from .world import Traits, World

# Of two nodes as a rule: an incident of four costs four to five times as much. The campaign plays all sizes.
INCIDENTS = {"of two nodes": (0, 1800, 2), "of any size": (1_000_000, 200, None)}
LONG = 40.0  # seconds of a scenario: adoption, fence and return fit in
LAG = 5.0  # seconds for which EC2 shows the past
SLOW = 0.7  # seconds of a call to EC2: longer than the silence that means something


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "incidents", "nodes"), INCIDENTS.values(), ids=INCIDENTS)
def test_no_incident_breaks_a_law(first, incidents, nodes):
    result, words = simulate("--first", first, "--incidents", incidents, *(["--nodes", nodes] if nodes else []))
    assert result["shell"] == "real"
    assert result["incidents"] == incidents and result["violations"] == 0, words


def test_2000_incidents_are_played_at_each_run():
    assert sum(incidents for _first, incidents, _nodes in INCIDENTS.values()) >= 2000


def test_seeds_of_larger_clusters_are_passed_over():
    chosen = seeds_from(0, 50, 2)
    assert len(chosen) == 50 and {size(seed) for seed in chosen} == {2}
    assert {size(seed) for seed in range(chosen[-1]) if seed not in chosen} >= {3, 4}
    assert {len(play(seed).hosts) for seed in chosen[:3]} == {2}


def test_an_incident_replays_exactly():
    assert story(play(7, Process)) == story(play(7, Process))
    assert story(play(7, Process)) != story(play(8, Process))


# --- one fault at a time ----------------------------------------------------------------------------------------------


def test_a_killed_process_leaves_no_coroutine_behind():
    """The garbage collector cannot end one that waits for something as it ends, such as a check of the internet."""
    world = World(1, shell=Process)
    world.hosts["nat-0"].uplink = False
    world.timeline.run(world.timeline.now + 3.0)
    tasks = [task for host in world.hosts.values() for task in asyncio.all_tasks(host.service.loop)]
    names = {task.get_coro().__qualname__ for task in tasks}
    assert {"InternetWatch.work", "SimulatedProber.reach"} & names and len(tasks) > 10, names
    world.end()
    left = [task for task in tasks if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CLOSED]
    assert not left


def dies(world: World) -> None:
    machines.die(world, "nat-1")


def dies_while_ec2_shows_the_past(world: World) -> None:
    world.cloud.stale = world.cloud.lag = LAG
    dies(world)


def stops_forwarding(world: World) -> None:
    world.hosts["nat-1"].set_nat(False)


def loses_its_uplink(world: World) -> None:
    world.hosts["nat-1"].uplink = False
    world.timeline.after(LONG / 2, lambda: setattr(world.hosts["nat-1"], "uplink", True))


def is_cut_off(world: World) -> None:
    links.partition(world, random.Random(1), LONG)


def loses_its_service(world: World) -> None:
    world.hosts["nat-1"].crash_service()


def freezes(world: World) -> None:
    world.hosts["nat-1"].frozen = True
    world.timeline.after(3.0, world.hosts["nat-1"].thaw)


def is_shut_down(world: World) -> None:
    world.hosts["nat-1"].shut_down(lambda: world.timeline.later(5.0, lambda: departures.switch_on(world, "nat-1")))


def dies_under_the_mark_of_a_ghost(world: World) -> None:
    strangers.ghosts(world, "nat-1")
    world.timeline.after(0.5, lambda: dies(world))


def is_drained(world: World) -> None:
    world.hosts["nat-1"].drain()


FAULTS = (
    dies,
    stops_forwarding,
    loses_its_uplink,
    is_cut_off,
    loses_its_service,
    freezes,
    is_shut_down,
    is_drained,
    dies_under_the_mark_of_a_ghost,
)


class Played(t.NamedTuple):
    """The outcome of a scenario."""

    writes: list[tuple[str, str, str]]  # (node, action, subject), without the flares
    moved_after: float  # seconds until a route of nat-1 first targeted nat-0
    world: World


def scenario(
    fault: t.Callable[[World], None],
    shell: t.Any,
    seconds: float = LONG,
    budget: int = 4,
    early: bool | None = None,
) -> Played:
    """Two nodes, all well, and one fault. Raises ``Violation``."""
    world = World(1, traits=Traits(budget=budget, early=early), shell=shell)
    watch, writes, moved = world.cloud.watch, [], [float("inf")]
    began = world.timeline.now

    def watched(caller: str, action: str, subject: str) -> None:
        if not (action == "CreateTags" and caller == subject):
            writes.append((caller, action, subject))
        watch(caller, action, subject)

    world.cloud.watch = watched
    fault(world)
    while world.timeline.now < began + seconds:
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
        if moved[0] == float("inf") and any(
            claim.home == "nat-1" and target == interface("nat-0") for claim, target in world.cloud.state.routes.items()
        ):
            moved[0] = world.timeline.now - began
    world.end()
    return Played(writes, moved[0], world)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_fast_model_writes_what_the_shipping_shell_writes(fault):
    shipping, fast = scenario(fault, Process), scenario(fault, Service)
    assert sorted(shipping.writes) == sorted(fast.writes)
    assert shipping.world.cloud.state.routes == fast.world.cloud.state.routes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_so_it_does_when_takeovers_are_early_and_ec2_is_slow(fault):
    def slowly(world: World) -> None:
        world.cloud.latency, world.cloud.jitter = SLOW, (1.0, 1.0)
        fault(world)

    shipping, fast = (scenario(slowly, shell, early=True) for shell in (Process, Service))
    assert sorted(shipping.writes) == sorted(fast.writes)
    assert shipping.world.cloud.state.routes == fast.world.cloud.state.routes


def test_the_scenarios_make_the_nodes_act():
    assert {action for fault in FAULTS for _node, action, _subject in scenario(fault, Process).writes} >= {
        "ReplaceRoute",
        "CreateTags",
        "StopInstances",
        "StartInstances",
        "DeleteTags",
    }


# --- what each broken shell must be caught by ---------------------------------------------------------------------------


def adopts_in_time() -> None:
    """A dead node's route moves at once, since the survivor reads EC2 and the internet during the suspicion."""
    moved = scenario(dies, Process, 10.0).moved_after
    if moved > PROMPT:
        raise Violation(f"time: the route moved after {moved:.1f} s")


def adopts_from_the_sick() -> None:
    if scenario(stops_forwarding, Process, 10.0).moved_after > 2 * PROMPT:
        raise Violation("L5: nobody takes the route of a node that does not forward")


def writes_are_bounded() -> None:
    scenario(dies_while_ec2_shows_the_past, Process, 10.0)


def partitioned_nodes_are_spared() -> None:
    scenario(is_cut_off, Process)


def lost_answers_are_not_taken_for_done() -> None:
    for seed in range(1, 6):
        play(seed, Process)


def ghosts_prevent_no_fence() -> None:
    # Before a mark whose fencer has failed is taken over in any case.
    writes = scenario(dies_under_the_mark_of_a_ghost, Process, 18.0).writes
    if ("nat-0", "StopInstances", "nat-1") not in writes:
        raise Violation("fence: the mark of a ghost keeps a dead node from being fenced")


def hands_over_in_order() -> None:
    """EC2 refuses the routes of a node that drains: its Elastic IP stays, and goes nowhere before its routes."""
    world = World(1, traits=Traits(identities=True), shell=Process)
    world.cloud.failing |= {claim.route_table for claim in world.cloud.state.routes if claim.home == "nat-1"}
    world.timeline.after(1.0, world.hosts["nat-1"].drain)
    world.timeline.run(world.timeline.now + 4.0)
    world.end()


CATCH = {
    "waits for flows for ever": level_two.a_return_waits_for_flows_for_a_while,
    "no heir without conntrackd": level_two.a_dead_conntrackd_delays_no_takeover,
    "waits for no route": hands_over_in_order,
    "honours ghosts": ghosts_prevent_no_fence,
    "never backs off": writes_are_bounded,
    "confirms nothing": lost_answers_are_not_taken_for_done,
    "never flares": partitioned_nodes_are_spared,
    "forwards always": adopts_from_the_sick,
    "asks nothing": adopts_in_time,
}


@pytest.mark.parametrize("name", sorted(BROKEN_SHELLS))
def test_the_shipping_shell_passes_what_catches_a_broken_one(name):
    CATCH[name]()


@pytest.mark.parametrize("name", sorted(BROKEN_SHELLS))
def test_a_broken_shell_is_caught(name):
    with broken(name), pytest.raises(Violation):
        CATCH[name]()
