# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the shipping service on a simulated host, with the face that the observer of the laws knows."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import typing as t
from dataclasses import replace

from nat_failover.aws.ec2 import Ec2
from nat_failover.aws.witness_table import Table as WitnessTable
from nat_failover.errors import NatFailoverError
from nat_failover.host.netfilter import RulesReading
from nat_failover.host.verdict_file import ServiceVerdict
from nat_failover.model.cluster import ACTIVE, WITNESS
from nat_failover.model.evidence import Evidence
from nat_failover.model.memory import Memory
from nat_failover.model.nat import Nat
from nat_failover.model.plan import Plan
from nat_failover.model.settings import Config, Target
from nat_failover.observe.forwarding_facts import Finding, Subject
from nat_failover.policy import decide as policy
from nat_failover.policy.interruption import PATHS, SPOT
from nat_failover.service.outside import Outside
from nat_failover.service.service import Service

from ..quiet import nothing_to_do
from .aws import CLUSTER, DynamoConnection, Ec2Connection
from .loop import ProcessLoop
from .runtime import VirtualRuntime

if t.TYPE_CHECKING:
    from ..host import Host

KEY = (b"k" * 32,)
ANSWER, NO_ANSWER = 0.01, 10.0  # seconds until a target on the internet answers, or does not
LINK = 0.0002  # seconds from the kernel of a host into its process
NOTICE = json.dumps({"action": "stop", "time": "2027-01-31T12:00:00Z"})

logging.getLogger("nat-failover").setLevel(logging.CRITICAL)


class Process:
    """A process on a host. It ends with ``alive = False``: then nothing of it runs any more."""

    def __init__(self, host: Host, settled: bool) -> None:
        """``settled`` is the fast shell's. This one has to run for a while until it knows everything."""
        self.host, self.name, self.network = host, host.name, host.network
        self._alive = True
        self.quiet = False
        self.born = host.timeline.now
        self.udp: t.Any = None
        self._announced = ""
        self._addresses = {f"10.0.0.{index}": name for index, name in enumerate(host.cloud.names)}
        rng = random.Random(f"{host.name} {host.boots} {host.cloud.rng.random()}")
        self.loop = ProcessLoop(host.timeline, self.gate)
        self.runtime = VirtualRuntime(self, self.loop, rng)
        config = _without_canary(host.config)
        self._leaving: asyncio.Task[t.Any] | None = None
        self.service: Service
        self.loop.run(lambda: self._begin(config))

    def _begin(self, config: Config) -> None:
        host = self.host
        table = None
        if config.witness.table is not None:
            dynamo = DynamoConnection(self, host.table)
            table = WitnessTable(config.witness.table, CLUSTER, config.region, connection=dynamo)
        outside = Outside(
            ec2=Ec2(config.region, clock=self.runtime.now, connection=Ec2Connection(self, host.cloud)),
            host=SimulatedKernel(host),
            table=table,
            runtime=self.runtime,
            prober=t.cast(t.Any, SimulatedProber(self)),
            metadata=t.cast(t.Any, SimulatedMetadata(host)),
            notify=lambda message: None,
            boot_id=f"{host.cloud.names.index(host.name):08x}{host.boots:08x}",
        )
        self.service = Service(config, KEY, outside, repairs=False, decide=self._decide)
        self.task = self.loop.create_task(self.service.work(_for_ever(self.loop)))

    @property
    def alive(self) -> bool:
        return self._alive

    @alive.setter
    def alive(self, alive: bool) -> None:
        """False: the process is killed. Nothing of it runs any more, nor is anything sent."""
        if self._alive and not alive:
            self._alive = False
            if self.udp is not None:
                self.udp.close()
            self.loop.end()

    # --- the face that hosts, laws and incidents know ---------------------------------------------------------------

    @property
    def parts(self) -> t.Any:
        return self.service.parts

    @property
    def collector(self) -> t.Any:
        return self.service.parts.collector

    @property
    def memory(self) -> Memory:
        return self.service.parts.memory

    @property
    def plan(self) -> Plan:
        return self.service.parts.plan

    @property
    def heard(self) -> t.Any:
        return self.service.parts.transport.heard()

    @property
    def state(self) -> str:
        return self.service.parts.drain.state

    @property
    def reluctant(self) -> str:
        return self.service.parts.drain.interruption

    @property
    def drained_by_operator(self) -> bool:
        return bool(self.service.parts.drain.operator)

    def order_drain(self) -> None:
        """`nat-failover drain`."""
        self.command(self.service.commands.drain("operator", 60.0))

    def order_resume(self) -> None:
        """`nat-failover resume`."""
        self.command(self.service.commands.resume())

    def leave(self, then: t.Callable[[], None]) -> None:
        """The machine shuts down: the service hands over, says good-bye and ends."""

        async def going() -> None:
            try:
                await self.service.commands.leave()
            except NatFailoverError:
                pass  # it is in the journal; the machine goes down all the same
            await self.service._leave([])
            self.loop.call_soon(self._ended, then)

        self._leaving = self.loop.create_task(going())

    def _ended(self, then: t.Callable[[], None]) -> None:
        self.alive = False
        then()

    def command(self, work: t.Coroutine[t.Any, t.Any, t.Any]) -> None:
        """A command of an operator. A refusal changes nothing."""

        async def run() -> None:
            try:
                await work
            except NatFailoverError:
                pass

        self.quiet = False
        self.loop.run(lambda: self.loop.create_task(run()))

    # --- the world's side ---------------------------------------------------------------------------------------------

    def gate(self, run: t.Callable[[], None]) -> None:
        """Run a callback now; later if the machine or the process is frozen; never if it is dead."""
        host = self.host
        if not self.alive:
            return
        if host.frozen or host.paused:
            host.stalled.append(lambda: self.gate(run))
            return
        run()
        problem = self.loop.problem or (
            self.task.exception() if self.task.done() and not self.task.cancelled() else None
        )
        if problem is not None:
            raise problem

    def name_of(self, address: str) -> str:
        return self._addresses[address]

    def address_of(self, name: str) -> str:
        return next(address for address, other in self._addresses.items() if other == name)

    def arrive(self, sender: str, data: bytes) -> None:
        """A datagram is in this host's kernel. The process reads it when it runs."""
        if self.udp is not None:
            address = self.address_of(sender)
            self.deliver(self.udp.arrive, data, address)

    def deliver(self, take: t.Callable[[bytes, str], None], data: bytes, address: str) -> None:
        # Never within the sender's own callback: packets of a real network take some time, however short.
        self.host.timeline.after(LINK, lambda: self.gate(lambda: self.loop.run(lambda: take(data, address))))

    def _decide(self, config: Config, memory: Memory, evidence: Evidence) -> tuple[Memory, Plan]:
        """The shipping policy, under the eyes of the observer."""
        after, plan = policy.decide(config, memory, evidence)
        if after.peers is not memory.peers:
            self._tell(memory, after)
        if self.state != self._announced:
            self._announced, self.host.announced_at = self.state, evidence.now
        for action in (*plan.routes, *plan.fence):
            self.host.timeline.tell(f"{self.name}: {action.reason}")
        self.host.decided(self.host, evidence, plan)
        steady = after.peers is memory.peers and not plan.routes and not plan.fence
        self.quiet = steady and nothing_to_do(config, after, plan, evidence, self.state, self.collector.reader.claims)
        return after, plan

    def _tell(self, before: Memory, after: Memory) -> None:
        for name, peer in after.peers.items():
            old = before.peers.get(name)
            if old is not None and old.verdict != peer.verdict:
                self.host.timeline.tell(f"{self.name}: {name} is {peer.verdict}: {peer.evidence}")


async def _for_ever(loop: ProcessLoop) -> None:
    await loop.create_future()


def _without_canary(config: Config) -> Config:
    """The canary is a process of its own on a real host; whether NAT works is a fact of the simulated kernel here."""
    return replace(config, canary=replace(config.canary, enabled=False, ipv6=None))


class SimulatedKernel:
    """Fits ``observe.this_host.Host``: NAT works or it does not."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def examine(self, node: Subject) -> t.Mapping[str, Finding]:
        return {"ip_forward": Finding("1" if self._host.nat else "0", "" if self._host.nat else "ip_forward=0")}

    def read_rules(self, nat: Nat) -> RulesReading:
        return RulesReading()

    def read_other_tables(self, nat: Nat) -> tuple[str, ...]:
        return ()

    def read_policy_rules(self, nat: Nat) -> tuple[str, ...]:
        return ()

    def rules_in_nftables(self) -> bool:
        return True

    def conntrack_fill(self) -> float:
        return 0.0

    def forwarded_packets(self) -> int:
        return 0

    def read_service(self, file: str) -> ServiceVerdict:
        return ServiceVerdict(self._host.timeline.now, self._host.serves, "it does not work")

    def counters(self, interface: str) -> t.Mapping[str, int]:
        return {}


class SimulatedProber:
    """In the place of ``wire.prober.Prober``: the internet answers a host that has its uplink."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def reach(self, target: Target, timeout: float) -> str:
        host = self._process.host
        ok = host.uplink and host.powered
        await asyncio.sleep(min(ANSWER if ok else NO_ANSWER, timeout))
        return "" if ok else f"{target}: no answer"

    def close(self) -> None:
        pass


class SimulatedMetadata:
    """In the place of ``aws.imds.Metadata``."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def read(self, paths: t.Mapping[str, str]) -> dict[str, str | None]:
        return {kind: NOTICE if kind == SPOT and self._host.notice else None for kind in PATHS}

    def identity(self) -> dict[str, str]:
        return {"instance_id": self._host.cloud.instance_id(self._host.name)}


__all__ = ["ACTIVE", "WITNESS", "Process"]
