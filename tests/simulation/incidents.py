# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents: a few faults at random moments, an end of all faults, and what must be true afterwards."""

from __future__ import annotations

import random
import typing as t

from nat_failover.model.cluster import TAG_DRAINED, TAG_MAINTENANCE, TAG_PAUSE
from nat_failover.policy.synchronised import FLOWS_WITHIN

from . import conntrackd, elastic, services, strangers
from .apis import dark_partition, dynamodb
from .cloud import STOP
from .departures import DEPARTURES, switch_on
from .faults import FAULTS
from .machines import crash, die, one, replaced, twin_deaths
from .operators import ELSEWHERE, pausing
from .service import Service
from .shape import EARLY, IDENTITIES, SERVED, SYNCED, WITNESSED, is_served, latency_if_early, shape
from .tables import CHANGES
from .tags import REFUSALS
from .truth import TAGGED
from .violation import Violation
from .world import World

__all__ = ["EARLY", "IDENTITIES", "SERVED", "SYNCED", "WITNESSED", "play", "story"]

LONGEST = 14.0  # seconds that the faults last together
SETTLE = 16.0  # from the end of the faults until every claim must be with a node that forwards
REPAIR = (0.0, 30.0)  # so much later the operator starts what is still off, undoes edits and resumes
END = 60.0  # from there until all must be at home
REPLACED = 0.05  # of all incidents: those in which, besides, an instance is terminated and another one takes its place
TAGS = 0.06  # of all incidents: those in which route tables are found by their tags, and mostly change
RESHAPED = 0.02  # of all incidents: those in which route tables come and go besides
FORGED = 0.03  # of all incidents: those in which, besides, a stranger writes tags
REFUSED = 0.05  # of all incidents: those in which, besides, EC2 refuses tags or stops for good
DEPARTING = 0.1  # of all incidents: those in which, besides, a node knows that it is about to go


def play(seed: int, shell: t.Callable[..., t.Any] = Service) -> World:
    """Run one incident; raises ``Violation`` with its story. ``shell``: the fast model of the service, or the shipping one."""
    rng, extra, shaper = (random.Random(f"{what} {seed}") for what in ("incident", "witness", "tables"))
    nodes, tables, kind, traits, twins = shape(seed, rng, extra)
    latency = latency_if_early(seed)
    server = random.Random(f"service {seed}")
    traits = traits._replace(
        tagged=shaper.random() < TAGS, early=True if latency else None, served=is_served(seed, server)
    )
    traits = traits._replace(identities=seed >= IDENTITIES, synced=seed >= SYNCED)
    world = World(seed, nodes, tables, traits, shell)
    if latency:
        world.timeline.tell(f"takeovers are early, and EC2 takes {int(latency * 1000)} ms")
        world.cloud.latency = latency
    world.timeline.tell(
        f"seed {seed}: {nodes} nodes, {len(world.cloud.state.routes)} claims, mode {traits.mode}, fence {traits.fence}"
    )
    if traits.table:
        _trouble_with_the_table(world, extra, twins)
    for _number in range(rng.choice((1, 1, 2, 2, 3))):
        fault, at = rng.choice(FAULTS), rng.uniform(0.3, LONGEST * 0.7)
        seconds = rng.choice((rng.uniform(0.1, 2.0), rng.uniform(1.0, LONGEST - at)))
        world.timeline.later(at, lambda fault=fault, seconds=seconds: fault(world, rng, seconds))  # type: ignore[misc]
    if traits.served:
        fails, lasting = server.choice(services.FAULTS), server.uniform(0.1, LONGEST)
        world.timeline.later(server.uniform(0.3, LONGEST * 0.7), lambda: fails(world, server, lasting))
    if traits.identities:
        mover = random.Random(f"identity {seed}")
        moves, while_ = mover.choice(elastic.FAULTS), mover.uniform(0.1, LONGEST)
        world.timeline.later(mover.uniform(0.3, LONGEST * 0.7), lambda: moves(world, mover, while_))
    if traits.synced:
        syncer = random.Random(f"conntrackd {seed}")
        hinders, during = syncer.uniform(0.3, LONGEST * 0.7), syncer.uniform(1.0, 2 * LONGEST)
        world.timeline.later(hinders, lambda: conntrackd.hindered(world, syncer, during))
    _changes_of_the_cluster(world, seed, shaper)
    end = _course(world, rng, kind)
    try:
        _run(world, end)
    except Violation as violation:
        raise Violation(f"{violation}\n{story(world)}") from None
    finally:
        world.end()
    return world


def _changes_of_the_cluster(world: World, seed: int, shaper: random.Random) -> None:
    """Instances that are replaced, tables that come and go, nodes that know that they go: each drawn apart, so that it leaves the rest as it is."""
    other = random.Random(f"replacement {seed}")
    if other.random() < REPLACED:
        world.timeline.later(other.uniform(0.3, LONGEST * 0.7), lambda: replaced(world, other, 0.0))
    if (shaper.random() < 0.8 and world.traits.tagged) or shaper.random() < RESHAPED:
        change = shaper.choice(CHANGES)
        world.timeline.later(shaper.uniform(0.3, LONGEST * 0.7), lambda: change(world, shaper, 0.0))
    forger = random.Random(f"stranger {seed}")
    if forger.random() < FORGED:
        world.timeline.later(forger.uniform(0.3, LONGEST * 0.7), lambda: strangers.flares(world, forger, 0.0))
    tagger = random.Random(f"tags {seed}")
    if tagger.random() < REFUSED:
        refuses, lasting = tagger.choice(REFUSALS), tagger.uniform(1.0, LONGEST)
        world.timeline.later(tagger.uniform(0.3, LONGEST * 0.7), lambda: refuses(world, tagger, lasting))
    goer = random.Random(f"departure {seed}")
    if goer.random() < DEPARTING:
        departs, lasting = goer.choice(DEPARTURES), goer.uniform(0.1, LONGEST / 2)
        world.timeline.later(goer.uniform(0.3, LONGEST * 0.7), lambda: departs(world, goer, lasting))


def _course(world: World, rng: random.Random, kind: str) -> float:
    """The common part of incidents of a kind. Returns when all faults end."""
    if kind == "dark":
        world.timeline.later(1.0, lambda: dark_partition(world, rng, LONGEST))
        return 2 * LONGEST
    if kind == "paused":
        # Not by `later`: the time until everybody knows of the pause must pass, although nothing goes on meanwhile.
        world.timeline.after(1.0, lambda: pausing(world, rng, TAGGED + 5))
        world.timeline.after(TAGGED + 2.5, lambda: crash(world, rng, 0.0))
    elif kind == "again":
        name = one(rng, world)
        for at in (1.0, 2 * LONGEST):
            world.timeline.later(at, lambda: die(world, name))
        return 3 * LONGEST
    return LONGEST


def _trouble_with_the_table(world: World, rng: random.Random, twins: bool) -> None:
    world.cloud.stop_takes = rng.choice((STOP, STOP, 15.0))
    if twins:
        world.timeline.later(rng.uniform(0.3, 2.0), lambda: twin_deaths(world, rng, LONGEST))
    elif rng.random() < 0.5:
        at, seconds = rng.uniform(0.3, LONGEST * 0.7), rng.uniform(1.0, LONGEST)
        world.timeline.later(at, lambda: dynamodb(world, rng, seconds))


def _run(world: World, end: float) -> None:
    world.timeline.later(end, lambda: _all_faults_end(world))
    while not world.healed:
        world.step()
    if world.until_calm(SETTLE):
        return
    if world.traits.mode != "observe":
        world.laws.egress()
    if world.until_calm(world.rng.uniform(*REPAIR)):
        return
    world.planned.clear()
    services.repaired(world)
    for name, host in world.hosts.items():
        host.broken, host.notice = False, ""
        if name in world.cloud.interrupted:
            world.cloud.start("operator", name)
        if not host.powered:
            world.timeline.tell(f"OPERATOR: starts {name}")
            switch_on(world, name)
    world.until_calm(5.0)  # an operator resumes a node that is up
    restore(world)
    if not world.until_calm(END + (FLOWS_WITHIN if world.traits.synced else 0.0)):
        world.laws.home()


def _all_faults_end(world: World) -> None:
    world.heal()
    restore(world)


def restore(world: World) -> None:
    """The operator undoes what the operator did."""
    for claim, target in world.cloud.state.routes.items():
        if target == ELSEWHERE or (world.traits.mode == "observe" and target != "eni-" + claim.home):
            world.cloud.edit(claim, "eni-" + claim.home)
    elastic.restore(world)
    for name in sorted(set(world.hosts) - world.planned):
        for tag in (TAG_MAINTENANCE, TAG_DRAINED, TAG_PAUSE):
            if tag in world.cloud.state.tags[name]:
                world.cloud.set_tag("operator", name, tag, None)
        world.laws.pauses.pop(name, None)
        world.hosts[name].resume()


def story(world: World) -> str:
    """The story, line by line."""
    return "\n".join("{:8.3f}  {}".format(*line) for line in world.timeline.story)
