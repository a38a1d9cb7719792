# SPDX-License-Identifier: GPL-3.0-or-later
"""Further faults: what a network does short of a cut, EC2 that fails for some tables only, services that stay away, edits at the worst moment."""

from __future__ import annotations

import random
import typing as t

from nat_failover.model import Claim

from .network import Bursts

if t.TYPE_CHECKING:
    from .world import World

MOST_DELAY = 0.25  # seconds one way; with the jitter still less than the silence that means something
ELSEWHERE = "eni-elsewhere"


def _one(rng: random.Random, world: "World") -> str:
    return rng.choice(sorted(name for name, host in world.hosts.items() if not host.witness))


def _edit(world: "World", claim: Claim, target: t.Optional[str]) -> None:
    """An operator's edit, if it still falls into the incident."""
    if not world.healed:
        world.cloud.edit(claim, target)


def delay(world: "World", rng: random.Random, seconds: float) -> None:
    """Packets take long, each its own time, and overtake each other."""
    world.network.delay = rng.uniform(0.01, MOST_DELAY)
    world.network.jitter = rng.uniform(0.0, 0.2)
    world.timeline.tell(
        "FAULT: packets take %d ms and up to %d ms more, for %.1f s"
        % (world.network.delay * 1000, world.network.jitter * 1000, seconds)
    )

    def over() -> None:
        world.network.delay = world.network.jitter = 0.0

    world.timeline.later(seconds, over)


def bursts(world: "World", rng: random.Random, seconds: float) -> None:
    """All links lose packets in bursts (Gilbert-Elliott)."""
    bad = rng.uniform(0.02, 0.3)
    good = bad * rng.choice((9, 99))
    world.timeline.tell("FAULT: bursts of loss of %d ms every %d ms, for %.1f s" % (bad * 1000, good * 1000, seconds))
    names = sorted(world.hosts)
    world.network.bursts = {
        (sender, receiver): Bursts(rng, good, bad, world.timeline.now)
        for sender in names
        for receiver in names
        if sender != receiver
    }
    world.timeline.later(seconds, world.network.bursts.clear)


def partial(world: "World", rng: random.Random, seconds: float) -> None:
    """EC2 refuses to write some route tables, the others not."""
    tables = sorted({claim.route_table for claim in world.cloud.state.routes})
    chosen = set(rng.sample(tables, rng.randint(1, len(tables))))
    world.timeline.tell("FAULT: EC2 fails for %s, for %.1f s" % (", ".join(sorted(chosen)), seconds))
    world.cloud.failing |= chosen
    world.timeline.later(seconds, lambda: world.cloud.failing.difference_update(chosen))


def service_away(world: "World", rng: random.Random, seconds: float) -> None:
    """A service dies and stays away (systemd gave up); the kernel goes on to NAT. Nobody may be stopped for that (L5)."""
    name = _one(rng, world)
    world.timeline.tell("FAULT: the service of %s is gone for %.1f s" % (name, seconds + 10.0))
    world.hosts[name].crash_service(seconds + 10.0)


def restarts(world: "World", rng: random.Random, seconds: float) -> None:
    """A node dies; soon after, the service of another starts anew and knows nothing of its life (L6)."""
    dead = _one(rng, world)
    world.timeline.tell("FAULT: %s dies, and all other services crash" % dead)
    world.hosts[dead].power("off")
    for name in sorted(set(world.hosts) - {dead}):
        world.timeline.after(rng.uniform(0.0, 3.0), world.hosts[name].crash_service)


def ambush(world: "World", rng: random.Random, seconds: float) -> None:
    """An operator edits a route at the moment in which a node has just written it, or a peer of its owner has just died."""
    target = rng.choice((ELSEWHERE, ELSEWHERE, None, "eni-" + _one(rng, world)))
    lag = rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.0, 3.0)))
    world.timeline.tell("OPERATOR: will edit the next route that a node takes, %.1f s later" % lag)

    def edit(claim: Claim) -> None:
        world.cloud.ambush = None
        world.timeline.after(lag, lambda: _edit(world, claim, target))

    world.cloud.ambush = edit


def death_and_edit(world: "World", rng: random.Random, seconds: float) -> None:
    """A node dies, and an operator points one of its routes elsewhere at nearly the same time."""
    name = _one(rng, world)
    claims = [claim for claim, target in sorted(world.cloud.state.routes.items()) if target == "eni-" + name]
    world.timeline.tell("FAULT: %s dies" % name)
    world.hosts[name].power("off")
    if claims:
        claim, lag = rng.choice(claims), rng.uniform(0.0, 1.5)
        world.timeline.after(lag, lambda: _edit(world, claim, ELSEWHERE))


def lapse_and_edit(world: "World", rng: random.Random, seconds: float) -> None:
    """A node fails to forward for a moment, and an operator points its route elsewhere before it takes that back."""
    host = world.hosts[_one(rng, world)]
    claims = sorted(world.cloud.state.routes)
    claim = rng.choice([claim for claim in claims if claim.home == host.name] or claims)
    world.timeline.tell("FAULT: %s no longer forwards, for 1.5 s" % host.name)
    host.set_nat(False)
    world.timeline.after(1.5, lambda: host.set_nat(True) if host.powered else None)
    world.timeline.after(rng.uniform(1.2, 2.6), lambda: _edit(world, claim, ELSEWHERE))


def replaced(world: "World", rng: random.Random, seconds: float) -> None:
    """An instance is terminated, and a new one takes its place some time later, as an autoscaling group does; not every one boots."""
    name = _one(rng, world)
    if world.cloud.state.instances[name] == "terminated":
        return
    boots = rng.random() < 0.6
    world.timeline.tell("FAULT: %s is terminated%s" % (name, "" if boots else ", and its replacement will not boot"))
    world.hosts[name].broken, world.hosts[name].notice = not boots, ""
    world.cloud.terminate(name)
    world.timeline.after(rng.uniform(0.5, 6.0), lambda: world.cloud.launch(name))


def clock(world: "World", rng: random.Random, seconds: float) -> None:
    """Somebody sets a node's time of day, and nobody sets it right before the end."""
    name, error = _one(rng, world), rng.choice((-3600.0, -20.0, 20.0, 3600.0))
    world.timeline.tell("OPERATOR: sets the clock of %s by %d s" % (name, error))
    world.hosts[name].clock_error = error


FURTHER = (
    clock,
    lapse_and_edit,
    delay,
    delay,
    bursts,
    bursts,
    partial,
    service_away,
    restarts,
    ambush,
    ambush,
    death_and_edit,
)
