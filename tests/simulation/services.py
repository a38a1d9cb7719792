# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of a service on a node that claims depend on. Some last until an operator repairs it, and so outlast all other faults."""

from __future__ import annotations

import random

from .machines import owner, owners
from .world import World

BLIP = (0.1, 2.4)  # seconds: shorter than what counts as a failure
AGAIN = (0.5, 6.0)  # seconds between two changes of a service that flaps
FLAPS_FOR = 30.0  # seconds: also after all other faults have ended


def dies(world: World, rng: random.Random, seconds: float) -> None:
    """It does not work any more."""
    become(world, owner(rng, world), serves=False)


def dies_for_a_while(world: World, rng: random.Random, seconds: float) -> None:
    """It works again after some time."""
    name = owner(rng, world)
    become(world, name, serves=False)
    world.timeline.after(seconds, lambda: become(world, name, serves=True))


def blips(world: World, rng: random.Random, seconds: float) -> None:
    """It is away for a moment, as when systemd restarts it."""
    dies_for_a_while(world, rng, rng.uniform(*BLIP))


def flaps(world: World, rng: random.Random, seconds: float) -> None:
    """It comes and goes, on some nodes."""
    end = world.timeline.now + FLAPS_FOR
    for name in rng.sample(owners(world), rng.choice((1, 2))):
        _flap(world, rng, name, end)


def _flap(world: World, rng: random.Random, name: str, end: float) -> None:
    over = world.timeline.now >= end
    become(world, name, serves=over or not world.hosts[name].serves)
    if not over:
        world.timeline.after(rng.uniform(*AGAIN), lambda: _flap(world, rng, name, end))


def dies_everywhere(world: World, rng: random.Random, seconds: float) -> None:
    """It dies on all nodes, one after the other."""
    for name in owners(world):
        world.timeline.after(rng.uniform(0.0, 5.0), lambda name=name: become(world, name, serves=False))  # type: ignore[misc]


def repaired(world: World) -> None:
    """An operator repairs it on all nodes."""
    for name, host in world.hosts.items():
        if not host.serves:
            become(world, name, serves=True)


def become(world: World, name: str, *, serves: bool) -> None:
    """The service of a node works from now on, or does not."""
    if world.hosts[name].serves != serves:
        world.timeline.tell(f"the service of {name} {'works again' if serves else 'does not work'}")
        world.hosts[name].serves = serves


FAULTS = (dies, dies, dies_for_a_while, dies_for_a_while, blips, flaps, dies_everywhere)
