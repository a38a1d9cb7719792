# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the network between the nodes: cuts, and what is short of a cut."""

from __future__ import annotations

import random

from .machines import one
from .network import Bursts
from .world import World

MOST_DELAY = 0.25  # seconds one way; with the jitter still less than the silence that means something


def pair(rng: random.Random, world: World) -> tuple[str, str]:
    """Two different nodes."""
    first, second = rng.sample(sorted(world.hosts), 2)
    return first, second


def partition(world: World, rng: random.Random, seconds: float) -> None:
    """Two nodes no longer reach each other; both reach everything else."""
    first, second = pair(rng, world)
    world.timeline.tell(f"FAULT: {first} and {second} are cut off from each other for {seconds:.1f} s")
    cuts = {(first, second), (second, first)}
    world.network.cut |= cuts
    world.timeline.later(seconds, lambda: world.network.cut.difference_update(cuts))


def one_way(world: World, rng: random.Random, seconds: float) -> None:
    """Packets pass in one direction only."""
    cut = pair(rng, world)
    world.timeline.tell("FAULT: nothing passes from {} to {} for {:.1f} s".format(*cut, seconds))
    world.network.cut.add(cut)
    world.timeline.later(seconds, lambda: world.network.cut.discard(cut))


def isolate(world: World, rng: random.Random, seconds: float) -> None:
    """One node reaches none of the others, but the internet and EC2."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} is cut off from all others for {seconds:.1f} s")
    cuts = {pair for other in world.hosts if other != name for pair in ((name, other), (other, name))}
    world.network.cut |= cuts
    world.timeline.later(seconds, lambda: world.network.cut.difference_update(cuts))


def no_icmp(world: World, rng: random.Random, seconds: float) -> None:
    """A security group without ICMP."""
    world.timeline.tell(f"FAULT: no ICMP for {seconds:.1f} s")
    world.network.no_icmp = True
    world.timeline.later(seconds, lambda: setattr(world.network, "no_icmp", False))


def loss(world: World, rng: random.Random, seconds: float) -> None:
    """Random loss between all nodes."""
    world.network.loss = rng.choice((0.05, 0.2, 0.4))
    world.timeline.tell(f"FAULT: {int(world.network.loss * 100)} % of packets are lost for {seconds:.1f} s")
    world.timeline.later(seconds, lambda: setattr(world.network, "loss", 0.0))


def delay(world: World, rng: random.Random, seconds: float) -> None:
    """Packets take long, each its own time, and overtake each other."""
    world.network.delay = rng.uniform(0.01, MOST_DELAY)
    world.network.jitter = rng.uniform(0.0, 0.2)
    world.timeline.tell(
        f"FAULT: packets take {int(world.network.delay * 1000)} ms and up to {int(world.network.jitter * 1000)} ms more, for {seconds:.1f} s"
    )

    def over() -> None:
        world.network.delay = world.network.jitter = 0.0

    world.timeline.later(seconds, over)


def bursts(world: World, rng: random.Random, seconds: float) -> None:
    """All links lose packets in bursts (Gilbert-Elliott)."""
    bad = rng.uniform(0.02, 0.3)
    good = bad * rng.choice((9, 99))
    world.timeline.tell(
        f"FAULT: bursts of loss of {int(bad * 1000)} ms every {int(good * 1000)} ms, for {seconds:.1f} s"
    )
    names = sorted(world.hosts)
    world.network.bursts = {
        (sender, receiver): Bursts(rng, good, bad, world.timeline.now)
        for sender in names
        for receiver in names
        if sender != receiver
    }
    world.timeline.later(seconds, world.network.bursts.clear)
