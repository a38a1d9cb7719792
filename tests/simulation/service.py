# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of one node on virtual time: what ``service.py`` of the engine does, around the real policy.

Its loops have the engine's paces; only sockets, threads and EC2 are modelled. ``gatherer.py`` and ``hands.py`` stand beside it as in the engine.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from nat_failover.model.cluster import (
    ACTIVE,
    HEALTHY,
    SUSPECTED,
    UNMANAGED,
    WITNESS,
    Evidence,
    Heard,
    Memory,
    Plan,
    Report,
)
from nat_failover.model.liveness import Signs
from nat_failover.policy import decide as policy
from nat_failover.policy import pause
from nat_failover.policy import probe_plan as inquiry
from nat_failover.policy.verdict import LEAST_UNANSWERED

from .alarms import next_alarm
from .cloud import HARMLESS, interface
from .drain import Drain
from .gatherer import Gatherer
from .hands import Hands
from .network import Stamp
from .testimony import Testimony

if t.TYPE_CHECKING:
    from .host import Host

TICK = 0.1  # seconds: the engine's LONGEST_TICK
LONGEST_SLEEP = 0.25  # a longer gap would look like a freeze
PING_EVERY = 1.0
NO_STAMP = (0, float("-inf"))
EPOCH = 1_800_000_000.0  # time of day at the beginning of an incident


def nothing(_result: t.Any) -> None:
    """For calls whose end nobody waits for."""


class Service:
    """One process: begins with an empty mind, and ends with ``alive = False``."""

    def __init__(self, host: "Host", settled: bool) -> None:
        """``settled``: as if it had been up for long and all were well."""
        self.host, self.config, self.timeline, self.network = host, host.config, host.timeline, host.network
        self.cloud, self.rng = host.cloud, host.cloud.rng
        self.name = host.name
        self.peers = tuple(node.name for node in host.config.peers)
        self.alive = True
        self.born = self.timeline.now - (3600.0 if settled else 0.0)
        # What it announces; what EC2 has announced, if nothing else makes it drain.
        self.state, self.reluctant = (WITNESS if host.witness else ACTIVE), ""
        self.heard: t.Dict[str, Heard] = {name: Heard() for name in self.peers}
        self.signs = Signs(str(host.boots))
        self.heartbeats: t.Dict[str, float] = {}  # when each peer was heard last
        self.stamps: t.Dict[str, Stamp] = {}  # the newest packet accepted from each peer
        self.probed: t.Dict[str, float] = {}
        self.machines: t.Dict[str, str] = {}  # peer -> the instance that what was heard is of
        self.awaited: t.Set[str] = set()  # peers with a probe out that has not been answered
        self.memory = Memory(awake_since=self.timeline.now)
        self.plan = Plan()
        self.ticked: t.Optional[float] = None
        self.waking = False
        self.spans = host.spans
        self.alarm = 0.0  # until then decisions are the same if nothing new comes in
        self._next_tick = 0  # a later number replaces what was scheduled under an earlier one
        self._probing = False
        self.quiet = False  # nothing but the time could change the next decision, and the time only by a late heartbeat
        self._report: t.Tuple[t.Any, ...] = ()
        self.gatherer = Gatherer(self)
        self.hands = Hands(self)
        self.testimony = Testimony(self)
        self.drain = Drain(self)
        if settled:
            self._settle()
        self.gatherer.start(settled)
        self.testimony.start(settled)
        self.drain.start()
        for every, step in ((self.config.heartbeat.interval, self._beat), (PING_EVERY, self._ping)):
            self.loop(self.rng.uniform(0.0, every if settled else 0.1), step)
        self._tick_after(self.rng.uniform(0.0, TICK))

    def _settle(self) -> None:
        now, ages = self.timeline.now, self.rng.uniform(0.0, self.config.ec2.poll)
        said = {name: Report(ACTIVE, True) for name in self.peers}
        said.update({name: Report(WITNESS, False) for name in self.config.witnesses})
        self.heard = {name: Heard(now, now, said[name], "0") for name in self.peers}
        self.heartbeats = dict.fromkeys(self.peers, now)
        self.gatherer.settle(now - ages)
        self.memory = Memory(awake_since=now - 3600, last_tick=now, fit_since=now - 3600)
        self.memory, _plan = policy.decide(self.config, self.memory, self.evidence())
        peers = {name: replace(peer, seen_healthy=True) for name, peer in self.memory.peers.items()}
        self.memory = replace(self.memory, fit_since=now - 3600, peers=peers)

    # --- the event loop ----------------------------------------------------------------------------------------------------------

    def soon(self, seconds: float, do: t.Callable[[], t.Any]) -> None:
        """Dies with the process, and waits while it is frozen."""
        host = self.host

        def run() -> None:
            if not self.alive:
                return
            if host.frozen or host.paused:
                host.stalled.append(run)
                return
            do()

        self.timeline.after(seconds, run)

    def loop(self, seconds: float, step: t.Callable[[], float]) -> None:
        """Again and again; each step says in how many seconds the next one is due."""
        host, after = self.host, self.timeline.after

        def run() -> None:
            if not self.alive:
                return
            if host.frozen or host.paused:
                host.stalled.append(run)
                return
            after(step(), run)

        after(seconds, run)

    def call(
        self,
        action: str,
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], None] = nothing,
        failed: t.Callable[[str], None] = nothing,
        subject: str = "",
    ) -> None:
        """An EC2 call."""
        self.cloud.call(
            self.name,
            action,
            self.host.reaches_ec2,
            apply,
            lambda result: self.soon(0.0, lambda: done(result)),
            lambda code: self.soon(0.0, lambda: failed(code)),
            subject,
        )

    # --- radio -------------------------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """What it says about itself; the same object while nothing changed."""
        me, peers = self.gatherer.me, self.memory.peers
        known, said = self._report, (self.state, self.reluctant, self.signs.last)
        if known and known[0] is me and known[1] is peers and known[2] == said:
            return t.cast(Report, known[3])
        fact = me.fact or ("" if me.internet else "the internet is not reachable")
        views = {
            name: SUSPECTED if peer.suspected_at is not None and peer.verdict == HEALTHY else peer.verdict
            for name, peer in peers.items()
        }
        report = Report(self.state, not fact and self.state != WITNESS, fact or self.reluctant, views, self.signs.last)
        if known and known[3] == report:
            report = known[3]
        self._report = (me, peers, said, report)
        return report

    def _beat(self) -> float:
        if self.gatherer.judged:
            report = self.report()
            for name in self.peers:
                self.network.send(self.name, name, report)
        return self.config.heartbeat.interval

    def _ping(self) -> float:
        for name in self.peers:
            self._ask(name, probe=False)
        return PING_EVERY

    def _ask(self, name: str, probe: bool) -> None:
        """An ICMP echo, with a UDP probe beside it in a burst."""
        old = self.heard[name]
        self.heard[name] = Heard(old.heartbeat_at, old.icmp_at, old.report, old.boot_id, old.unanswered + 1 + probe)
        if old.unanswered < LEAST_UNANSWERED <= old.unanswered + 1 + probe:
            self.wake()
        if probe:
            self.awaited.add(name)
            self.network.probe(self.name, name, self.report() if self.gatherer.judged else None)
        self.network.echo(self.name, name)

    def take(self, sender: str, stamp: Stamp, report: t.Optional[Report], probe: bool) -> None:
        """A packet arrived; what is older than the newest one is refused like a replay."""
        if stamp <= self.stamps.get(sender, NO_STAMP):
            return
        self.stamps[sender] = stamp
        old = self.heard[sender]
        if report is not None:
            self.heartbeats[sender] = self.timeline.now
            self.heard[sender] = Heard(self.timeline.now, old.icmp_at, report, str(stamp[0]), 0)
            if sender in self.awaited or old.report is not report and old.report != report:
                self.wake()
        self.awaited.discard(sender)
        if probe and self.gatherer.judged:
            self.network.send(self.name, sender, self.report())

    def echoed(self, sender: str) -> None:
        """An ICMP echo came back."""
        old = self.heard[sender]
        self.heard[sender] = Heard(old.heartbeat_at, self.timeline.now, old.report, old.boot_id, 0)
        if sender in self.awaited:
            self.awaited.discard(sender)
            if self.memory.peers[sender].verdict != UNMANAGED:
                self.wake()

    # --- deciding ----------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """New evidence: decide at once, together with what else arrives in this moment."""
        if not self.waking:
            self.waking = True
            self.soon(0.0, self._woken)

    def _woken(self) -> None:
        self.waking = False
        self.decide()

    def _tick_after(self, seconds: float) -> None:
        self._next_tick += 1
        number = self._next_tick
        self.soon(seconds, lambda: self._tick() if number == self._next_tick else None)

    def _tick(self) -> None:
        """Decide, if a clock of the policy has run out or a heartbeat is late; otherwise the decision would be the one before."""
        now, late = self.timeline.now, self._late()
        if now < self.alarm and late > now:
            self.ticked = now
            self._sleep(late)
        else:
            self.decide()

    def _late(self) -> float:
        return inquiry.next_late(self.config, self.memory, self.heartbeats)[0]

    def _sleep(self, late: float) -> None:
        """Until something may be due, and a little longer: the engine's ticks are where they are."""
        if late < self.alarm:
            due = late + self.rng.uniform(0.0, 0.2 * TICK)
        else:
            due = self.alarm + self.rng.uniform(0.0, TICK)
        self._tick_after(min(max(due - self.timeline.now, 0.001), LONGEST_SLEEP))

    def evidence(self) -> Evidence:
        now, gatherer = self.timeline.now, self.gatherer
        me = gatherer.me
        if (me.state, me.notice) != (self.state, self.reluctant):
            me = replace(me, state=self.state, notice=self.reluctant)
        paused = pause.paused(gatherer.instances, EPOCH + now)
        return Evidence(
            now,
            me,
            self.heard,
            gatherer.routes,
            gatherer.instances,
            self.hands.busy(now),
            paused,
            homes=gatherer.homes,
            tables_at=gatherer.tables_at,
            witness=self.testimony.view,
        )

    def _follow_replacements(self) -> None:
        """What the predecessor of an instance said is not evidence of the new one."""
        for name in self.peers:
            view = self.gatherer.instances.get(name)
            if view is None:
                continue
            if self.machines.setdefault(name, view.instance_id) != view.instance_id:
                self.machines[name] = view.instance_id
                self.heard[name] = Heard()
                self.heartbeats.pop(name, None)

    def decide(self) -> None:
        self.drain.follow()
        self._follow_replacements()
        evidence, before = self.evidence(), self.memory
        if self.ticked is not None:
            before, self.ticked = replace(before, last_tick=self.ticked), None
        self.memory, self.plan = policy.decide(self.config, before, evidence)
        self._tell(before)
        self.host.decided(self.host, evidence, self.plan)
        if self.plan.probe and not self._probing:
            self._probe()
        self.gatherer.demand(self.plan.refresh, self.plan.watch)
        self.testimony.demand(self.plan.watch, self.plan.flare)
        self.hands.carry_out(self.plan)
        steady = self.memory.peers is before.peers and not self.plan.routes and not self.plan.fence
        self.quiet = steady and self._nothing_to_do(evidence)
        if self.quiet:
            self.alarm = float("inf")
        elif steady:
            self.alarm = min(
                next_alarm(self.spans, self.memory, self.heard, evidence.now), self.hands.patience(evidence.now)
            )
        else:
            self.alarm = evidence.now
        self._sleep(self._late())

    def _nothing_to_do(self, evidence: Evidence) -> bool:
        """All is well, and every claim at home: until something new comes in, each further decision would be the same."""
        plan, memory = self.plan, self.memory
        return (
            not (plan.routes or plan.fence or plan.probe or plan.withheld or plan.flare or plan.drift or evidence.busy)
            and plan.refresh is None
            and (not plan.forbidden or self.config.mode == "observe" or self.state == WITNESS)
            and len(evidence.routes) == len(self.gatherer.claims)
            and len(evidence.instances) == len(self.config.nodes)
            and not memory.flaps
            and self.state in (ACTIVE, WITNESS)
            and all(peer.verdict == HEALTHY and not peer.fence_stage for peer in memory.peers.values())
            and all(
                heard.report is not None and heard.report.state in (ACTIVE, WITNESS) for heard in self.heard.values()
            )
            and all(view.target == interface(claim.home) for claim, view in evidence.routes.items())
            and all(view.tags.keys() <= HARMLESS for view in evidence.instances.values())
        )

    def _tell(self, before: Memory) -> None:
        if self.memory.peers is before.peers:
            return
        for name, peer in self.memory.peers.items():
            old = before.peers.get(name)
            if old is not None and old.verdict != peer.verdict:
                self.timeline.tell("%s: %s is %s: %s" % (self.name, name, peer.verdict, peer.evidence))

    def _probe(self) -> None:
        """Probe the suspects, each at its pace, as long as there are any."""
        now, wanted = self.timeline.now, self.plan.probe
        self._probing = bool(wanted)
        if not self._probing:
            return
        for name, every in wanted.items():
            if now - self.probed.get(name, float("-inf")) >= every * 0.9:
                self.probed[name] = now
                self._ask(name, probe=True)
        self.soon(min(wanted.values()), self._probe)
