# SPDX-License-Identifier: GPL-3.0-or-later
"""One NAT node on virtual time: what the service's shell does (gather, decide, carry out), around the real policy.

The loops have the paces of ``service.py``, ``gather.py`` and ``hands.py``; only sockets, threads and EC2 are modelled.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from nat_failover import inquiry, pause, policy
from nat_failover.config import Config
from nat_failover.hands import BACKOFF_FIRST, BACKOFF_MOST
from nat_failover.model import (
    ACTIVE,
    DRAINED,
    DRAINING,
    ROUTE_ACTIVE,
    SUSPECTED,
    TAG_DRAINED,
    TAG_FENCE,
    TAG_FLARE,
    Claim,
    Evidence,
    FenceStep,
    Heard,
    InstanceView,
    Memory,
    Plan,
    Report,
    RouteView,
    SelfCheck,
    SetRoute,
)

from .cloud import Cloud, interface
from .network import Network
from .timeline import Timeline

TICK = 0.25  # seconds; the service's is 0.05, but what matters wakes the decision anyway
FACTS_EVERY, PING_EVERY, CHECK_EVERY = 1.0, 1.0, 2.0
EPOCH = 1_800_000_000.0  # time of day at the beginning of an incident
BOOT_SERVICE = 0.5  # seconds from power-on to the service's first heartbeat

Key = t.Tuple[str, ...]


class Host:
    """A node's truth (``powered, frozen, serving, nat, uplink``) and its service's beliefs (``memory, heard, me, routes, instances``)."""

    def __init__(self, config: Config, timeline: Timeline, network: Network, cloud: Cloud) -> None:
        self.config, self.timeline, self.network, self.cloud = config, timeline, network, cloud
        self.name = config.self_name
        self.peers = tuple(node.name for node in config.peers)
        self.powered = self.serving = self.nat = self.uplink = True
        self.frozen = self.paused = False  # the whole machine; only the service
        self.broken = False  # the machine does not boot any more
        self.nat_off_at = float("inf")
        self.epoch = 0
        self.stalled: t.List[t.Callable[[], None]] = []
        self.decided: t.Callable[["Host", Evidence, Plan], None] = lambda host, evidence, plan: None

    # --- truth -------------------------------------------------------------------------------------------------------------------

    @property
    def forwards(self) -> bool:
        """Do a client's packets really get out here?"""
        return self.powered and not self.frozen and self.nat and self.uplink

    @property
    def running(self) -> bool:
        return self.powered and self.serving and not self.frozen and not self.paused

    def reaches_ec2(self) -> bool:
        return self.powered and self.uplink and not self.frozen

    def power(self, word: str) -> None:
        """Power cut or boot; a boot brings NAT back (the rules unit) and the service (systemd)."""
        self.epoch += 1
        self.stalled = []
        self.frozen = self.paused = False
        self.powered = word == "on" and not self.broken
        if self.powered:
            self.set_nat(True)
            self.serving = False
            epoch = self.epoch
            self.timeline.after(BOOT_SERVICE, lambda: self.start_service() if epoch == self.epoch else None)

    def set_nat(self, on: bool) -> None:
        """Forwarding or its rules are switched."""
        self.nat = on
        self.nat_off_at = float("inf") if on else self.timeline.now

    def crash_service(self) -> None:
        """The process dies; systemd starts it again."""
        if not (self.powered and self.serving):
            return
        self.epoch += 1
        self.serving = False
        epoch = self.epoch
        self.timeline.after(1.0, lambda: self.start_service() if epoch == self.epoch else None)

    def thaw(self) -> None:
        """End of a freeze: what was due meanwhile happens now, late."""
        self.frozen = self.paused = False
        stalled, self.stalled = self.stalled, []
        for do in stalled:
            self.timeline.after(0.0, do)

    # --- the service -------------------------------------------------------------------------------------------------------------

    def start_service(self, settled: bool = False) -> None:
        """Begin with an empty mind; ``settled``: as if it had been up for long and all were well."""
        now = self.timeline.now
        self.epoch += 1
        self.serving = True
        self.state = ACTIVE
        self.heard: t.Dict[str, Heard] = {name: Heard(boot_id=str(self.epoch)) for name in self.peers}
        self.me = SelfCheck()
        self.routes: t.Dict[Claim, RouteView] = {}
        self.instances: t.Dict[str, InstanceView] = {}
        self.memory = Memory(awake_since=now)
        self.plan = Plan()
        self.in_flight: t.Set[Key] = set()
        self.not_before: t.Dict[Key, float] = {}
        self.failures: t.Dict[Key, int] = {}
        self.state_set_at = float("-inf")
        self.reading = 0
        self.watching = float("inf")
        self.checking = self.flaring = self.ticking = False
        self.checks_failed = 0
        self.flares = 0
        self.read_began = float("-inf")
        self.probed: t.Dict[str, float] = {}
        if settled:
            self._settle(now)
        for loop in (self._facts, self._check, self._beat, self._ping, self._read_loop, self._tick):
            self._soon(self.cloud.rng.uniform(0.0, 0.1), loop)

    def _settle(self, now: float) -> None:
        report = Report(ACTIVE, True)
        self.heard = {name: Heard(now, now, report, "0") for name in self.peers}
        self.me = SelfCheck(True, "", now, True, now, True)
        self.routes, self.instances = self.cloud.read(self.config.claims, now)
        self.memory = Memory(awake_since=now - 3600, last_tick=now, fit_since=now - 3600)
        self.memory, _plan = policy.decide(
            self.config, self.memory, Evidence(now, self.me, self.heard, self.routes, self.instances)
        )
        self.memory = replace(self.memory, fit_since=now - 3600)

    def _soon(self, seconds: float, do: t.Callable[[], None]) -> None:
        """Like the event loop: dies with the process, and waits while it is frozen."""
        epoch = self.epoch

        def run() -> None:
            if epoch != self.epoch or not self.powered:
                return
            if self.frozen or self.paused:
                self.stalled.append(run)
                return
            do()

        self.timeline.after(seconds, run)

    # --- radio -------------------------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        fact = self.me.fact or ("" if self.me.internet else "the internet is not reachable")
        views = {
            name: SUSPECTED if peer.suspected_at is not None and peer.verdict == "healthy" else peer.verdict
            for name, peer in self.memory.peers.items()
        }
        return Report(self.state, not fact, fact, views)

    @property
    def judged(self) -> bool:
        """Has it looked at itself since its start?"""
        return self.me.fact != "not checked yet" and (self.me.internet or self.checks_failed >= 3)

    def _beat(self) -> None:
        if self.judged:
            report = self.report()
            for name in self.peers:
                self.network.send(self, name, report)
        self._soon(self.config.heartbeat.interval, self._beat)

    def _ping(self) -> None:
        for name in self.peers:
            self._ask(name, probe=False)
        self._soon(PING_EVERY, self._ping)

    def _ask(self, name: str, probe: bool) -> None:
        """An ICMP echo, with a UDP probe beside it in a burst; answers come back at once or never."""
        self.heard[name] = replace(self.heard[name], unanswered=self.heard[name].unanswered + 1 + probe)
        if probe:
            self.network.probe(self, name, self.report() if self.judged else None)
        if self.network.echo(self.name, name):
            self.heard[name] = replace(self.heard[name], icmp_at=self.timeline.now, unanswered=0)

    def hear(self, sender: str, report: Report) -> None:
        """A heartbeat or an answer arrived; a paused process finds the last one in its socket later."""
        if not self.running:
            if self.powered and self.serving and not self.frozen:
                self.stalled.append(lambda: self.hear(sender, report))
            return
        old = self.heard[sender]
        self.heard[sender] = Heard(self.timeline.now, old.icmp_at, report, old.boot_id, 0)
        if old.unanswered or old.report is None or old.report != report:
            self._wake()

    # --- gathering ---------------------------------------------------------------------------------------------------------------

    def _facts(self) -> None:
        fact = "" if self.nat else "ip_forward=0"
        if fact != self.me.fact:
            self.me = replace(self.me, forwarding=not fact, fact=fact)
            self._wake()
        self._soon(FACTS_EVERY, self._facts)

    def _check(self) -> None:
        """The internet check: an answer at once, or none after the timeout; three misses in a row count."""
        self.checking = True
        began = self.timeline.now
        ok = self.uplink and self.powered

        def ended() -> None:
            self.checking = False
            self.checks_failed = 0 if ok else self.checks_failed + 1
            if ok or self.checks_failed >= 3:
                self.me = replace(self.me, internet=ok, internet_at=began if ok else self.me.internet_at)
                self._wake()
            self._soon(CHECK_EVERY if ok else 0.2, lambda: None if self.checking else self._check())

        self._soon(0.01 if ok else self.config.self_check.timeout, ended)

    def _read_loop(self) -> None:
        self._read()
        self._soon(self.plan.watch or self.config.ec2.poll, self._read_loop)

    def _read(self, then: t.Callable[[], None] = lambda: None) -> None:
        if self.reading >= 4:
            then()
            return
        self.reading += 1
        began = self.read_began = self.timeline.now

        def done(found: t.Any) -> None:
            self.reading -= 1
            routes, instances = found
            self._merge(routes, instances)
            then()
            self._ec2(True, began)

        def failed(code: str) -> None:
            self.reading -= 1
            then()
            self._ec2(False, began)

        self._call("Describe", lambda: self.cloud.read(self.config.claims, began), done, failed)

    def _merge(self, routes: t.Mapping[Claim, RouteView], instances: t.Mapping[str, InstanceView]) -> None:
        self.routes.update(
            {c: v for c, v in routes.items() if c not in self.routes or v.read_at >= self.routes[c].read_at}
        )
        self.instances.update(
            {n: v for n, v in instances.items() if n not in self.instances or v.read_at >= self.instances[n].read_at}
        )

    def _ec2(self, ok: bool, began: float) -> None:
        if ok:
            self.me = replace(self.me, ec2=True, ec2_at=max(began, self.me.ec2_at or began))
        elif self.me.ec2_at is None or began >= self.me.ec2_at:
            self.me = replace(self.me, ec2=False)
        self._wake()

    def _call(
        self,
        action: str,
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], None],
        failed: t.Callable[[str], None],
    ) -> None:
        self.cloud.call(
            self.name,
            action,
            self.reaches_ec2,
            apply,
            lambda result: self._soon(0.0, lambda: done(result)),
            lambda code: self._soon(0.0, lambda: failed(code)),
        )

    # --- deciding ----------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.decide()
        self._soon(min((TICK, *self.plan.probe.values())), self._tick)

    def _wake(self) -> None:
        if not self.ticking:
            self.ticking = True
            self._soon(0.0, self._woken)

    def _woken(self) -> None:
        self.ticking = False
        self.decide()

    def decide(self) -> None:
        now = self.timeline.now
        self._follow_own_tag()
        busy = frozenset(self.in_flight | {key for key, at in self.not_before.items() if at > now})
        me = replace(self.me, state=self.state) if self.me.state != self.state else self.me
        paused = pause.paused(self.instances, EPOCH + now)
        evidence = Evidence(now, me, self.heard, self.routes, self.instances, busy, paused)
        before = self.memory
        self.memory, self.plan = policy.decide(self.config, before, evidence)
        self._tell(before)
        self.decided(self, evidence, self.plan)
        self._follow(now)
        for action in self.plan.routes:
            self._set_route(action)
        for step in self.plan.fence:
            self._fence(step)
        if self.state == DRAINING and not any(view.target == interface(self.name) for view in self.routes.values()):
            self.state = DRAINED

    def _tell(self, before: Memory) -> None:
        for name, peer in self.memory.peers.items():
            old = before.peers.get(name)
            if old is not None and old.verdict != peer.verdict:
                self.timeline.tell("%s: %s is %s: %s" % (self.name, name, peer.verdict, peer.evidence))

    def _follow(self, now: float) -> None:
        plan = self.plan
        for name, every in plan.probe.items():
            if now - self.probed.get(name, float("-inf")) >= every * 0.9:
                self.probed[name] = now
                self._ask(name, probe=True)
        if plan.watch is not None and plan.watch < self.watching:
            self._read()
        self.watching = plan.watch or float("inf")
        if plan.refresh is not None:
            if self.read_began < plan.refresh:
                self._read()
            if not self.checking and (self.me.internet_at is None or self.me.internet_at < plan.refresh):
                self._check()
        if plan.flare and not self.flaring:
            self._flare()

    def _flare(self) -> None:
        self.flaring = self.plan.flare
        if not self.flaring:
            return
        self.flares += 1
        value = "%d:%d" % (self.epoch, self.flares)
        self._call(
            "Flare",
            lambda: self.cloud.set_tag(self.name, self.name, TAG_FLARE, value),
            lambda result: None,
            lambda code: None,
        )
        self._soon(inquiry.FLARE_INTERVAL, self._flare)

    def _follow_own_tag(self) -> None:
        view = self.instances.get(self.name)
        if view is None or view.read_at <= self.state_set_at:
            return
        tagged = TAG_DRAINED in view.tags
        if tagged and self.state == ACTIVE:
            self.state = DRAINING
        elif not tagged and self.state in (DRAINING, DRAINED):
            self.state = ACTIVE

    # --- acting ------------------------------------------------------------------------------------------------------------------

    def _act(self, key: Key, action: str, apply: t.Callable[[], t.Any], done: t.Callable[[t.Any], bool]) -> None:
        """One write with the hands' bookkeeping: in flight, then done or backing off."""
        self.in_flight.add(key)
        began = self.timeline.now

        def ended(ok: bool) -> None:
            self.in_flight.discard(key)
            self.failures[key] = 0 if ok else self.failures.get(key, 0) + 1
            ceiling = min(BACKOFF_FIRST * 2 ** min(self.failures[key], 10), BACKOFF_MOST)
            self.not_before[key] = self.timeline.now + (0.0 if ok else ceiling * self.cloud.rng.uniform(0.5, 1.0))
            self._wake()

        def answered(result: t.Any) -> None:
            self._ec2(True, began)
            if key[0] == "fence":
                self._read(lambda: ended(done(result)))  # the next step must rest on a newer reading
            else:
                ended(done(result))

        def failed(code: str) -> None:
            self.timeline.tell("%s: %s failed: %s" % (self.name, " ".join(key), code))
            ended(False)

        self._call(action, apply, answered, failed)

    def _set_route(self, action: SetRoute) -> None:
        self.timeline.tell("%s: %s" % (self.name, action.reason))

        def done(view: RouteView) -> bool:
            self._merge({action.claim: view}, {})
            return view.target == action.interface_id and view.state == ROUTE_ACTIVE

        def apply() -> RouteView:
            return self.cloud.set_route(self.name, action.claim, action.interface_id)

        self._act(action.key, "ReplaceRoute", apply, done)

    def _fence(self, step: FenceStep) -> None:
        self.timeline.tell("%s: %s" % (self.name, step.reason))
        cloud, me, peer = self.cloud, self.name, step.peer

        def mark(stage: t.Optional[str]) -> t.Callable[[], None]:
            return lambda: cloud.set_tag(me, peer, TAG_FENCE, "%s:%s" % (me, stage) if stage else None)

        def started() -> None:
            cloud.start(me, peer)
            mark("started")()

        action, apply = {
            "mark": ("CreateTags", mark("stop")),
            "unmark": ("DeleteTags", mark(None)),
            "stop": ("StopInstances", lambda: cloud.stop(me, peer)),
            "force_stop": ("StopInstances", lambda: cloud.stop(me, peer)),
            "start": ("StartInstances", started),
        }[step.step]

        self._act(step.key, action, apply, lambda result: True)

    # --- what operators do ---------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """`nat-failover drain`: the state at once, the tag behind it."""
        if self.running and self.state == ACTIVE:
            self.state, self.state_set_at = DRAINING, self.timeline.now + 1.0
            self._tag_self("operator")

    def resume(self) -> None:
        """`nat-failover resume`."""
        if self.running and self.state in (DRAINING, DRAINED):
            self.state, self.state_set_at = ACTIVE, self.timeline.now + 1.0
            self._tag_self(None)

    def _tag_self(self, value: t.Optional[str]) -> None:
        def apply() -> None:
            self.cloud.set_tag(self.name, self.name, TAG_DRAINED, value)

        self._call("CreateTags" if value else "DeleteTags", apply, lambda result: None, lambda code: None)
