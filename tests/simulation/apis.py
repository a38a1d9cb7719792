# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of EC2 and of DynamoDB, as all nodes or one of them see it."""

from __future__ import annotations

import random
import typing as t

from .api import Api
from .links import partition
from .machines import one
from .world import World

# Faults of all calls of an API: the value while it is, and otherwise.
TROUBLES: t.Mapping[str, tuple[float, float]] = {
    "up": (False, True),
    "latency": (0.6, 0.02),
    "throttled": (0.6, 0.0),
    "stale": (2.5, 0.0),
    "lost_answers": (0.5, 0.0),
}


def _hinder(world: World, called: str, service: Api, name: str, seconds: float) -> None:
    value, normal = TROUBLES[name]
    world.timeline.tell(f"FAULT: {called} {name}={value} for {seconds:.1f} s")
    setattr(service, name, value)
    world.timeline.later(seconds, lambda: setattr(service, name, normal))


def api(world: World, rng: random.Random, seconds: float) -> None:
    """EC2 is down, slow, throttled, stale, or answers get lost."""
    name = rng.choice(("up", "latency", "throttled", "stale", "lost_answers"))
    _hinder(world, "EC2", world.cloud, name, seconds)


def partial(world: World, rng: random.Random, seconds: float) -> None:
    """EC2 refuses to write some route tables, the others not."""
    tables = sorted({claim.route_table for claim in world.cloud.state.routes})
    chosen = set(rng.sample(tables, rng.randint(1, len(tables))))
    world.timeline.tell("FAULT: EC2 fails for {}, for {:.1f} s".format(", ".join(sorted(chosen)), seconds))
    world.cloud.failing |= chosen
    world.timeline.later(seconds, lambda: world.cloud.failing.difference_update(chosen))


def dynamodb(world: World, rng: random.Random, seconds: float) -> None:
    """DynamoDB is down, slow, throttled, answers get lost, or a node may not use the table."""
    name = rng.choice(("up", "latency", "throttled", "lost_answers", "denied"))
    if name == "denied":
        who = one(rng, world)
        world.timeline.tell(f"FAULT: {who} may not use the witness table")
        world.table.denied |= {(who, action) for action in ("Query", "PutItem", "DeleteItem")}
        return
    _hinder(world, "DynamoDB", world.table, name, seconds)


def denied(world: World, rng: random.Random, seconds: float) -> None:
    """A node's role lacks a permission until the end of the faults."""
    what = (one(rng, world), rng.choice(("CreateTags", "Flare", "ReplaceRoute", "StopInstances", "Describe")))
    world.timeline.tell("FAULT: {} may not {}".format(*what))
    world.cloud.denied.add(what)


def dark_partition(world: World, rng: random.Random, seconds: float) -> None:
    """A partition in which no node may write its own flare, but may stop others: the worst case, in which only the tie-break helps."""
    partition(world, rng, seconds + 20)
    world.cloud.latency = rng.choice((0.02, 0.5))
    world.timeline.tell(f"FAULT: no node may write its own flare; EC2 takes {int(world.cloud.latency * 1000)} ms")
    world.cloud.denied |= {(name, "Flare") for name in world.hosts}
