# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of EC2 that last: tags, by a quota or a policy, and the stop of an instance."""

from __future__ import annotations

import random

from .links import partition
from .machines import die, owner, owners
from .world import World


def _some(world: World, rng: random.Random) -> list[str]:
    """One node, or all of them."""
    return rng.choice(([owner(rng, world)], owners(world)))


def full(world: World, rng: random.Random, seconds: float) -> None:
    """Instances have as many tags as EC2 takes, and their nodes do not reach each other."""
    names = _some(world, rng)
    world.timeline.tell("FAULT: no room for a further tag on {}".format(", ".join(names)))
    world.cloud.full |= set(names)
    partition(world, rng, seconds)


def refused(world: World, rng: random.Random, seconds: float) -> None:
    """Nodes may write no tag, as by a policy of the organization, and do not reach each other."""
    names = _some(world, rng)
    world.timeline.tell("FAULT: no tag may be written by {}".format(", ".join(names)))
    world.cloud.denied |= {(name, action) for name in names for action in ("Flare", "CreateTags")}
    partition(world, rng, seconds)


def dies_without_room(world: World, rng: random.Random, seconds: float) -> None:
    """A node dies, and no mark can be written on it for a while."""
    name = owner(rng, world)
    world.cloud.full.add(name)
    world.timeline.later(seconds, lambda: world.cloud.full.discard(name))
    die(world, name)


def dies_unstoppable(world: World, rng: random.Random, seconds: float) -> None:
    """An instance that EC2 does not stop dies."""
    name = owner(rng, world)
    world.timeline.tell(f"FAULT: EC2 does not stop {name}")
    world.cloud.unstoppable.add(name)
    die(world, name)


REFUSALS = (full, full, refused, dies_without_room, dies_unstoppable)
