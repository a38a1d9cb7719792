# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The asyncio shell: gather evidence, call the policy, carry out the plan, publish the state. It decides nothing of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
import typing as t
from dataclasses import replace

from ..act.executor import Hands
from ..aws.ec2 import Ec2
from ..config import load as configuration
from ..errors import NatFailoverError
from ..host.kernel import sd_notify
from ..model.cluster import Evidence, InstanceView, Memory, Plan
from ..model.liveness import Signs
from ..model.settings import Config
from ..observe.collector import Gatherer
from ..observe.witness_reader import Testimony
from ..policy import decide as policy
from ..policy import pause
from ..policy import probe_plan as inquiry
from ..timing import Rhythm
from ..wire.transport import Codec, Radio, new_boot_id
from . import status
from .commands import Orders
from .control import Control
from .drain import Drain
from .events import Chronicle
from .loop import Turns

LOG = logging.getLogger("nat-failover")
LONGEST_TICK = 0.1  # seconds between decisions when all is well, if heartbeats are more often than that
RAREST = 0.42  # of silent_after: a gap between decisions that is not much longer would look like a freeze
PING_EVERY = 1.0  # seconds between ICMP echoes in quiet times
WATCHDOG_EVERY = 1.0


class Service:
    """One node's service. ``run()`` returns after SIGTERM; everything it holds is closed then."""

    def __init__(
        self,
        config: Config,
        keys: t.Sequence[bytes],
        runner: t.Callable[..., t.Tuple[int, str, str]],
        config_path: str = "",
    ) -> None:
        self.config = config
        self.config_path = config_path
        self.clock = time.monotonic
        self.rhythm = Rhythm(config.heartbeat.interval, self.clock)
        self.boot_id = new_boot_id()
        self.signs = Signs(self.boot_id)
        self.chronicle = Chronicle(self.clock)
        self.record = self.chronicle.record
        self.ec2 = self.connect(config)
        self.radio = Radio(
            Codec(keys, config.cluster, config.self_name),
            self_name=config.self_name,
            boot_id=self.boot_id,
            port=config.heartbeat.port,
            clock=self.clock,
        )
        self.turns = Turns(self.rhythm, self._beat, self._tick, self._longest, self._late)
        self.radio.on_news, self.radio.on_heard, self.radio.on_read = self.turns.news, self.turns.heard, self.turns.read
        self.gatherer = Gatherer(config, self.ec2, runner, self.rhythm, self.wake)
        self.gatherer.on_event = self.gatherer.proof.on_event = self.record
        self.testimony = Testimony(
            config,
            self.boot_id,
            self.signs,
            lambda: self.gatherer.instance_id(config.self_name),
            self.clock,
            self.wake,
            self.record,
        )
        self.hands = Hands(config, self.ec2, self.gatherer, self.testimony, self.signs, self.clock, self.record)
        self.control = Control(config.runtime_directory, Orders(self))
        self.memory = Memory(awake_since=self.clock())
        self.plan = Plan()
        self.draining = Drain(self)
        self._stopping = asyncio.Event()
        self._probed: t.Dict[str, float] = {}
        self._machines: t.Dict[str, str] = {}  # node -> the instance that the radio's evidence is of
        self._instances: t.Optional[t.Mapping[str, InstanceView]] = None  # those that the radio knows of
        self._told_at = self._pinged_at = float("-inf")

    @staticmethod
    def connect(config: Config) -> Ec2:
        """The EC2 adapter that a configuration asks for."""
        return Ec2(
            config.region,
            config.ec2.endpoint_url,
            connect_timeout=config.ec2.connect_timeout,
            read_timeout=config.ec2.read_timeout,
        )

    @property
    def state(self) -> str:
        """What this node announces of itself."""
        return self.draining.state

    # --- life ------------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The service's life: until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self.gatherer.proof.mending = True  # who only looks once, as the modules do, changes nothing
        await self.control.open()
        try:
            await self.work(self._asked_to_stop())
        finally:
            await self.control.close()

    async def _asked_to_stop(self) -> None:
        """SIGTERM; with ``on_stop: drain`` the service goes on until its claims are taken. A shutdown has had them taken before."""
        await self._stopping.wait()
        if self.config.handover.on_stop == "drain":
            with contextlib.suppress(NatFailoverError):  # it is in the journal, and the stop is not to be stopped
                await self.draining.leave("the service is being stopped")

    async def work(self, until: t.Coroutine[t.Any, t.Any, t.Any]) -> None:
        """Observe, decide and act until ``until`` is done, then leave in an orderly way."""
        await self.radio.open()
        self.record(
            "started",
            "%s of cluster %s, mode %s, boot %s, %d nodes, %d claims"
            % (
                self.config.self_name,
                self.config.cluster,
                self.config.mode,
                self.boot_id,
                len(self.config.nodes),
                len(self.config.claims),
            ),
        )
        end = asyncio.ensure_future(until)
        tasks = [
            asyncio.ensure_future(work)
            for work in (self.turns.live(), *self.gatherer.work(), *self.testimony.work(), self.hands.flare_work())
        ]
        try:
            sd_notify("READY=1\nSTATUS=%s" % status.summary(self))
            done, _pending = await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a worker never ends on its own: let its error reach the journal and systemd restart us
        finally:
            sd_notify("STOPPING=1")
            await self._leave([*tasks, end])

    async def _leave(self, tasks: t.Sequence["asyncio.Future[t.Any]"]) -> None:
        """Say good-bye, so that an orderly stop is not taken for a death, then close everything."""
        self.draining.leave_now()
        self.radio.set_report(status.report(self))
        for _repeat in range(3):
            for peer in self.config.peers:
                self.radio.beat(peer.name)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.radio.close()
        self.hands.close()
        self.gatherer.close()
        self.testimony.close()
        self.record("stopped", "the service leaves; kernel NAT goes on")

    def reload(self) -> None:
        """SIGHUP: take over a changed configuration without missing a heartbeat; a bad one changes nothing."""
        try:
            config, keys = configuration.reload(self.config_path, self.config)
        except NatFailoverError as error:
            self.record("reload_refused", str(error), logging.ERROR)
            return
        self.config = config
        self.rhythm.interval = config.heartbeat.interval
        self.radio.codec = Codec(keys, config.cluster, config.self_name)
        self.gatherer.reconfigure(config)
        self.hands.config = config
        self.record("reloaded", "%d nodes, %d claims, mode %s" % (len(config.nodes), len(config.claims), config.mode))
        self.wake()

    def wake(self) -> None:
        """New evidence: decide now."""
        self.turns.wake()

    # --- turns -----------------------------------------------------------------------------------------------------------------

    def _longest(self) -> float:
        """Seconds until the next turn: a probe, or a decision. That comes with a heartbeat, if those are often enough."""
        silent_after = self.config.heartbeat.silent_after
        patience = min(max(LONGEST_TICK, self.rhythm.longest, silent_after / 8), RAREST * silent_after)
        return min((patience, *self.plan.probe.values()))

    def _late(self) -> t.Tuple[float, str]:
        return inquiry.next_late(self.config, self.memory, self.radio.heartbeats())

    def _beat(self, now: float) -> None:
        if self.gatherer.judged:  # until then silence: a node that does not know yet is not one that cannot forward
            self.radio.set_report(status.report(self))
        ping = now - self._pinged_at >= PING_EVERY
        self._pinged_at = now if ping else self._pinged_at
        for peer in self.config.peers:
            self.radio.beat(peer.name)
            if ping:
                self.radio.ping(peer.name)

    def _tick(self, now: float) -> None:
        if self.gatherer.instances is not self._instances:  # each reading makes a new one
            self._instances = self.gatherer.instances
            self.radio.set_peers(self.gatherer.addresses())
            self._follow_replacements()
        self.draining.follow()
        self.decide(now)
        self._probe(now)
        if now - self._told_at >= WATCHDOG_EVERY:
            self._told_at = now
            sd_notify("WATCHDOG=1\nSTATUS=%s" % status.summary(self))

    def decide(self, now: float) -> None:
        """Evidence in, plan out, hands and gatherer told."""
        before = self.memory
        me = replace(self.gatherer.me, state=self.state, notice=self.draining.notice)
        evidence = Evidence(
            now=now,
            me=me,
            heard=self.radio.heard(),
            routes=self.gatherer.routes,
            instances=self.gatherer.instances,
            busy=self.hands.busy(now),
            paused=pause.paused(self.gatherer.instances, time.time()),
            homes=self.gatherer.homes,
            tables_at=self.gatherer.tables_at,
            witness=self.testimony.view,
        )
        self.memory, self.plan = policy.decide(self.config, before, evidence)
        self.chronicle.follow(before, self.memory, self.plan, now, self.config.heartbeat.silent_after / 3)
        self.gatherer.demand(self.plan.refresh, self.plan.watch)
        self.testimony.demand(self.plan.watch, self.plan.flare)
        self.hands.flare(self.plan.flare)
        self.hands.carry_out(self.plan)

    def _probe(self, now: float) -> None:
        for name, every in self.plan.probe.items():
            if now - self._probed.get(name, float("-inf")) >= every * 0.9:
                self._probed[name] = now
                self.radio.probe(name)

    def _follow_replacements(self) -> None:
        """Before the next decision: what the predecessor of an instance said is not evidence of the new one."""
        for name, view in self.gatherer.instances.items():
            if not view.instance_id:
                continue  # EC2 shows none just now
            if self._machines.get(name, view.instance_id) != view.instance_id:
                self.radio.renew(name)
            self._machines[name] = view.instance_id

    def status(self) -> t.Dict[str, t.Any]:
        """For the control socket and the modules; see status.py."""
        return status.status(self)
