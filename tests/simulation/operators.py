# SPDX-License-Identifier: GPL-3.0-or-later
"""Acts of operators at the worst moment: drain, pause, switch off, edit routes, set clocks."""

from __future__ import annotations

import random

from nat_failover.model.cluster import TAG_MAINTENANCE, TAG_PAUSE, Claim
from nat_failover.policy import pause

from .machines import one, owner
from .timeline import EPOCH
from .world import World

ELSEWHERE = "eni-elsewhere"


def drain(world: World, rng: random.Random, seconds: float) -> None:
    """An operator drains a node, and resumes it some time later."""
    name = one(rng, world)
    world.timeline.tell(f"OPERATOR: drains {name} for {seconds:.1f} s")
    world.hosts[name].drain()
    world.timeline.later(seconds, world.hosts[name].resume)


def maintenance(world: World, rng: random.Random, seconds: float) -> None:
    """An operator tags a node."""
    name = one(rng, world)
    world.timeline.tell(f"OPERATOR: tags {name} for maintenance for {seconds:.1f} s")
    world.cloud.set_tag("operator", name, TAG_MAINTENANCE, "x")
    world.timeline.later(seconds, lambda: world.cloud.set_tag("operator", name, TAG_MAINTENANCE, None))


def pausing(world: World, rng: random.Random, seconds: float) -> None:
    """An operator pauses the whole cluster, which ends by itself."""
    until = world.timeline.now + seconds
    world.timeline.tell(f"OPERATOR: pauses the cluster for {seconds:.1f} s")
    world.laws.paused_at = None  # a second one takes as long to be known as the first
    world.laws.hampered_at = world.timeline.now
    for name in sorted(world.hosts):
        world.cloud.set_tag("operator", name, TAG_PAUSE, pause.value(EPOCH + until))
        # The tag has whole seconds; a second pause replaces the first.
        world.laws.pauses[name] = until - 1.0


def planned_work(world: World, rng: random.Random, seconds: float) -> None:
    """An operator drains a node, switches it off, and comes back much later."""
    name = one(rng, world)
    if world.planned:
        return
    world.planned.add(name)
    world.timeline.tell(f"OPERATOR: drains {name} and switches it off")
    world.hosts[name].drain()
    world.timeline.later(5.0, lambda: world.hosts[name].power("off"))


def edit(world: World, rng: random.Random, seconds: float) -> None:
    """An operator points a route at a peer, at something else, or deletes it."""
    claim = rng.choice(sorted(world.cloud.state.routes))
    target = owner(rng, world)
    world.cloud.edit(claim, rng.choice((ELSEWHERE, None, "eni-" + target)))


def _edit(world: World, claim: Claim, target: str | None) -> None:
    """An operator's edit, if it still falls into the incident."""
    if not world.healed:
        world.cloud.edit(claim, target)


def ambush(world: World, rng: random.Random, seconds: float) -> None:
    """An operator edits a route at the moment in which a node has just written it, or a peer of its owner has just died."""
    target = rng.choice((ELSEWHERE, ELSEWHERE, None, "eni-" + owner(rng, world)))
    lag = rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.0, 3.0)))
    world.timeline.tell(f"OPERATOR: will edit the next route that a node takes, {lag:.1f} s later")

    def edit(claim: Claim) -> None:
        world.cloud.ambush = None
        world.timeline.after(lag, lambda: _edit(world, claim, target))

    world.cloud.ambush = edit


def death_and_edit(world: World, rng: random.Random, seconds: float) -> None:
    """A node dies, and an operator points one of its routes elsewhere at nearly the same time."""
    name = owner(rng, world)
    claims = [claim for claim, target in sorted(world.cloud.state.routes.items()) if target == "eni-" + name]
    world.timeline.tell(f"FAULT: {name} dies")
    world.hosts[name].power("off")
    if claims:
        claim, lag = rng.choice(claims), rng.uniform(0.0, 1.5)
        world.timeline.after(lag, lambda: _edit(world, claim, ELSEWHERE))


def lapse_and_edit(world: World, rng: random.Random, seconds: float) -> None:
    """A node fails to forward for a moment, and an operator points its route elsewhere before it takes that back."""
    host = world.hosts[owner(rng, world)]
    claims = sorted(world.cloud.state.routes)
    claim = rng.choice([claim for claim in claims if claim.home == host.name] or claims)
    world.timeline.tell(f"FAULT: {host.name} no longer forwards, for 1.5 s")
    host.set_nat(False)
    world.timeline.after(1.5, lambda: host.set_nat(True) if host.powered else None)
    world.timeline.after(rng.uniform(1.2, 2.6), lambda: _edit(world, claim, ELSEWHERE))


def clock(world: World, rng: random.Random, seconds: float) -> None:
    """Somebody sets a node's time of day, and nobody sets it right before the end."""
    name, error = owner(rng, world), rng.choice((-3600.0, -20.0, 20.0, 3600.0))
    world.timeline.tell(f"OPERATOR: sets the clock of {name} by {error} s")
    world.hosts[name].clock_error = error
