# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims that depend on a service: a dead one moves them and nothing else, in both shells; the laws hold, and broken policies show."""

from __future__ import annotations

import typing as t

import pytest

from . import services
from .cloud import interface
from .hunt import OF_SERVICES, hunt
from .incidents import SERVED
from .service import Service
from .shells import REAL
from .shipping.process import Process
from .test_simulation import simulate
from .world import VIP, Traits, World

INCIDENTS, OF_SHIPPING = 400, 40
ENOUGH = 300  # incidents within which the shipping shell must catch each broken policy
DEAD, LONG = 20.0, 60.0  # seconds: the service is dead; the scenario, with the way back
SHELLS = [pytest.param(Service, id="fast"), pytest.param(Process, id="shipping")]


@pytest.mark.timeout(900)
def test_no_incident_of_a_service_breaks_a_law():
    result, words = simulate("--shell", "fast", "--incidents", INCIDENTS, "--first", SERVED)
    assert result["incidents"] == INCIDENTS and result["violations"] == 0, words


@pytest.mark.timeout(900)
def test_nor_does_one_of_the_shipping_shell():
    result, words = simulate("--incidents", OF_SHIPPING, "--first", SERVED)
    assert result["incidents"] == OF_SHIPPING and result["violations"] == 0, words


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OF_SERVICES)
def test_the_shipping_shell_shows_a_broken_policy_too(name):
    assert hunt(name, ENOUGH, shell=REAL)[0] is not None


class Played(t.NamedTuple):
    """The calls of the nodes, and the routes by (table's home, destination) while the service was dead and at the end."""

    writes: list[tuple[str, str, str]]
    then: dict[tuple[str, str], str | None]
    after: dict[tuple[str, str], str | None]


def scenario(shell: t.Any, *changes: tuple[float, str, bool]) -> Played:
    """Two nodes, all well. ``changes``: (seconds, node, whether its service works from then on). Raises ``Violation``."""
    world = World(1, traits=Traits(served=True), shell=shell)
    watch, writes = world.cloud.watch, []

    def watched(caller: str, action: str, subject: str) -> None:
        if not (action == "CreateTags" and caller == subject):
            writes.append((caller, action, subject))
        watch(caller, action, subject)

    def routes() -> dict[tuple[str, str], str | None]:
        return {(claim.home, claim.destination): target for claim, target in world.cloud.state.routes.items()}

    world.cloud.watch = watched
    began = world.timeline.now
    for seconds, node, serves in changes:
        world.timeline.after(seconds, lambda node=node, serves=serves: services.become(world, node, serves=serves))  # type: ignore[misc]
    then: dict[tuple[str, str], str | None] = {}
    while world.timeline.now < began + LONG:
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
        then = then or (routes() if world.timeline.now >= began + DEAD else {})
    world.end()
    return Played(writes, then, routes())


AT_HOME = {(home, each): interface(home) for home in ("nat-0", "nat-1") for each in ("0.0.0.0/0", VIP)}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_dead_service_moves_its_route_alone_and_it_comes_home(shell):
    played = scenario(shell, (1.0, "nat-1", False), (DEAD + 1, "nat-1", True))
    assert played.then == {**AT_HOME, ("nat-1", VIP): interface("nat-0")}
    assert played.after == AT_HOME
    assert [(node, action) for node, action, _subject in played.writes] == [
        ("nat-0", "ReplaceRoute"),
        ("nat-1", "ReplaceRoute"),
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_service_that_is_dead_everywhere_moves_nothing_until_it_works_somewhere(shell):
    """The first of two to know may lose its route to the other one: so the second dies later, and nothing moves any more."""
    changes = [(1.0, "nat-0", False), (10.0, "nat-1", False)]
    played = scenario(shell, *changes)
    at_nat_1 = {**AT_HOME, ("nat-0", VIP): interface("nat-1")}
    assert (played.then, played.after) == (at_nat_1, at_nat_1)
    assert len(played.writes) == 1
    played = scenario(shell, *changes, (DEAD + 1, "nat-0", True))
    assert played.then == at_nat_1
    assert played.after == {**AT_HOME, ("nat-1", VIP): interface("nat-0")}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_service_that_is_away_for_a_moment_moves_nothing(shell):
    blips = [(at + more, "nat-1", more > 0) for at in (1.0, 5.0, 9.0, 13.0) for more in (0.0, 2.0)]
    assert scenario(shell, *blips).writes == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_service_that_flaps_comes_home_ever_later(shell):
    changes = [(at + more, "nat-1", more > 0) for at in (1.0, 12.0, 26.0) for more in (0.0, 5.0)]
    writes = [node for node, _action, _subject in scenario(shell, *changes).writes]
    assert writes[:2] == ["nat-0", "nat-1"] and len(writes) <= 6
