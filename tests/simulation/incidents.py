# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents: a few faults at random moments, an end of all faults, and what must be true afterwards."""

from __future__ import annotations

import random
import typing as t

from nat_failover import pause
from nat_failover.model import TAG_DRAINED, TAG_MAINTENANCE, TAG_PAUSE

from .cloud import STOP
from .departures import DEPARTURES, switch_on
from .faults import ELSEWHERE, FURTHER, replaced
from .laws import TAGGED, Violation
from .service import EPOCH
from .tables import CHANGES
from .world import WITNESS, Traits, World

Fault = t.Callable[[World, random.Random, float], None]
LONGEST = 14.0  # seconds that the faults last together
SETTLE = 16.0  # from the end of the faults until every claim must be with a node that forwards
REPAIR = (0.0, 30.0)  # so much later the operator starts what is still off, undoes edits and resumes
DARK = 0.03  # of all incidents: the one in which flares cannot help, and which therefore lasts longer
AGAIN = 0.03  # of all incidents: those in which a node dies twice
PAUSED = 0.02  # of all incidents: those in which a node dies while all know that an operator has paused the cluster
REPLACED = 0.05  # of all incidents: those in which, besides, an instance is terminated and another one takes its place
TAGS = 0.06  # of all incidents: those in which route tables are found by their tags, and mostly change
RESHAPED = 0.02  # of all incidents: those in which route tables come and go besides
DEPARTING = 0.1  # of all incidents: those in which, besides, a node knows that it is about to go
END = 60.0  # from there until all must be at home
TWINS = 0.1  # of all incidents with witnesses: two of four nodes die together
DARKER = 0.1  # of them: as with DARK
WITNESSED = 10**9  # seeds from here on are of incidents with a witness table or a node that only watches


def one(rng: random.Random, world: World) -> str:
    """Any node."""
    return rng.choice(sorted(world.hosts))


def pair(rng: random.Random, world: World) -> t.Tuple[str, str]:
    """Two different nodes."""
    first, second = rng.sample(sorted(world.hosts), 2)
    return first, second


# --- faults: each tells what it does, and schedules its own end ------------------------------------------------------------------


def crash(world: World, rng: random.Random, seconds: float) -> None:
    """Hard death of a machine: EC2 goes on to say ``running``."""
    die(world, one(rng, world))


def die(world: World, name: str) -> None:
    """The power of one machine is cut."""
    world.timeline.tell("FAULT: %s dies" % name)
    world.hosts[name].power("off")


def reboot(world: World, rng: random.Random, seconds: float) -> None:
    """An operator's reboot without a drain."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s reboots" % name)
    world.hosts[name].power("off")
    world.timeline.later(rng.uniform(1, 6), lambda: switch_on(world, name) if not world.hosts[name].powered else None)


def freeze(world: World, rng: random.Random, seconds: float) -> None:
    """The hypervisor pauses a machine."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s freezes for %.1f s" % (name, seconds))
    world.hosts[name].frozen = True
    world.timeline.later(seconds, world.hosts[name].thaw)


def pause_service(world: World, rng: random.Random, seconds: float) -> None:
    """SIGSTOP, or no CPU: the kernel goes on."""
    name = one(rng, world)
    world.timeline.tell("FAULT: the service of %s hangs for %.1f s" % (name, seconds))
    world.hosts[name].paused = True
    world.timeline.later(seconds, world.hosts[name].thaw)


def crash_service(world: World, rng: random.Random, seconds: float) -> None:
    """The process dies and systemd restarts it."""
    name = one(rng, world)
    world.timeline.tell("FAULT: the service of %s crashes" % name)
    world.hosts[name].crash_service()


def nat_off(world: World, rng: random.Random, seconds: float) -> None:
    """Forwarding off, or the rules flushed."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s no longer forwards, for %.1f s" % (name, seconds))
    host = world.hosts[name]
    host.set_nat(False)
    world.timeline.later(seconds, lambda: host.set_nat(True) if host.powered else None)


def uplink(world: World, rng: random.Random, seconds: float) -> None:
    """A node without any network."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s has no uplink for %.1f s" % (name, seconds))
    world.hosts[name].uplink = False
    world.timeline.later(seconds, lambda: setattr(world.hosts[name], "uplink", True))


def partition(world: World, rng: random.Random, seconds: float) -> None:
    """Two nodes no longer reach each other; both reach everything else."""
    first, second = pair(rng, world)
    world.timeline.tell("FAULT: %s and %s are cut off from each other for %.1f s" % (first, second, seconds))
    cuts = {(first, second), (second, first)}
    world.network.cut |= cuts
    world.timeline.later(seconds, lambda: world.network.cut.difference_update(cuts))


def one_way(world: World, rng: random.Random, seconds: float) -> None:
    """Packets pass in one direction only."""
    cut = pair(rng, world)
    world.timeline.tell("FAULT: nothing passes from %s to %s for %.1f s" % (*cut, seconds))
    world.network.cut.add(cut)
    world.timeline.later(seconds, lambda: world.network.cut.discard(cut))


def isolate(world: World, rng: random.Random, seconds: float) -> None:
    """One node reaches none of the others, but the internet and EC2."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s is cut off from all others for %.1f s" % (name, seconds))
    cuts = {pair for other in world.hosts if other != name for pair in ((name, other), (other, name))}
    world.network.cut |= cuts
    world.timeline.later(seconds, lambda: world.network.cut.difference_update(cuts))


def dark_partition(world: World, rng: random.Random, seconds: float) -> None:
    """A partition in which no node may write its own flare, but may stop others: the worst case, in which only the tie-break helps."""
    partition(world, rng, seconds + 20)
    world.cloud.latency = rng.choice((0.02, 0.5))
    world.timeline.tell("FAULT: no node may write its own flare; EC2 takes %d ms" % (world.cloud.latency * 1000))
    world.cloud.denied |= {(name, "Flare") for name in world.hosts}


def twin_deaths(world: World, rng: random.Random, seconds: float) -> None:
    """Two machines die together, and EC2 takes its time to stop one: what the lock is for."""
    world.cloud.stop_takes = 15.0
    for name in rng.sample(sorted(set(world.hosts) - {WITNESS}), 2):
        world.timeline.tell("FAULT: %s dies" % name)
        world.hosts[name].power("off")


def no_icmp(world: World, rng: random.Random, seconds: float) -> None:
    """A security group without ICMP."""
    world.timeline.tell("FAULT: no ICMP for %.1f s" % seconds)
    world.network.no_icmp = True
    world.timeline.later(seconds, lambda: setattr(world.network, "no_icmp", False))


def loss(world: World, rng: random.Random, seconds: float) -> None:
    """Random loss between all nodes."""
    world.network.loss = rng.choice((0.05, 0.2, 0.4))
    world.timeline.tell("FAULT: %d %% of packets are lost for %.1f s" % (world.network.loss * 100, seconds))
    world.timeline.later(seconds, lambda: setattr(world.network, "loss", 0.0))


def api(world: World, rng: random.Random, seconds: float) -> None:
    """EC2 is down, slow, throttled, stale, or answers get lost."""
    name, value, normal = rng.choice(
        (
            ("up", False, True),
            ("latency", 0.6, 0.02),
            ("throttled", 0.6, 0.0),
            ("stale", 2.5, 0.0),
            ("lost_answers", 0.5, 0.0),
        )
    )
    world.timeline.tell("FAULT: EC2 %s=%s for %.1f s" % (name, value, seconds))
    setattr(world.cloud, name, value)
    world.timeline.later(seconds, lambda: setattr(world.cloud, name, normal))


def dynamodb(world: World, rng: random.Random, seconds: float) -> None:
    """DynamoDB is down, slow, throttled, answers get lost, or a node may not use the table."""
    name, value, normal = rng.choice(
        (
            ("up", False, True),
            ("latency", 0.6, 0.02),
            ("throttled", 0.6, 0.0),
            ("lost_answers", 0.5, 0.0),
            ("denied", 1, 0),
        )
    )
    if name == "denied":
        who = one(rng, world)
        world.timeline.tell("FAULT: %s may not use the witness table" % who)
        world.table.denied |= {(who, action) for action in ("Query", "PutItem", "DeleteItem")}
        return
    world.timeline.tell("FAULT: DynamoDB %s=%s for %.1f s" % (name, value, seconds))
    setattr(world.table, name, value)
    world.timeline.later(seconds, lambda: setattr(world.table, name, normal))


def denied(world: World, rng: random.Random, seconds: float) -> None:
    """A node's role lacks a permission until the end of the faults."""
    what = (one(rng, world), rng.choice(("CreateTags", "Flare", "ReplaceRoute", "StopInstances", "Describe")))
    world.timeline.tell("FAULT: %s may not %s" % what)
    world.cloud.denied.add(what)


def drain(world: World, rng: random.Random, seconds: float) -> None:
    """An operator drains a node, and resumes it some time later."""
    name = one(rng, world)
    world.timeline.tell("OPERATOR: drains %s for %.1f s" % (name, seconds))
    world.hosts[name].drain()
    world.timeline.later(seconds, world.hosts[name].resume)


def maintenance(world: World, rng: random.Random, seconds: float) -> None:
    """An operator tags a node."""
    name = one(rng, world)
    world.timeline.tell("OPERATOR: tags %s for maintenance for %.1f s" % (name, seconds))
    world.cloud.set_tag("operator", name, TAG_MAINTENANCE, "x")
    world.timeline.later(seconds, lambda: world.cloud.set_tag("operator", name, TAG_MAINTENANCE, None))


def pausing(world: World, rng: random.Random, seconds: float) -> None:
    """An operator pauses the whole cluster, which ends by itself."""
    until = world.timeline.now + seconds
    world.timeline.tell("OPERATOR: pauses the cluster for %.1f s" % seconds)
    world.laws.paused_at = None  # a second one takes as long to be known as the first
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
    world.timeline.tell("OPERATOR: drains %s and switches it off" % name)
    world.hosts[name].drain()
    world.timeline.later(5.0, lambda: world.hosts[name].power("off"))


def ruin(world: World, rng: random.Random, seconds: float) -> None:
    """A machine dies and does not boot any more."""
    name = one(rng, world)
    world.timeline.tell("FAULT: %s dies and will not boot" % name)
    world.hosts[name].broken = True
    world.hosts[name].power("off")


def edit(world: World, rng: random.Random, seconds: float) -> None:
    """An operator points a route at a peer, at something else, or deletes it."""
    claim = rng.choice(sorted(world.cloud.state.routes))
    target = rng.choice(sorted(set(world.hosts) - {WITNESS}))
    world.cloud.edit(claim, rng.choice((ELSEWHERE, None, "eni-" + target)))


FAULTS: t.Tuple[Fault, ...] = (
    crash, crash, reboot, freeze, freeze, pause_service, crash_service, nat_off, uplink, uplink, partition, one_way, isolate, isolate, loss, no_icmp,
    api, api, denied, drain, pausing, maintenance, planned_work, ruin, edit,
    *FURTHER,
)  # fmt: skip


# --- one incident ----------------------------------------------------------------------------------------------------------------


def _trouble_with_the_table(world: World, rng: random.Random, twins: bool) -> None:
    world.cloud.stop_takes = rng.choice((STOP, STOP, 15.0))
    if twins:
        world.timeline.later(rng.uniform(0.3, 2.0), lambda: twin_deaths(world, rng, LONGEST))
    elif rng.random() < 0.5:
        at, seconds = rng.uniform(0.3, LONGEST * 0.7), rng.uniform(1.0, LONGEST)
        world.timeline.later(at, lambda: dynamodb(world, rng, seconds))


def play(seed: int) -> World:
    """Run one incident; raises ``Violation`` with its story."""
    rng = random.Random("incident %d" % seed)
    nodes, kind = _size(rng), _kind(rng)
    tables, traits = _tables(rng, nodes), _traits(rng, kind)
    extra = random.Random("witness %d" % seed)  # on its own, so that other incidents stay as they are
    twins = seed >= WITNESSED and extra.random() < TWINS
    if seed >= WITNESSED:
        nodes = 4 if twins else nodes
        table = twins or extra.random() < 0.7
        kind = "dark" if not twins and extra.random() < DARKER else kind
        traits = traits._replace(
            mode="full",
            fence="stop_start",
            return_after=12 if kind == "dark" else traits.return_after,
            witness=not table or extra.random() < 0.3,
            table=table,
        )
    shaper = random.Random("tables %d" % seed)
    traits = traits._replace(tagged=shaper.random() < TAGS)
    world = World(seed, nodes, tables, traits)
    world.timeline.tell(
        "seed %d: %d nodes, %d claims, mode %s, fence %s"
        % (seed, nodes, len(world.cloud.state.routes), traits.mode, traits.fence)
    )
    if traits.table:
        _trouble_with_the_table(world, extra, twins)
    for _number in range(rng.choice((1, 1, 2, 2, 3))):
        fault, at = rng.choice(FAULTS), rng.uniform(0.3, LONGEST * 0.7)
        seconds = rng.choice((rng.uniform(0.1, 2.0), rng.uniform(1.0, LONGEST - at)))
        world.timeline.later(at, lambda fault=fault, seconds=seconds: fault(world, rng, seconds))  # type: ignore[misc]
    other = random.Random("replacement %d" % seed)  # apart, so that it leaves the rest of an incident as it is
    if other.random() < REPLACED:
        world.timeline.later(other.uniform(0.3, LONGEST * 0.7), lambda: replaced(world, other, 0.0))
    if shaper.random() < 0.8 and traits.tagged or shaper.random() < RESHAPED:
        change = shaper.choice(CHANGES)
        world.timeline.later(shaper.uniform(0.3, LONGEST * 0.7), lambda: change(world, shaper, 0.0))
    goer = random.Random("departure %d" % seed)
    if goer.random() < DEPARTING:
        departs, lasting = goer.choice(DEPARTURES), goer.uniform(0.1, LONGEST / 2)
        world.timeline.later(goer.uniform(0.3, LONGEST * 0.7), lambda: departs(world, goer, lasting))
    end = LONGEST
    if kind == "dark":
        end = 2 * LONGEST
        world.timeline.later(1.0, lambda: dark_partition(world, rng, LONGEST))
    elif kind == "paused":
        # Not by `later`: the time until everybody knows of the pause must pass, although nothing goes on meanwhile.
        world.timeline.after(1.0, lambda: pausing(world, rng, TAGGED + 5))
        world.timeline.after(TAGGED + 2.5, lambda: crash(world, rng, 0.0))
    elif kind == "again":
        end = 3 * LONGEST
        name = one(rng, world)
        for at in (1.0, 2 * LONGEST):
            world.timeline.later(at, lambda: die(world, name))
    try:
        _run(world, end)
    except Violation as violation:
        raise Violation("%s\n%s" % (violation, story(world))) from None
    return world


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
    for name, host in world.hosts.items():
        host.broken, host.notice = False, ""
        if name in world.cloud.interrupted:
            world.cloud.start("operator", name)
        if not host.powered:
            world.timeline.tell("OPERATOR: starts %s" % name)
            switch_on(world, name)
    world.until_calm(5.0)  # an operator resumes a node that is up
    restore(world)
    if not world.until_calm(END):
        world.laws.home()


def _all_faults_end(world: World) -> None:
    world.heal()
    restore(world)


def restore(world: World) -> None:
    """The operator undoes what the operator did."""
    for claim, target in world.cloud.state.routes.items():
        if target == ELSEWHERE or world.traits.mode == "observe" and target != "eni-" + claim.home:
            world.cloud.edit(claim, "eni-" + claim.home)
    for name in sorted(set(world.hosts) - world.planned):
        for tag in (TAG_MAINTENANCE, TAG_DRAINED, TAG_PAUSE):
            if tag in world.cloud.state.tags[name]:
                world.cloud.set_tag("operator", name, tag, None)
        world.laws.pauses.pop(name, None)
        world.hosts[name].resume()


def story(world: World) -> str:
    """What happened, line by line."""
    return "\n".join("%8.3f  %s" % line for line in world.timeline.story)
