# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of machines and of what runs on them. Each tells what it does, and schedules its own end."""

from __future__ import annotations

import random

from .departures import switch_on
from .world import World


def one(rng: random.Random, world: World) -> str:
    """Any node."""
    return rng.choice(sorted(world.hosts))


def owners(world: World) -> list[str]:
    """The nodes that are no witness."""
    return sorted(name for name, host in world.hosts.items() if not host.witness)


def owner(rng: random.Random, world: World) -> str:
    """One of them."""
    return rng.choice(owners(world))


def crash(world: World, rng: random.Random, seconds: float) -> None:
    """Hard death of a machine: EC2 goes on to say ``running``."""
    die(world, one(rng, world))


def die(world: World, name: str) -> None:
    """The power of one machine is cut."""
    world.timeline.tell(f"FAULT: {name} dies")
    world.hosts[name].power("off")


def reboot(world: World, rng: random.Random, seconds: float) -> None:
    """An operator's reboot without a drain."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} reboots")
    world.hosts[name].power("off")
    world.timeline.later(rng.uniform(1, 6), lambda: switch_on(world, name) if not world.hosts[name].powered else None)


def freeze(world: World, rng: random.Random, seconds: float) -> None:
    """The hypervisor pauses a machine."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} freezes for {seconds:.1f} s")
    world.hosts[name].frozen = True
    world.timeline.later(seconds, world.hosts[name].thaw)


def pause_service(world: World, rng: random.Random, seconds: float) -> None:
    """SIGSTOP, or no CPU: the kernel goes on."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: the service of {name} hangs for {seconds:.1f} s")
    world.hosts[name].paused = True
    world.timeline.later(seconds, world.hosts[name].thaw)


def crash_service(world: World, rng: random.Random, seconds: float) -> None:
    """The process dies and systemd restarts it."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: the service of {name} crashes")
    world.hosts[name].crash_service()


def service_away(world: World, rng: random.Random, seconds: float) -> None:
    """A service dies and stays away (systemd gave up); the kernel goes on to NAT. Nobody may be stopped for that (L5)."""
    name = owner(rng, world)
    world.timeline.tell(f"FAULT: the service of {name} is gone for {seconds + 10.0:.1f} s")
    world.hosts[name].crash_service(seconds + 10.0)


def restarts(world: World, rng: random.Random, seconds: float) -> None:
    """A node dies; soon after, the service of another starts anew and knows nothing of its life (L6)."""
    dead = owner(rng, world)
    world.timeline.tell(f"FAULT: {dead} dies, and all other services crash")
    world.hosts[dead].power("off")
    for name in sorted(set(world.hosts) - {dead}):
        world.timeline.after(rng.uniform(0.0, 3.0), world.hosts[name].crash_service)


def nat_off(world: World, rng: random.Random, seconds: float) -> None:
    """Forwarding off, or the rules flushed."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} no longer forwards, for {seconds:.1f} s")
    host = world.hosts[name]
    host.set_nat(False)
    world.timeline.later(seconds, lambda: host.set_nat(True) if host.powered else None)


def uplink(world: World, rng: random.Random, seconds: float) -> None:
    """A node without any network."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} has no uplink for {seconds:.1f} s")
    world.hosts[name].uplink = False
    world.timeline.later(seconds, lambda: setattr(world.hosts[name], "uplink", True))


def twin_deaths(world: World, rng: random.Random, seconds: float) -> None:
    """Two machines die together, and EC2 takes its time to stop one: what the lock is for."""
    world.cloud.stop_takes = 15.0
    for name in rng.sample(owners(world), 2):
        world.timeline.tell(f"FAULT: {name} dies")
        world.hosts[name].power("off")


def ruin(world: World, rng: random.Random, seconds: float) -> None:
    """A machine dies and does not boot any more."""
    name = one(rng, world)
    world.timeline.tell(f"FAULT: {name} dies and will not boot")
    world.hosts[name].broken = True
    world.hosts[name].power("off")


def replaced(world: World, rng: random.Random, seconds: float) -> None:
    """An instance is terminated, and a new one takes its place some time later, as an autoscaling group does; not every one boots."""
    name = owner(rng, world)
    if world.cloud.state.instances[name] == "terminated":
        return
    boots = rng.random() < 0.6
    world.timeline.tell(
        "FAULT: {} is terminated{}".format(name, "" if boots else ", and its replacement will not boot")
    )
    world.hosts[name].broken, world.hosts[name].notice = not boots, ""
    world.cloud.terminate(name)
    world.timeline.after(rng.uniform(0.5, 6.0), lambda: world.cloud.launch(name))
