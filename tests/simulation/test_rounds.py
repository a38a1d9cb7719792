# SPDX-License-Identifier: GPL-3.0-or-later
"""A takeover waits for one answer of EC2, and not for one reading after another, however the cluster is configured.

An early one waits for none before its write.

The shipping shell runs on virtual time, so the bound is exact: a second reading on the way would add a whole latency.
"""

from __future__ import annotations

import pytest

from . import machines
from .cloud import interface
from .shipping.aws import FakeConnection
from .shipping.process import Process
from .world import USUAL, World

LATENCY = 2.0  # seconds, of each call to EC2
HEARTBEAT = 0.15  # seconds, with room for the timers' coalescing
SHARE = 0.05  # seconds for all that is neither silence nor EC2
LATENCIES = (0.0, 0.1, 0.3, 1.0, 2.0)  # seconds of a call to EC2
BEAT = 0.1  # seconds: the interval of heartbeats
PHASES = 5  # moments of the death between two heartbeats
CLUSTERS = {
    "tagged": {},
    "by id": {"untagged": True},
    "mixed": {"untagged": "nat-1"},
    "tables by tag": {"traits": USUAL._replace(tagged=True)},
    "tables by tag, instances by id": {"untagged": True, "traits": USUAL._replace(tagged=True)},
    "a witness": {"untagged": True, "traits": USUAL._replace(witness=True)},
    "a witness table": {"untagged": True, "traits": USUAL._replace(table=True)},
    "both families": {"traits": USUAL._replace(destinations=("0.0.0.0/0", "::/0"))},
    "two hundred tables": {"untagged": True, "tables": 200},
    "sixteen nodes": {"untagged": True, "nodes": 16},
    "fast, not early": {"untagged": True, "traits": USUAL._replace(profile="fast", early=False)},
}


def moved_after(nodes=2, tables=1, traits=USUAL, untagged=False, enough=any) -> tuple[float, float]:
    """Seconds from the death of nat-1 until any (or all) of its routes target a peer; and the configured silence."""
    world = World(1, nodes, tables, traits, Process)
    cloud = world.cloud
    cloud.untagged = set(cloud.names) if untagged is True else {untagged} if untagged else set()
    cloud.latency, cloud.jitter = LATENCY, (1.0, 1.0)
    world.timeline.run(world.timeline.now + 20.0)  # readings as under this latency
    own = interface("nat-1")
    began = world.timeline.now
    machines.die(world, "nat-1")
    while world.timeline.now < began + 30.0:
        world.timeline.run(world.timeline.now + 0.01)
        if enough(target != own for claim, target in cloud.state.routes.items() if claim.home == "nat-1"):
            break
    world.end()
    return world.timeline.now - began, world.hosts["nat-0"].config.heartbeat.silent_after


@pytest.mark.parametrize("cluster", sorted(CLUSTERS))
def test_one_round_of_readings_precedes_the_takeover(cluster):
    moved, silent = moved_after(**CLUSTERS[cluster])
    applied = LATENCY / 2  # the model moves the route half-way through the call
    assert moved <= max(silent, LATENCY + HEARTBEAT) + applied + HEARTBEAT + SHARE


def test_the_last_of_two_hundred_routes_moves_with_the_first():
    moved, silent = moved_after(tables=200, enough=all)
    assert moved <= max(silent, LATENCY + HEARTBEAT) + LATENCY / 2 + HEARTBEAT + SHARE


# --- each latency -----------------------------------------------------------------------------------------------------

DEFAULT = USUAL._replace(read_timeout=2.5)


@pytest.mark.parametrize("untagged", [False, True])
@pytest.mark.parametrize("latency", LATENCIES)
def test_a_takeover_by_default_leaves_after_the_silence_or_one_latency(latency, untagged, monkeypatch):
    for number in range(PHASES):
        asked, silent = asked_after(monkeypatch, latency, number * BEAT / PHASES, traits=DEFAULT, untagged=untagged)
        assert asked <= max(silent, latency) + BEAT + SHARE, f"phase {number}"


# --- early takeovers --------------------------------------------------------------------------------------------------

EARLY = USUAL._replace(profile="fast", read_timeout=2.5)
EARLY_CLUSTERS = {
    "tagged": {},
    "by id": {"untagged": True},
    "mixed": {"untagged": "nat-1"},
    "tables by tag": {"traits": EARLY._replace(tagged=True)},
    "a witness table": {"traits": EARLY._replace(table=True)},
    "sixteen nodes": {"nodes": 16},
    "default": {"traits": EARLY._replace(profile="default", early=True)},
}


def asked_after(monkeypatch, latency, phase, nodes=2, traits=EARLY, untagged=False) -> tuple[float, float]:
    """Seconds from the death of nat-1 until ReplaceRoute leaves a peer; and the configured silence."""
    world = World(1, nodes, 1, traits, Process)
    world.cloud.untagged = set(world.cloud.names) if untagged is True else {untagged} if untagged else set()
    world.cloud.latency, world.cloud.jitter = latency, (1.0, 1.0)
    world.timeline.run(world.timeline.now + 30.0 + phase)
    began, asked, call = world.timeline.now, [], FakeConnection.call

    def noted(self, action, *arguments, **parameters):
        if action.operation == "ReplaceRoute":
            asked.append(world.timeline.now - began)
        return call(self, action, *arguments, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(FakeConnection, "call", noted)
        machines.die(world, "nat-1")
        world.timeline.run(began + 2 * LATENCY)
    world.end()
    return min(asked, default=float("inf")), world.hosts["nat-0"].config.heartbeat.silent_after


@pytest.mark.parametrize("latency", LATENCIES)
def test_an_early_takeover_leaves_after_the_silence_whatever_the_latency(latency, monkeypatch):
    for number in range(PHASES):
        asked, silent = asked_after(monkeypatch, latency, number * BEAT / PHASES)
        assert asked <= silent + BEAT + SHARE, f"phase {number}"


@pytest.mark.parametrize("cluster", sorted(EARLY_CLUSTERS))
def test_an_early_takeover_leaves_after_the_silence_in_each_cluster(cluster, monkeypatch):
    asked, silent = asked_after(monkeypatch, LATENCY, 0.0, **EARLY_CLUSTERS[cluster])
    assert asked <= silent + BEAT + SHARE
