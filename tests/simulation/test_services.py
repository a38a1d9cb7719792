# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims that depend on a service: a dead one moves them and nothing else, in both shells; the laws hold, and broken policies show."""

from __future__ import annotations

import typing as t

import pytest

from . import services
from .cloud import interface
from .incidents import SERVED
from .service import Service
from .shipping.process import Process
from .test_simulation import simulate
from .world import VIP, Traits, World

INCIDENTS, OF_SHIPPING = 60, 20
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


class Played(t.NamedTuple):
    """The calls of the nodes, and the routes by (table's home, destination) while the service was dead and at the end."""

    writes: list[tuple[str, str, str]]
    then: dict[tuple[str, str], str | None]
    after: dict[tuple[str, str], str | None]


def scenario(
    shell: t.Any,
    *changes: tuple[float, str, bool],
    notice: str = "",
    meanwhile: t.Callable[[World], None] = lambda world: None,
) -> Played:
    """Two nodes, all well. ``changes``: (seconds, node, whether its service works from then on). Raises ``Violation``.

    ``notice``: the node that EC2 is about to take, as it announced before the first change. ``meanwhile`` is called at each look.
    """
    world = World(1, traits=Traits(served=True), shell=shell)
    watch, writes = world.cloud.watch, []

    def watched(caller: str, action: str, subject: str) -> None:
        if not (action == "CreateTags" and caller == subject):
            writes.append((caller, action, subject))
        watch(caller, action, subject)

    def routes() -> dict[tuple[str, str], str | None]:
        return {(claim.home, claim.destination): target for claim, target in world.cloud.state.routes.items()}

    world.cloud.watch = watched
    if notice:
        world.hosts[notice].notice = "spot interruption"
    began = world.timeline.now
    for seconds, node, serves in changes:
        world.timeline.after(seconds, lambda node=node, serves=serves: services.become(world, node, serves=serves))  # type: ignore[misc]
    then: dict[tuple[str, str], str | None] = {}
    while world.timeline.now < began + LONG:
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
        meanwhile(world)
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


@pytest.mark.parametrize("shell", SHELLS)
def test_a_node_that_is_about_to_go_serves_what_no_other_does_and_hands_it_over_when_one_does(shell):
    played = scenario(shell, (10.0, "nat-0", False), (DEAD + 1, "nat-0", True), notice="nat-1")
    at_nat_0 = dict.fromkeys(AT_HOME, interface("nat-0"))
    served = dict.fromkeys([("nat-0", VIP), ("nat-1", VIP)], interface("nat-1"))
    assert (played.then, played.after) == ({**at_nat_0, **served}, at_nat_0)
    moves = [node for node, _action, _subject in played.writes]
    assert moves == ["nat-0", "nat-0", "nat-1", "nat-1", "nat-0", "nat-0"], "its own, then the service's"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_service_that_flaps_beside_a_node_that_is_about_to_go_moves_ever_more_rarely(shell):
    """The worst that it can do: it dies as soon as its node has the route, and works as soon as its node has lost it."""
    moved: list[float] = []

    def flaps(world: World) -> None:
        target = next(world.cloud.state.routes[each] for each in world.cloud.state.routes if str(each).endswith(VIP))
        here, since = target == interface("nat-0"), world.timeline.now - (moved[-1] if moved else 0.0)
        if here == (len(moved) % 2 == 1):
            moved.append(world.timeline.now)
        elif since > 2.0:
            services.become(world, "nat-0", serves=not here)

    scenario(shell, notice="nat-1", meanwhile=flaps)
    away, back = moved[::2], moved[1::2]
    waits = [home - gone for gone, home in zip(away, back)]
    assert waits == sorted(waits) and waits[-1] > 2 * waits[0]
    assert len(moved) <= 8, "in a minute"
