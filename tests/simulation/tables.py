# SPDX-License-Identifier: GPL-3.0-or-later
"""Route tables that come and go: deleted, made anew under another id, added, given to another node."""

from __future__ import annotations

import random

from .cloud import interface
from .machines import owner
from .world import World, destinations_of

NEW = 0xF00  # ids of new tables start here


def _make(world: World, rng: random.Random, home: str) -> None:
    """A table of this home, without routes, or with those that were copied from an old one."""
    table = f"rtb-{NEW + len(world.cloud.state.homes):017x}"
    target = rng.choice((None, interface(home), interface(owner(rng, world))))
    world.timeline.tell(f"OPERATOR: makes {table} of {home}, which points to {target}")
    world.cloud.tag_table(home, {(table, each): target for each in destinations_of(world.traits)})


def added(world: World, rng: random.Random, seconds: float) -> None:
    """One more table, tagged with its home."""
    _make(world, rng, owner(rng, world))


def deleted(world: World, rng: random.Random, seconds: float) -> None:
    """A table is deleted for good."""
    tables = sorted({claim.route_table for claim in world.cloud.state.routes})
    if len(tables) > 1:
        table = rng.choice(tables)
        world.timeline.tell(f"OPERATOR: deletes {table}")
        world.cloud.delete_table(table)


def made_anew(world: World, rng: random.Random, seconds: float) -> None:
    """A table is deleted, and another one takes its place some time later."""
    claim = rng.choice(sorted(world.cloud.state.routes))
    world.timeline.tell(f"OPERATOR: deletes {claim.route_table}")
    world.cloud.delete_table(claim.route_table)
    world.timeline.after(rng.uniform(0.1, 6.0), lambda: _make(world, rng, claim.home))


def moved(world: World, rng: random.Random, seconds: float) -> None:
    """A table that was found by its tag gets another home."""
    tables = sorted(world.cloud.state.homes)
    if not tables:
        return
    table, home = rng.choice(tables), owner(rng, world)
    world.timeline.tell(f"OPERATOR: gives {table} to {home}")
    routes = {claim[:2]: to for claim, to in world.cloud.state.routes.items() if claim.route_table == table}
    world.cloud.tag_table(home, routes)


CHANGES = (added, deleted, made_anew, moved)
