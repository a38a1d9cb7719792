# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that concern nothing but the Elastic IPs of identities."""

from __future__ import annotations

import random

from .cloud import ELSEWHERE_INTERFACE, interface
from .identities import private
from .machines import owner
from .world import World


def denied(world: World, rng: random.Random, seconds: float) -> None:
    """A node, or all, may not move Elastic IPs, or not read them."""
    what = rng.choice(("AssociateAddress", "AssociateAddress", "DescribeAddresses"))
    who = [owner(rng, world)] if rng.random() < 0.5 else list(world.hosts)
    world.timeline.tell(f"FAULT: {', '.join(who)} may not {what}")
    world.cloud.denied |= {(name, what) for name in who}


def failing(world: World, rng: random.Random, seconds: float) -> None:
    """EC2 fails to move one Elastic IP."""
    chosen = rng.choice(sorted(world.cloud.state.addresses))
    world.timeline.tell(f"FAULT: EC2 fails for {chosen}, for {seconds:.1f} s")
    world.cloud.failing.add(chosen)
    world.timeline.later(seconds, lambda: world.cloud.failing.discard(chosen))


def put(world: World, chosen: str, place: tuple[str | None, str | None]) -> None:
    """An operator associates an Elastic IP."""
    world.timeline.tell(f"OPERATOR: {chosen} is associated with {place}")
    world.cloud.associate("operator", chosen, place)


def freed(world: World, rng: random.Random, seconds: float) -> None:
    """An operator disassociates an Elastic IP."""
    put(world, rng.choice(sorted(world.cloud.state.addresses)), (None, None))


def taken(world: World, rng: random.Random, seconds: float) -> None:
    """An operator gives an Elastic IP to something that is no node, until the end of the faults."""
    put(world, rng.choice(sorted(world.cloud.state.addresses)), (ELSEWHERE_INTERFACE, "10.0.9.9"))


def misplaced(world: World, rng: random.Random, seconds: float) -> None:
    """An operator makes an Elastic IP the public address of a node itself, until the end of the faults."""
    name = owner(rng, world)
    chosen = rng.choice(sorted(world.cloud.state.addresses))
    put(world, chosen, (interface(name), world.cloud.primary(name)))


def swapped(world: World, rng: random.Random, seconds: float) -> None:
    """An operator moves an Elastic IP to the waiting address of another node."""
    chosen = rng.choice(sorted(world.cloud.state.addresses))
    home, node = world.cloud.allocations.index(chosen), rng.randrange(len(world.cloud.allocations))
    put(world, chosen, (interface(f"nat-{node}"), private(node, home)))


def half(world: World, rng: random.Random, seconds: float) -> None:
    """A node drains, and EC2 fails to write its routes: its peers get the Elastic IP, and nothing else."""
    name = owner(rng, world)
    tables = {claim.route_table for claim in world.cloud.state.routes if claim.home == name}
    world.timeline.tell(f"OPERATOR: drains {name}. FAULT: EC2 fails for its tables")
    world.cloud.failing |= tables
    world.hosts[name].drain()


FAULTS = (half, denied, denied, failing, freed, taken, misplaced, swapped)


def restore(world: World) -> None:
    """The operator takes back what would stay drift for ever."""
    primary = {world.cloud.primary(name) for name in world.hosts}
    for number, chosen in enumerate(world.cloud.allocations):
        place = world.cloud.state.addresses[chosen]
        if place[0] == ELSEWHERE_INTERFACE or place[1] in primary or world.traits.mode == "observe":
            put(world, chosen, (interface(f"nat-{number}"), private(number, number)))
