# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a node that lives loses its route, by profile: the real decisions in the simulation, on bad networks and on machines that stall."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from nat_failover.config.sections import PROFILES
from nat_failover.policy.verdict import LATE
from tests.simulation.cloud import owner_of
from tests.simulation.network import Bursts
from tests.simulation.world import USUAL, World

from .campaign import Key, Part, Row

YEAR_S = 365.25 * 24 * 3600
SLICE_S = 600.0  # simulated seconds of one world: a run is many of them
QUICK_HOURS, HOURS = 0.5, 24.0
BURST_S, BURST_SHARE = 0.05, 0.01  # mean length of a burst in which nothing passes; the share of time that they make
PAUSE_S, PAUSE_EVERY_S = 0.1, 10.0  # means
JITTER_S = 0.1

Setup = Callable[[World, random.Random], None]


def lossy(share: float) -> Setup:
    """Each packet is lost with this probability, whatever happens to others."""
    return lambda world, rng: setattr(world.network, "loss", share)


def bursts(world: World, rng: random.Random) -> None:
    """Gilbert and Elliott's model on each direction of each link."""
    good = BURST_S * (1 - BURST_SHARE) / BURST_SHARE
    for one in world.hosts:
        for two in world.hosts:
            if one != two:
                world.network.bursts[one, two] = Bursts(rng, good, BURST_S, world.timeline.now)


def jitter(world: World, rng: random.Random) -> None:
    """Each packet takes up to this time longer, and may overtake others."""
    world.network.delay, world.network.jitter = 0.001, JITTER_S


def pauses(world: World, rng: random.Random) -> None:
    """Every now and then the hypervisor lets a machine stand still (CPU steal)."""

    def pause(name: str) -> None:
        host = world.hosts[name]
        if host.powered and not host.frozen:
            host.frozen = True
            world.timeline.after(rng.expovariate(1 / PAUSE_S), host.thaw)
        world.timeline.after(rng.expovariate(1 / PAUSE_EVERY_S), lambda: pause(name))

    for name in world.hosts:
        world.timeline.after(rng.expovariate(1 / PAUSE_EVERY_S), lambda name=name: pause(name))  # type: ignore[misc]


CONDITIONS: dict[str, Setup] = {
    "1 % loss": lossy(0.01),
    "5 % loss": lossy(0.05),
    "10 % loss": lossy(0.10),
    "20 % loss": lossy(0.20),
    "1 % in bursts": bursts,
    "jitter": jitter,
    "pauses": pauses,
}


def plan(quick: bool) -> Iterator[Key]:
    for run in range(1 if quick else 4):
        for profile in PROFILES:
            for condition in CONDITIONS:
                yield {"profile": profile, "condition": condition, "hours": QUICK_HOURS if quick else HOURS, "run": run}


def measure(key: Key) -> Row:
    """Takeovers and fences in so many simulated hours of two nodes that never fail."""
    takeovers = fences = 0
    for number in range(round(key["hours"] * 3600 / SLICE_S)):
        seed = f"{key['condition']} {key['run']} {number}"
        took, fenced = suffer(key["profile"], CONDITIONS[key["condition"]], seed, SLICE_S)
        takeovers, fences = takeovers + took, fences + fenced
    return {"takeovers": takeovers, "fences": fences}


def suffer(profile: str, setup: Setup, seed: str, seconds: float) -> tuple[int, int]:
    """(routes that were taken from a node that lives, nodes that were stopped)."""
    rng = random.Random(seed)
    world = World(rng.getrandbits(32), traits=USUAL._replace(profile=profile))
    counts = {"taken": 0, "stopped": 0}
    set_route, stop = world.cloud.set_route, world.cloud.stop

    def counted_route(caller, claim, target):  # type: ignore[no-untyped-def]
        counts["taken"] += owner_of(target) != claim.home
        return set_route(caller, claim, target)

    def counted_stop(caller, node):  # type: ignore[no-untyped-def]
        counts["stopped"] += 1
        stop(caller, node)

    world.cloud.set_route = counted_route  # type: ignore[method-assign]
    world.cloud.stop = counted_stop  # type: ignore[method-assign]
    # An act that a law forbids is counted here. It is no error.
    world.cloud.watch = lambda *_call: None
    for host in world.hosts.values():
        host.decided = lambda *_decision: None
    setup(world, rng)
    world.timeline.run(world.timeline.now + seconds)
    return counts["taken"], counts["stopped"]


def silences_per_year(profile: str, condition: str) -> float | None:
    """How often two nodes that live see a silence that looks like a death, in closed form; None where there is no formula.

    Random loss ``p``: after any heartbeat, all further ones within ``silent_after`` are lost (each with ``p``), and so is each probe or its
    answer (``1 - (1 - p)^2``), of which a burst sends two, UDP and ICMP, at each of its intervals. Bursts: one direction stays bad for
    ``silent_after``; their lengths are exponential. Not each silence is a takeover: a flare that is read in time spares it.
    """
    interval, burst, silent = PROFILES[profile]  # milliseconds
    if condition == "1 % in bursts":
        return 2 * YEAR_S * BURST_SHARE / BURST_S * math.exp(-silent / 1000 / BURST_S)
    if not condition.endswith("% loss"):
        return None
    loss = float(condition.split()[0]) / 100
    heartbeats = math.ceil(silent / interval) - 1
    probes = 2 * max(0, int((silent - LATE * interval) // burst))
    return float(2 * YEAR_S * 1000 / interval * loss**heartbeats * (1 - (1 - loss) ** 2) ** probes)


def figures(rows: list[Row]) -> dict[str, float]:
    """Takeovers per year as simulated."""
    return {
        f"{profile}, {condition}: takeovers per year": round(per_year(members), 1)
        for (profile, condition), members in groups(rows).items()
    }


def groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by (profile, condition)."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["profile"], row["condition"]), []).append(row)
    return found


def per_year(rows: list[Row]) -> float:
    """The simulated rate."""
    hours = sum(row["hours"] for row in rows)
    return float(sum(row["takeovers"] for row in rows) * YEAR_S / 3600 / hours)


PART = Part("alarms", ("profile", "condition", "hours", "run"), plan, measure, figures)
