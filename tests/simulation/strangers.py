# SPDX-License-Identifier: GPL-3.0-or-later
"""Strangers who may write tags, and have no key: they keep on when all faults end, as an attacker does."""

from __future__ import annotations

import random

from nat_failover.model.cluster import TAG_FENCE, TAG_FLARE

from .machines import die, owner
from .world import World

FLARES_EVERY = 1.0  # seconds between two forged flares: often enough that each reading finds another one
FLARES_FOR = 40.0  # seconds: longer than the time in which a dead node's claims must move


def flares(world: World, rng: random.Random, seconds: float) -> None:
    """A node dies, and a stranger writes flares for it: texts of any version, and true flares once more."""
    name, end = owner(rng, world), world.timeline.now + FLARES_FOR
    die(world, name)
    world.timeline.tell(f"STRANGER: writes flares for {name}")
    true = [world.cloud.state.tags[name].get(TAG_FLARE, "")]
    texts = (f"{{}}:{int(world.timeline.now)}", "{}", "0123456789abcdef:{}", "1:{}:" + "0" * 32)
    turn = 0

    def write() -> None:
        nonlocal turn
        turn += 1
        if world.timeline.now > end or world.hosts[name].powered:
            return
        value = rng.choice((*texts, *true)).replace("{}", str(turn))
        if value:
            world.cloud.set_tag("stranger", name, TAG_FLARE, value)
        world.timeline.after(FLARES_EVERY, write)

    write()


def ghosts(world: World, name: str) -> None:
    """A stranger marks a node for a fence in the name of one that does not exist."""
    world.timeline.tell(f"STRANGER: marks {name} for a fence")
    world.cloud.set_tag("stranger", name, TAG_FENCE, "ghost:stop")
