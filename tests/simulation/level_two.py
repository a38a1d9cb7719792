# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios of two nodes whose connections are synchronised. Each raises ``Violation`` for a shell that makes the wrong thing of it."""

from __future__ import annotations

import typing as t

from nat_failover.observe.sync_watch import CHECK_EVERY
from nat_failover.policy.synchronised import FLOWS_WITHIN

from .cloud import interface
from .conntrackd import DEAD, STUCK
from .machines import die
from .shipping.process import Process
from .violation import Violation
from .world import Traits, World

PROMPT = 2.5  # virtual seconds from a death to the survivor's route
AFTER = 12  # seconds until a return: conntrackd is asked every ten
BACK = 45.0  # seconds for a fence, a boot and a return that waits for nothing
HOME, AWAY = interface("nat-1"), interface("nat-0")


def synchronised() -> World:
    """All well."""
    return World(1, traits=Traits(identities=True, synced=True, return_after=AFTER), shell=Process)


def run(world: World, seconds: float, until: t.Callable[[], bool] = lambda: False) -> float:
    """Let time pass, under the laws. Returns the seconds until something was so."""
    began = world.timeline.now
    while world.timeline.now < began + seconds and not until():
        world.timeline.run(world.timeline.now + 0.25)
        world.laws.look()
    return world.timeline.now - began


def at(world: World, target: str) -> t.Callable[[], bool]:
    """Whether the routes of nat-1 lead to an interface."""
    return lambda: {to for claim, to in world.cloud.state.routes.items() if claim.home == "nat-1"} == {target}


def dies_and_returns(fault: str, node: str) -> float:
    """nat-1 dies and boots, and conntrackd of a node has a fault all the time. Returns the seconds from the death to the return."""
    world = synchronised()
    try:
        return _dies_and_returns(world, fault, node)
    finally:
        world.end()


def _dies_and_returns(world: World, fault: str, node: str) -> float:
    assert world.conntrackd is not None
    world.conntrackd.faults.update({node: fault} if fault else {})
    run(world, CHECK_EVERY + 5.0)  # until it is known
    die(world, "nat-1")
    adopted = run(world, 2 * PROMPT, at(world, AWAY))
    if adopted > PROMPT:
        raise Violation(f"time: the route moved after {adopted:.1f} s")
    returned = run(world, BACK + FLOWS_WITHIN, at(world, HOME))
    if not at(world, HOME)():
        raise Violation(f"home: the route is not at home after {returned:.0f} s")
    return adopted + returned


def a_return_waits_for_flows_for_a_while() -> None:
    """Less than half of them ever arrive."""
    dies_and_returns(STUCK, "nat-1")


def a_dead_conntrackd_delays_no_takeover() -> None:
    """That of the heir."""
    dies_and_returns(DEAD, "nat-0")
