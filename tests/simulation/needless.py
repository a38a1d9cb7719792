# SPDX-License-Identifier: GPL-3.0-or-later
"""Needless takeovers in partitions with a slow API, with early takeovers and without: the table of docs/tuning.md.

``PYTHONPATH=plugins/module_utils python -m tests.simulation.needless`` prints it. The shipping shell plays each partition: two nodes of the profile
``fast`` do not hear each other for a while, both live and reach EC2. So each takeover in it is needless.
"""

from __future__ import annotations

import sys
import typing as t

from .cloud import owner_of
from .network import Network
from .shipping.process import Process
from .world import USUAL, World

LATENCIES = (0.02, 0.3, 1.0, 2.0)  # seconds of a call to EC2
LASTING = (0.5, 1.5, 60.0)  # seconds of a partition
PARTITIONS = 20  # of each cell
SPREAD = (0.8, 1.2)  # of the latency
BEFORE = 30.0  # seconds, after which a few readings have been made under this latency
AFTER = 8.0  # seconds after the partition, until what was begun in it has come to its end
TRAITS = USUAL._replace(profile="fast", return_after=24, read_timeout=2.5)


class Counted(t.NamedTuple):
    """The outcome of one partition."""

    takeovers: int  # routes that a peer took from a node that lived
    away: int  # routes that are not at home in the end
    stopped: int


def cut(network: Network, apart: bool) -> None:
    """Two nodes do not hear each other, or do again."""
    pairs = {("nat-0", "nat-1"), ("nat-1", "nat-0")}
    network.cut = pairs if apart else set()


def go_on(world: World, seconds: float) -> None:
    """Let time pass, under the eyes of the laws."""
    end = world.timeline.now + seconds
    while world.timeline.now < end:
        world.timeline.run(min(end, world.timeline.now + 0.25))
        world.laws.look()


def partition(early: bool, latency: float, lasting: float, number: int, traits: t.Any = TRAITS) -> Counted:
    """One partition; ``number`` sets its moment and the dice."""
    world = World(number, traits=traits._replace(early=early), shell=Process)
    cloud, watch, taken = world.cloud, world.cloud.watch, []
    cloud.latency, cloud.jitter = latency, SPREAD
    stopped: list[str] = []

    def watched(caller: str, action: str, subject: str) -> None:
        if action == "ReplaceRoute":
            home = next(claim.home for claim in cloud.state.routes if str(claim) == subject)
            taken.extend([subject] * (caller != home))
        elif action in ("StopInstances", "RebootInstances"):
            stopped.append(subject)
        watch(caller, action, subject)

    cloud.watch = watched
    go_on(world, BEFORE + 0.37 * number)
    cut(world.network, True)
    go_on(world, lasting)
    cut(world.network, False)
    go_on(world, AFTER)
    world.end()
    return Counted(
        len(taken), sum(owner_of(to) != claim.home for claim, to in cloud.state.routes.items()), len(stopped)
    )


def row(latency: float, partitions: int = PARTITIONS) -> list[str]:
    """Needless takeovers in 100 partitions, off and on, for each length."""
    cells = []
    for lasting in LASTING:
        for early in (False, True):
            found = [partition(early, latency, lasting, number) for number in range(partitions)]
            assert not any(each.stopped for each in found)
            cells.append(f"{100 * sum(each.takeovers for each in found) / partitions:.0f}")
    return cells


def main() -> int:
    """Print the table, a row for each latency."""
    head = [f"{lasting:g} s, {str(early).lower()}" for lasting in LASTING for early in (False, True)]
    print(f"| latency of EC2 | {' | '.join(head)} |\n|---|{'---|' * len(head)}")
    for latency in LATENCIES:
        print(f"| {int(latency * 1000)} ms | {' | '.join(row(latency))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
