# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of one node on virtual time: what ``service.py`` of the engine does, around the real policy.

Its loops have the engine's paces; only sockets, threads and EC2 are modelled. ``collector.py`` and ``executor.py`` stand beside it as in the engine.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from nat_failover.model.cluster import ACTIVE, TAG_DRAINED, WITNESS
from nat_failover.model.evidence import HEALTHY, NO_SIGN, SUSPECTED, UNMANAGED, Evidence, Heard, Report
from nat_failover.model.liveness import LivenessCounter
from nat_failover.model.memory import Memory
from nat_failover.model.plan import Plan
from nat_failover.observe.sign_reader import SignReader
from nat_failover.policy import decide as policy
from nat_failover.policy import marks, pause, probe_plan, services
from nat_failover.policy.verdict import LEAST_UNANSWERED
from nat_failover.wire.seals import Seals

from .alarms import next_alarm
from .collector import EvidenceCollector
from .drain import Drain
from .executor import Executor
from .hosted import Hosted
from .network import Stamp
from .quiet import nothing_to_do
from .timeline import EPOCH
from .witness_reader import WitnessReader

if t.TYPE_CHECKING:
    from .host import Host

TICK = 0.1  # seconds: the engine's LONGEST_TICK
LONGEST_SLEEP = 0.25  # a longer gap would look like a freeze
PING_EVERY = 1.0
NO_STAMP = (0, float("-inf"))


class Service(Hosted):
    """One process: begins with an empty mind, and ends with ``alive = False``."""

    def __init__(self, host: Host, settled: bool) -> None:
        """``settled``: as if it had been up for long and all were well."""
        super().__init__(host)
        self.config, self.network, self.rng = host.config, host.network, host.cloud.rng
        self.peers = tuple(node.name for node in host.config.peers)
        self.born = self.timeline.now - (3600.0 if settled else 0.0)
        # Its announcement; the announcement of EC2, if nothing else makes it drain.
        self.state, self.reluctant = (WITNESS if host.witness else ACTIVE), ""
        self.heard: dict[str, Heard] = {name: Heard() for name in self.peers}
        self.seals = Seals((b"k" * 32,), self.config.cluster)
        wall_time = EPOCH + self.timeline.now + host.clock_error
        self.signs = LivenessCounter(str(host.boots), self.name, self.seals.sign, wall_time)
        self.sign_reader = SignReader(self.seals)
        self.heartbeats: dict[str, float] = {}  # when each peer was heard last
        self.stamps: dict[str, Stamp] = {}  # the newest packet accepted from each peer
        self.probed: dict[str, float] = {}
        self.machines: dict[str, str] = {}  # peer -> the instance that what was heard is of
        self.awaited: set[str] = set()  # peers with a probe out that has not been answered
        self.memory = Memory(awake_since=self.timeline.now)
        self.plan = Plan()
        self.ticked: float | None = None
        self.waking = False
        self.spans = host.spans
        self.alarm = 0.0  # until then decisions are the same if nothing new comes in
        self._next_tick = 0  # a later number replaces what was scheduled under an earlier one
        self._probing = False
        self.quiet = False  # nothing but the time could change the next decision, and the time only by a late heartbeat
        self._report: tuple[t.Any, ...] = ()
        self.collector = EvidenceCollector(self)
        self.executor = Executor(self)
        self.witness_reader = WitnessReader(self)
        self.drain = Drain(self)
        if settled:
            self._settle()
        self.collector.start(settled)
        self.witness_reader.start(settled)
        self.drain.start()
        for every, step in ((self.config.heartbeat.interval, self._beat), (PING_EVERY, self._ping)):
            self.loop(self.rng.uniform(0.0, every if settled else 0.1), step)
        self._tick_after(self.rng.uniform(0.0, TICK))

    def _settle(self) -> None:
        now, ages = self.timeline.now, self.rng.uniform(0.0, self.config.ec2.poll)
        said = {name: Report(ACTIVE, True, seals=True) for name in self.peers}
        said.update({name: Report(WITNESS, False, seals=True) for name in self.config.witnesses})
        self.heard = {name: Heard(now, now, said[name], "0") for name in self.peers}
        self.heartbeats = dict.fromkeys(self.peers, now)
        self.collector.settle(now - ages)
        self.memory = Memory(awake_since=now - 3600, last_tick=now, fit_since=now - 3600)
        self.memory, _plan = policy.decide(self.config, self.memory, self.evidence())
        peers = {name: replace(peer, seen_healthy=True) for name, peer in self.memory.peers.items()}
        self.memory = replace(self.memory, fit_since=now - 3600, peers=peers)

    # --- what operators do ------------------------------------------------------------------------------------------

    @property
    def drained_by_operator(self) -> bool:
        return bool(self.drain.operator)

    def order_drain(self) -> None:
        """`nat-failover drain`: the state at once, the tag behind it."""
        self._announce("operator")

    def order_resume(self) -> None:
        """`nat-failover resume`."""
        self._announce("")

    def _announce(self, why: str) -> None:
        self.drain.operator, self.drain.tagged_at = why, self.timeline.now + 1.0
        self.quiet = False
        self.wake()
        self.call(
            "CreateTags" if why else "DeleteTags",
            lambda: self.cloud.set_tag(self.name, self.name, TAG_DRAINED, why or None),
        )

    def leave(self, then: t.Callable[[], None]) -> None:
        """The machine shuts down: hand over, then end."""
        self.drain.leave(then)

    # --- radio -------------------------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """The report about this node. The same object while nothing changed."""
        me, peers = self.collector.me, self.memory.peers
        unwell = services.unwell(self.config, self.memory, self.timeline.now)
        known, said = self._report, (self.state, self.reluctant, self.signs.last, unwell)
        if known and known[0] is me and known[1] is peers and known[2] == said:
            return t.cast(Report, known[3])
        fact = me.fact or ("" if me.internet else "the internet is not reachable")
        views = {
            name: SUSPECTED if peer.suspected_at is not None and peer.verdict == HEALTHY else peer.verdict
            for name, peer in peers.items()
        }
        forwarding, signs = not fact and self.state != WITNESS, self.signs.last
        report = Report(self.state, forwarding, fact or self.reluctant, views, signs, True, unwell)
        if known and known[3] == report:
            report = known[3]
        self._report = (me, peers, said, report)
        return report

    def _beat(self) -> float:
        if self.collector.judged:
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
            self.network.probe(self.name, name, self.report() if self.collector.judged else None)
        self.network.echo(self.name, name)

    def take(self, sender: str, stamp: Stamp, report: Report | None, probe: bool) -> None:
        """A packet arrived; what is older than the newest one is refused like a replay."""
        if stamp <= self.stamps.get(sender, NO_STAMP):
            return
        self.stamps[sender] = stamp
        old = self.heard[sender]
        if report is not None:
            self.heartbeats[sender] = self.timeline.now
            self.heard[sender] = Heard(self.timeline.now, old.icmp_at, report, str(stamp[0]), 0)
            if sender in self.awaited or (old.report is not report and old.report != report):
                self.wake()
        self.awaited.discard(sender)
        if probe and self.collector.judged:
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
        """Decide, if a clock of the policy has run out, a heartbeat is late or this node has slept; otherwise the decision would be the one before."""
        now, late = self.timeline.now, self._late()
        before = self.memory.last_tick if self.ticked is None else self.ticked
        slept = before is not None and now - before > self.config.heartbeat.silent_after / 2
        if now < self.alarm and late > now and not slept:
            self.ticked = now
            self._sleep(late)
        else:
            self.decide()

    def _late(self) -> float:
        return probe_plan.next_late(self.config, self.memory, self.heartbeats)[0]

    def _sleep(self, late: float) -> None:
        """Until something may be due, and a little longer: the engine's ticks are where they are."""
        if late < self.alarm:
            due = late + self.rng.uniform(0.0, 0.2 * TICK)
        else:
            due = self.alarm + self.rng.uniform(0.0, TICK)
        self._tick_after(min(max(due - self.timeline.now, 0.001), LONGEST_SLEEP))

    def evidence(self) -> Evidence:
        now, collector = self.timeline.now, self.collector
        me = collector.me
        if (me.state, me.interruption) != (self.state, self.reluctant):
            me = replace(me, state=self.state, interruption=self.reluctant)
        paused = pause.paused(collector.instances, EPOCH + now)
        signs = self.sign_reader.read(collector.instances, self.witness_reader.view)
        self.signs.note(signs.flares.get(self.name, NO_SIGN))
        counting, void = {}, {}
        if signs.marks:
            age = now - self.born
            reading = marks.Reading(self.config, collector.instances, self.heard, EPOCH + now, age)
            counting, void = marks.judge(signs.marks, reading)
        return Evidence(
            now,
            me,
            self.heard,
            collector.routes,
            collector.instances,
            self.executor.busy(now),
            paused,
            ignored_pauses=pause.ignored(collector.instances, EPOCH + now),
            homes=collector.homes,
            tables_at=collector.tables_at,
            witness=self.witness_reader.view,
            flares=signs.flares,
            items=signs.items,
            marks=counting,
            void_marks=void,
            refused=self.executor.unfit.standing(now),
            addresses=collector.elastic_ips,
            awake_at=self.ticked,
        )

    def _follow_replacements(self) -> None:
        """The words of an instance's predecessor are no evidence of the new one."""
        for name in self.peers:
            view = self.collector.instances.get(name)
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
        self.ticked = None
        self.memory, self.plan = policy.decide(self.config, before, evidence)
        self._tell(before)
        self.host.decided(self.host, evidence, self.plan)
        if self.plan.probe and not self._probing:
            self._probe()
        self.collector.demand(self.plan.refresh, self.plan.watch)
        self.witness_reader.demand(self.plan.watch, self.plan.flare)
        self.executor.carry_out(self.plan)
        steady = self.memory.peers is before.peers and not (self.plan.routes or self.plan.addresses or self.plan.fence)
        self.quiet = steady and nothing_to_do(
            self.config, self.memory, self.plan, evidence, self.state, self.collector.claims
        )
        if self.quiet:
            self.alarm = float("inf")
        elif steady:
            self.alarm = min(
                next_alarm(self.spans, self.memory, self.heard, evidence.now), self.executor.patience(evidence.now)
            )
        else:
            self.alarm = evidence.now
        self._sleep(self._late())

    def _tell(self, before: Memory) -> None:
        if self.memory.peers is before.peers:
            return
        for name, peer in self.memory.peers.items():
            old = before.peers.get(name)
            if old is not None and old.verdict != peer.verdict:
                self.timeline.tell(f"{self.name}: {name} is {peer.verdict}: {peer.evidence}")

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
