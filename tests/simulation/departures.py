# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that go and know it beforehand: shutdowns without a drain, and what EC2 announces and then does, or does not."""

from __future__ import annotations

import random
import typing as t

if t.TYPE_CHECKING:
    from .world import World


def switch_on(world: World, name: str) -> None:
    """Power for a machine, unless EC2 has it stopped meanwhile."""
    if not world.hosts[name].powered and world.cloud.state.instances[name] == "running":
        world.hosts[name].power("on")


def shutdown(world: World, rng: random.Random, seconds: float) -> None:
    """An operator reboots a node, or switches it off for longer, without a drain: it hands over by itself."""
    name = rng.choice(sorted(world.hosts))
    away = rng.choice((rng.uniform(2, 6), 30.0))
    world.timeline.tell(f"OPERATOR: shuts {name} down for {away:.1f} s")

    def off() -> None:
        world.laws.left(name)
        world.timeline.later(away, lambda: switch_on(world, name))

    world.hosts[name].shut_down(off)


def notice(world: World, rng: random.Random, seconds: float) -> None:
    """EC2 announces something for a node: it takes that back, or stops the instance after a while, or neither; then all others may die before it."""
    name = rng.choice(sorted(world.hosts))
    end = rng.choice(("withdrawn", "stopped", "standing", "the last one"))
    host = world.hosts[name]
    world.timeline.tell(f"EC2: a notice for {name}, for {seconds:.1f} s, then {end}")
    host.notice = "spot interruption"
    if end == "withdrawn":
        world.timeline.later(seconds, lambda: setattr(host, "notice", ""))
    elif end == "stopped":
        world.timeline.later(seconds, lambda: world.cloud.interrupt(name))
    elif end == "the last one":
        for other in sorted(set(world.hosts) - {name}):
            world.hosts[other].broken = True
            world.timeline.later(seconds, lambda other=other: world.hosts[other].power("off"))  # type: ignore[misc]


DEPARTURES = (shutdown, notice)
