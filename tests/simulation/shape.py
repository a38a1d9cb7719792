# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of an incident: the size of the cluster, its configuration, its course. All drawn from its seed."""

from __future__ import annotations

import random
import typing as t

from .world import Traits

DARK = 0.03  # of all incidents: the one in which flares cannot help, and which therefore lasts longer
AGAIN = 0.03  # of all incidents: those in which a node dies twice
PAUSED = 0.02  # of all incidents: those in which a node dies while all know that an operator has paused the cluster
TWINS = 0.1  # of all incidents with witnesses: two of four nodes die together
DARKER = 0.1  # of them: as with DARK
WITNESSED = 10**9  # seeds from here on are of incidents with a witness table or a node that only watches
EARLY = 2 * 10**9  # seeds from here on are of incidents with early takeovers
SERVED = 3 * 10**9  # seeds from here on are of incidents with claims that depend on a service, which fails
IDENTITIES = 4 * 10**9  # seeds from here on are of incidents with Elastic IPs that move with the claims of their nodes
SYNCED = (
    5 * 10**9
)  # seeds from here on are of incidents with identities whose connections are synchronised, of two nodes
SHARE_SERVED = 0.04  # of all other incidents: those with such claims
HURRIED = 0.05  # of all other incidents: those with early takeovers
LATENCIES = (0.02, 0.3, 0.7)  # seconds of a call to EC2 in incidents with early takeovers, without a fault of EC2


class Shape(t.NamedTuple):
    """``kind``: a course of its own, or nothing; ``twins``: two nodes die together."""

    nodes: int
    tables: int
    kind: str
    traits: Traits
    twins: bool


def shape(seed: int, rng: random.Random, extra: random.Random) -> Shape:
    """``extra`` draws what concerns witnesses: apart, so that other incidents stay as they are."""
    nodes, kind = _size(rng), _kind(rng)
    nodes = 2 if seed >= SYNCED else nodes
    tables, traits = _tables(rng, nodes), _traits(rng, kind)
    if not WITNESSED <= seed < EARLY:
        return Shape(nodes, tables, kind, traits, False)
    twins = extra.random() < TWINS
    table = twins or extra.random() < 0.7
    kind = "dark" if not twins and extra.random() < DARKER else kind
    traits = traits._replace(
        mode="full",
        fence="stop_start",
        return_after=12 if kind == "dark" else traits.return_after,
        witness=not table or extra.random() < 0.3,
        table=table,
    )
    return Shape(4 if twins else nodes, tables, kind, traits, twins)


def size(seed: int) -> int:
    """The number of nodes of an incident's cluster, without one that only watches."""
    return shape(seed, random.Random(f"incident {seed}"), random.Random(f"witness {seed}")).nodes


def latency_if_early(seed: int) -> float | None:
    """The latency of EC2 in an incident with early takeovers; None for the others. Drawn apart, so that these stay as they are."""
    rng = random.Random(f"early {seed}")
    latency = rng.choice(LATENCIES)
    return latency if EARLY <= seed < SERVED or rng.random() < HURRIED else None


def is_served(seed: int, rng: random.Random) -> bool:
    """Whether there are claims that depend on a service. ``rng`` draws apart, too."""
    return rng.random() < SHARE_SERVED or SERVED <= seed < IDENTITIES


def _kind(rng: random.Random) -> str:
    """A few kinds of incidents have a course of their own."""
    drawn = rng.random()
    for kind, share in (("dark", DARK), ("again", AGAIN), ("paused", PAUSED)):
        if drawn < share:
            return kind
        drawn -= share
    return ""


def _size(rng: random.Random) -> int:
    """Small clusters as a rule; a large one costs as much as hundreds of small ones."""
    kind = rng.random()
    if kind < 0.002:
        return rng.randint(9, 16)
    if kind < 0.012:
        return rng.randint(5, 8)
    return rng.choice((2,) * 7 + (3, 3, 4))


def _tables(rng: random.Random, nodes: int) -> int:
    return rng.choice((1, 1, 1, 2, 3, 6)) if nodes < 5 else 1


def _traits(rng: random.Random, kind: str) -> Traits:
    """In the dark a return is slower than a fence, as by default, so that both nodes of a partition hold on to what they took."""
    drawn = rng.random()
    mode = "observe" if drawn < 0.04 else "route" if drawn < 0.1 else "full"
    fence = rng.choice(("stop_start",) * 8 + ("reboot", "none"))
    budget = rng.choice((1, 4)) if kind == "again" else rng.choice((1, 4, 4))
    destinations = rng.choice((("0.0.0.0/0",),) * 4 + (("0.0.0.0/0", "::/0"), ("0.0.0.0/0", "pl-0123456789abcdef0")))
    if kind:
        mode, fence = "full", "stop_start"
    return Traits(mode, fence, budget, 12 if kind == "dark" else 3, destinations)
