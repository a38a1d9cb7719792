# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The asyncio service: gather evidence, call the policy, carry out the plan, publish the state.

All decisions are in ``policy/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import typing as t

from ..config import load as configuration
from ..errors import NatFailoverError, PortTaken
from ..model.cluster import InstanceView
from ..model.evidence import Evidence
from ..model.memory import Memory
from ..model.plan import Plan
from ..model.settings import Config
from ..policy import decide as policy
from ..policy import probe_plan, synchronised
from ..wire.codec import Codec
from . import problems, status
from .assemble import assemble
from .commands import Commands
from .control import Control
from .drain import Drain
from .evidence import gather
from .loop import TickLoop, pace
from .outside import Outside
from .status_socket import StatusSocket

PING_EVERY = 1.0  # seconds between ICMP echoes in quiet times
SAMPLE_EVERY = 30.0  # seconds between moments in which machines in the name of a peer are noticed
WATCHDOG_EVERY = 1.0  # seconds between messages to systemd
# Seconds for which the service waits for its UDP port, and between two attempts. A module that
# observes while no service runs has the port, and leaves when it sees the service.
PORT_WITHIN, PORT_EVERY = 30.0, 0.2
GOODBYES = 3  # Heartbeats that announce an orderly end. Any one of them is enough

Decide = t.Callable[[Config, Memory, Evidence], tuple[Memory, Plan]]


class Service:
    """The service of one node.

    ``run()`` returns after SIGTERM, with everything closed that it opened.
    """

    def __init__(
        self,
        config: Config,
        keys: t.Sequence[bytes],
        outside: Outside,
        config_path: str = "",
        *,
        repairs: bool = True,
        decide: Decide = policy.decide,
    ) -> None:
        """``repairs``: whether the service repairs the rules and sysctls of this node.

        A single observation repairs nothing.
        """
        self._decide = decide
        self.outside = outside
        self.config_path = config_path
        self.parts = assemble(config, keys, outside, self.wake)
        self.parts.collector.forwarding_check.repairs = self.parts.collector.sync.orders = repairs
        self.drain = Drain(self.parts, self._announce)
        self.commands = Commands(self.parts, self.drain)
        self.loop = TickLoop(outside.runtime, self.parts.timers, self._send, self._tick, self._pace, self._late)
        transport = self.parts.transport
        transport.on_packet = self.loop.packet_received
        transport.wake = self.loop.wake_after_read
        transport.on_all_read = self.loop.all_read
        self._stopping = asyncio.Event()
        self._probed: dict[str, float] = {}  # peer -> moment of its last probe
        self._machines: dict[str, str] = {}  # node -> the instance that sent the transport's evidence
        self._instances: t.Mapping[str, InstanceView] | None = None  # the reading that the transport's addresses are of
        self._notified_at = self._pinged_at = self._sampled_at = float("-inf")

    # --- start and end ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. SIGHUP reloads the configuration."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        control = Control(self.parts.config.runtime_directory, self.commands)
        readers = StatusSocket(self.parts.config.runtime_directory, self.parts)
        await control.open()
        await readers.open()
        try:
            await self.work(self._stop_requested(), PORT_WITHIN)
        finally:
            readers.close()
            await control.close()

    async def _stop_requested(self) -> None:
        """Wait for SIGTERM, and with ``on_stop: drain`` for a hand-over to the peers."""
        await self._stopping.wait()
        if self.parts.config.handover.on_stop == "drain":
            # The error is in the journal. A failed hand-over must not block the shutdown.
            with contextlib.suppress(NatFailoverError):
                await self.drain.leave("the service is being stopped")

    async def work(self, until: t.Coroutine[t.Any, t.Any, t.Any], port_within: float = 0.0) -> None:
        """Observe, decide and act until ``until`` is done, then leave in an orderly way.

        ``port_within``: seconds to wait for the UDP port. Raises the error of a worker, and
        ``NatFailoverError`` if the UDP port cannot be bound.
        """
        parts = self.parts
        opened = False
        try:
            opened = await self._open_port(port_within)
        finally:
            if not opened:
                until.close()
        if not opened:
            return
        parts.events.emit("started", status.start_line(parts))
        end = asyncio.ensure_future(until)
        workers = (self.loop.live(), *parts.collector.work(), *parts.witness.work(), parts.executor.flare_work())
        tasks = [asyncio.ensure_future(worker) for worker in workers]
        try:
            self.outside.notify(f"READY=1\nSTATUS={status.summary(parts)}")
            done, _pending = await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # A worker ends only by an error. The journal shows it, and systemd restarts the
                # service.
                task.result()
        finally:
            self.outside.notify("STOPPING=1")
            await self._leave([*tasks, end])

    async def _open_port(self, seconds: float) -> bool:
        """Open the sockets of the transport. False: the service was stopped meanwhile.

        While another process has the port, try again for ``seconds``. Raises ``NatFailoverError``.
        """
        parts, runtime = self.parts, self.outside.runtime
        deadline, told = runtime.now() + seconds, False
        while not self._stopping.is_set():
            try:
                await parts.transport.open()
                return True
            except PortTaken as error:
                if runtime.now() >= deadline:
                    raise
                if not told:
                    parts.events.emit("port_taken", f"{error} Trying again for {seconds:.0f} s", logging.WARNING)
                told = True
            await runtime.sleep(PORT_EVERY)
        return False

    async def _leave(self, tasks: t.Sequence[asyncio.Future[t.Any]]) -> None:
        """Announce the end, since a silence without it looks like a death, then close everything."""
        parts = self.parts
        self.drain.leave_now()
        parts.transport.set_report(status.report(parts))
        for _repeat in range(GOODBYES):
            for peer in parts.config.peers:
                parts.transport.beat(peer.name)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for part in (parts.transport, parts.executor, parts.collector, parts.witness):
            part.close()
        parts.events.emit("stopped", "service exiting; the kernel keeps forwarding")

    def reload(self) -> None:
        """Load a changed configuration without a missed heartbeat. A bad one changes nothing."""
        parts = self.parts
        try:
            config, keys, parts.settings.digest = configuration.reload(self.config_path, parts.config)
        except NatFailoverError as error:
            parts.settings.refused = str(error)
            parts.events.emit("reload_refused", f"{error}; the service keeps its present configuration", logging.ERROR)
            return
        parts.settings.refused = ""
        parts.config = config
        parts.transport.codec = Codec(keys, config.cluster, config.self_name)
        parts.signs.seals.rekey(keys)
        for part in parts.reconfigurable():
            part.reconfigure(config)
        changed = f"{len(config.nodes)} nodes, {len(config.claims)} claims, mode {config.mode}"
        parts.events.emit("reloaded", changed)
        self.wake()

    def wake(self) -> None:
        """Decide now, since there is new evidence."""
        self.loop.wake()

    def _announce(self) -> None:
        """Publish a new state of this node now instead of at the next tick."""
        self.parts.transport.set_report(status.report(self.parts))
        self.wake()

    # --- ticks ------------------------------------------------------------------------------------

    def _pace(self) -> tuple[int, float]:
        return pace(self.parts.config.heartbeat, self.parts.plan.probe)

    def _late(self) -> tuple[float, str]:
        """The moment from which the next heartbeat is late, and the peer that owes it."""
        return probe_plan.next_late(self.parts.config, self.parts.memory, self.parts.transport.heartbeats())

    def _send(self, now: float) -> None:
        """Send the heartbeats that are due, and an ICMP echo now and then."""
        transport = self.parts.transport
        if self.parts.collector.judged:  # without a self check there is no report: unknown is not "not forwarding"
            transport.set_report(status.report(self.parts))
        ping = now - self._pinged_at >= PING_EVERY
        self._pinged_at = now if ping else self._pinged_at
        for peer in self.parts.config.peers:
            transport.beat(peer.name)
            if ping:
                transport.ping(peer.name)

    def _tick(self, now: float) -> None:
        """One decision and its consequences. ``now``: seconds of ``Runtime.now``."""
        collector = self.parts.collector
        if collector.instances is not self._instances:  # each reading makes a new mapping
            self._instances = collector.instances
            self.parts.transport.set_peers(collector.addresses())
            self.parts.transport.set_origins({name: view.addresses for name, view in collector.instances.items()})
            self._follow_replacements()
        self.drain.follow()
        self.decide(now)
        self._probe(now)
        parts = self.parts
        parts.events.incidents.compare(now, lambda: problems.find(parts, gather(parts, now)))
        if now - self._sampled_at >= SAMPLE_EVERY:
            self._sampled_at = now
            self.parts.transport.admission.sample()
        if now - self._notified_at >= WATCHDOG_EVERY:
            self._notified_at = now
            self.outside.notify(f"WATCHDOG=1\nSTATUS={status.summary(self.parts)}")

    def decide(self, now: float) -> None:
        """Gather the evidence, decide, and pass the plan to the parts that carry it out."""
        parts = self.parts
        before, config, collector = parts.memory, parts.config, parts.collector
        evidence = gather(parts, now, self.loop.awake_at)
        parts.events.follow_fence(evidence.marks.get(config.self_name))
        parts.memory, parts.plan = self._decide(config, before, evidence)
        parts.events.follow(before, parts.memory, parts.plan, now, config.heartbeat.silent_after / 3)
        collector.demand(parts.plan.refresh, parts.plan.watch)
        if config.identities:
            collector.forwarding_check.translate(parts.plan.translation)
        if config.state_sync:
            collector.sync.place(parts.plan.places, synchronised.abroad(config, parts.plan.places))
        parts.witness.demand(parts.plan.watch, parts.plan.flare)
        parts.executor.flare(parts.plan.flare)
        parts.executor.carry_out(parts.plan, evidence.busy)

    def _probe(self, now: float) -> None:
        """Send the probes of the plan that are due."""
        for name, every in self.parts.plan.probe.items():
            if now - self._probed.get(name, float("-inf")) >= every * 0.9:
                self._probed[name] = now
                self.parts.transport.probe(name)

    def _follow_replacements(self) -> None:
        """Drop the evidence of an instance that was replaced, before the next decision on its node."""
        for name, view in self.parts.collector.instances.items():
            if not view.instance_id:
                continue  # EC2 shows no instance now
            if self._machines.get(name, view.instance_id) != view.instance_id:
                self.parts.transport.renew(name)
            self._machines[name] = view.instance_id
