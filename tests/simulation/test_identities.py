# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs that follow their claims: the laws hold in both shells, and without identities nothing of them exists."""

from __future__ import annotations

import typing as t

import pytest

from nat_failover.policy import address_order
from nat_failover.policy import identities as identities_policy

from .cloud import interface
from .identities import allocation, private
from .incidents import IDENTITIES, play
from .machines import die
from .service import Service
from .shipping.process import Process
from .test_simulation import simulate
from .world import Traits, World

INCIDENTS, OF_SHIPPING = 100, 20
TABLE_DELETED = 4130001685  # a seed
LONG = 60.0  # seconds: a death, a fence, a start and the way back
SHELLS = [pytest.param(Service, id="fast"), pytest.param(Process, id="shipping")]


@pytest.mark.timeout(900)
def test_no_incident_of_an_identity_breaks_a_law():
    result, words = simulate("--shell", "fast", "--incidents", INCIDENTS, "--first", IDENTITIES)
    assert result["incidents"] == INCIDENTS and result["violations"] == 0, words


@pytest.mark.timeout(900)
def test_nor_does_one_of_the_shipping_shell():
    result, words = simulate("--incidents", OF_SHIPPING, "--first", IDENTITIES)
    assert result["incidents"] == OF_SHIPPING and result["violations"] == 0, words


@pytest.mark.parametrize("shell", SHELLS)
def test_an_address_does_not_follow_a_route_whose_table_was_deleted(shell):
    """The answer to a write of such a route is a "no". In this incident a node takes the claims of one that drains by a reading from before."""
    play(TABLE_DELETED, shell)


class Played(t.NamedTuple):
    """The writes of the nodes about routes and Elastic IPs with their moments, and the places of the latter in the end."""

    writes: list[tuple[float, str, str]]
    addresses: t.Mapping[str, tuple[str | None, str | None]]
    worst: str  # where the Elastic IP of the dead node was before the return


def death(shell: t.Any, *, identities: bool = True, denied: str = "", narrow: bool = False) -> Played:
    """The death of nat-1 among two nodes. ``denied``: a call that nat-0 may not make. ``narrow``: each interface has one address only."""
    world = World(1, traits=Traits(identities=identities), shell=shell)
    world.cloud.privates = {} if narrow else world.cloud.privates
    watch, writes, seen = world.cloud.watch, [], []

    def watched(caller: str, action: str, subject: str) -> None:
        if action in ("ReplaceRoute", "AssociateAddress"):
            writes.append((world.timeline.now, caller, action))
        watch(caller, action, subject)

    world.cloud.watch = watched
    world.cloud.denied |= {("nat-0", denied)} if denied else set()
    began = world.timeline.now
    world.timeline.after(1.0, lambda: die(world, "nat-1"))
    while world.timeline.now < began + LONG:
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
        if world.cloud.state.addresses:
            seen.append(str(world.cloud.state.addresses[allocation(1)]))
    world.end()
    at_home = str((interface("nat-1"), private(1, 1)))
    return Played(writes, world.cloud.state.addresses, next((each for each in seen if each != at_home), at_home))


def actions(played: Played) -> list[tuple[str, str]]:
    return [(caller, action) for _at, caller, action in played.writes]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_elastic_ip_goes_with_the_route_and_comes_home_with_it(shell):
    played = death(shell)
    assert sorted(actions(played)[:2]) == [("nat-0", "AssociateAddress"), ("nat-0", "ReplaceRoute")]
    assert actions(played)[2:] == [("nat-1", "ReplaceRoute"), ("nat-1", "AssociateAddress")]
    assert played.worst == str((interface("nat-0"), private(0, 1)))
    assert played.addresses == {allocation(n): (interface(f"nat-{n}"), private(n, n)) for n in (0, 1)}
    assert abs(played.writes[0][0] - played.writes[1][0]) < 0.1  # side by side
    assert played.writes[3][0] - played.writes[2][0] < 1.0  # one after the other, and no longer out than that


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("denied", ["AssociateAddress", "DescribeAddresses"])
def test_a_missing_permission_costs_the_identity_and_never_the_route(shell, denied):
    played = death(shell, denied=denied)
    assert [each for each in actions(played) if each[1] == "ReplaceRoute"] == [
        ("nat-0", "ReplaceRoute"),
        ("nat-1", "ReplaceRoute"),
    ]
    assert ("nat-0", "AssociateAddress") not in actions(played)


@pytest.mark.parametrize("shell", SHELLS)
def test_without_identities_no_call_names_an_elastic_ip(shell, monkeypatch):
    def refuse(*arguments):
        raise AssertionError(arguments)

    for name in ("read_addresses", "associate"):
        monkeypatch.setattr("tests.simulation.cloud.Cloud." + name, refuse)
    if shell is Service:
        monkeypatch.setattr(
            "tests.simulation.cloud.Cloud.read_addresses", lambda *given: {} if not given[2] else refuse()
        )
    played = death(shell, identities=False)
    assert actions(played) == [("nat-0", "ReplaceRoute"), ("nat-1", "ReplaceRoute")]


@pytest.mark.parametrize("shell", SHELLS)
def test_interfaces_with_one_address_cost_the_identity_and_everything_else_is_as_without(shell):
    without, narrow = death(shell, identities=False), death(shell, narrow=True)
    assert actions(narrow) == actions(without) == [("nat-0", "ReplaceRoute"), ("nat-1", "ReplaceRoute")]
    for (at, _who, _action), (before, _caller, _call) in zip(narrow.writes, without.writes, strict=True):
        assert abs(at - before) < 1.0
    assert narrow.worst == str((interface("nat-1"), private(1, 1))), "the Elastic IP stays"


ROUND_TRIP = 0.04  # seconds: the slowest answer of EC2 when nothing hinders it


def handover(
    shell: t.Any, hinder: t.Callable[[World], None] = lambda world: None, seconds: float = 6.0, tables: int = 1
) -> Played:
    """The drain of nat-1 among two nodes. ``hinder``: a fault before it."""
    world = World(1, tables=tables, traits=Traits(identities=True), shell=shell)
    watch, writes = world.cloud.watch, []

    def watched(caller: str, action: str, subject: str) -> None:
        if action in ("ReplaceRoute", "AssociateAddress"):
            writes.append((world.timeline.now, caller, action))
        watch(caller, action, subject)

    world.cloud.watch = watched
    hinder(world)
    world.timeline.after(1.0, world.hosts["nat-1"].drain)
    end = world.timeline.now + 1.0 + seconds
    while world.timeline.now < end:
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
    world.end()
    return Played(writes, world.cloud.state.addresses, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_planned_move_the_elastic_ip_comes_one_answer_after_the_route(shell):
    """It waits neither for a reading of the route nor for one of its own."""
    played = handover(shell)
    assert actions(played) == [("nat-0", "ReplaceRoute"), ("nat-0", "AssociateAddress")]
    assert 0 < played.writes[1][0] - played.writes[0][0] < ROUND_TRIP


@pytest.mark.parametrize("shell", SHELLS)
def test_while_ec2_refuses_the_route_the_elastic_ip_stays_with_the_node_that_drains(shell):
    played = handover(shell, lambda world: world.cloud.denied.add(("nat-0", "ReplaceRoute")))
    assert played.writes == [] and played.addresses[allocation(1)] == (interface("nat-1"), private(1, 1))


@pytest.mark.parametrize("shell", SHELLS)
def test_after_a_route_whose_answer_was_lost_it_comes_once_a_reading_shows_the_route(shell):
    def lose(world: World) -> None:
        world.timeline.after(0.9, lambda: setattr(world.cloud, "lost_answers", 1.0))
        world.timeline.after(1.1, lambda: setattr(world.cloud, "lost_answers", 0.0))

    played = handover(shell, lose)
    assert actions(played)[-1] == ("nat-0", "AssociateAddress")
    assert actions(played)[0] == ("nat-0", "ReplaceRoute") and actions(played).count(("nat-0", "AssociateAddress")) == 1
    assert played.addresses[allocation(1)] == (interface("nat-0"), private(0, 1))


@pytest.mark.parametrize("shell", SHELLS)
def test_while_one_of_two_tables_fails_it_stays_and_comes_with_the_other_one(shell):
    def hinder(world: World) -> None:
        first = min(claim.route_table for claim in world.cloud.state.routes if claim.home == "nat-1")
        world.cloud.failing.add(first)
        world.timeline.after(3.0, lambda: world.cloud.failing.discard(first))

    played = handover(shell, hinder, seconds=9.0, tables=2)
    assert actions(played) == [("nat-0", "ReplaceRoute")] * 2 + [("nat-0", "AssociateAddress")]
    assert played.writes[1][0] - played.writes[0][0] > 1.0
    assert 0 < played.writes[2][0] - played.writes[1][0] < ROUND_TRIP


LAPSES_EVERY = 7  # seconds: it proves itself in between


def fight(*, drains: bool) -> list[str]:
    """The nodes that move the Elastic IP of a node that drains, or lapses over and over, while EC2 writes none of its routes."""
    world, moves = World(1, traits=Traits(identities=True)), []
    world.cloud.watch = lambda caller, action, subject: moves.append(caller) if action == "AssociateAddress" else None
    world.cloud.failing |= {claim.route_table for claim in world.cloud.state.routes if claim.home == "nat-1"}
    host = world.hosts["nat-1"]
    if drains:
        world.timeline.after(1.0, host.drain)
    for at in () if drains else range(1, 40, LAPSES_EVERY):
        world.timeline.after(at, lambda: host.set_nat(False))
        world.timeline.after(at + 2.0, lambda: host.set_nat(True))
    world.timeline.run(50.0)
    world.end()
    return moves


def test_two_nodes_do_not_fight_over_an_elastic_ip(monkeypatch):
    """The peer takes it beside the routes once in return.max_s (24 s here), and its owner fetches it back after a moment."""
    assert fight(drains=True) == [], "a node that hands over keeps it until its routes have gone"
    assert fight(drains=False) == ["nat-0", "nat-1"] * 2
    monkeypatch.setattr(address_order, "PATIENCE", 0.0)
    monkeypatch.setattr(identities_policy, "note", lambda memory, actions, routes, now: memory)
    assert len(fight(drains=False)) > 2 * len(["nat-0", "nat-1"])  # without the bounds they do
