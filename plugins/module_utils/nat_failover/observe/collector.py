# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the newest evidence about EC2 and about this node, and never concludes anything from it.

Blocking calls (EC2, IMDS, iptables) run in a pool of a few threads of their own, apart from those
of the writes, so that a slow reading delays no write.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t
from dataclasses import replace

from ..aws.ec2 import Ec2
from ..aws.imds import Metadata
from ..errors import Ec2Error, NatFailoverError
from ..model.cluster import AddressView, Claim, InstanceView, RouteView
from ..model.evidence import SelfCheck
from ..model.settings import Config
from ..policy.interruption import Interruption
from ..runtime.base import Runtime
from ..timing import TimerCoalescer
from ..wire.prober import Prober
from .ec2_reader import Ec2Reader
from .forwarding_check import ForwardingCheck
from .impostor_watch import ImpostorWatch
from .internet_check import InternetWatch
from .interruption_watch import InterruptionWatch
from .service_check import ServiceCheck
from .sync_watch import SyncWatch
from .this_host import Host

IDENTITY_EVERY = 2.0  # seconds between checks whether this machine is still the node
THREADS = 24  # At most: three readings under way, of up to seven calls each. Started when needed


class EvidenceCollector:
    """The readers of this node.

    ``me``, ``routes`` and ``instances`` are replaced, never changed in place.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        timers: TimerCoalescer,
        *,
        ec2: Ec2,
        host: Host,
        prober: Prober,
        metadata: Metadata,
        wake: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``wake()``: there is new evidence. ``emit(kind, text, level)`` reports an event."""
        self.config = config
        self.wake = wake
        self.me = SelfCheck(fact="") if config.me.witness else SelfCheck()  # a witness has no forwarding to prove
        self._timers = timers
        self._emit = emit
        self._ec2 = ec2
        self._metadata = metadata
        self._addresses: dict[str, str] = {}  # the last known address of each peer
        self._pool = runtime.pool("read", THREADS)
        self.reader = Ec2Reader(config, ec2, runtime, timers, self._pool, changed=self._ec2_read, emit=emit)
        self.internet = InternetWatch(config, prober, runtime, timers, changed=self._internet_judged, emit=emit)
        self.interruption_watch = InterruptionWatch(config, metadata, timers, self._pool, wake=wake, emit=emit)
        self.forwarding_check = ForwardingCheck(
            config,
            host,
            runtime,
            timers,
            self._pool,
            source_dest_check=self._source_dest_check,
            changed=self._forwarding_judged,
            quiet=self.read_soon,
            emit=emit,
        )
        self.service_check = ServiceCheck(config, host, runtime, timers, changed=self._services_judged, emit=emit)
        self.sync = SyncWatch(config, runtime, timers)
        self.impostors = ImpostorWatch(runtime, self.instance_at)
        self._checked: bool | None = None  # the source/dest check as last passed on

    def work(self) -> tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        loops = (self.reader.work(), self.internet.work(), self._identity_loop())
        if self.config.me.witness:
            return loops
        return (
            *loops,
            self.interruption_watch.work(),
            self.service_check.work(),
            self.sync.work(),
            *self.forwarding_check.work(),
        )

    def close(self) -> None:
        """Start no further call. Calls under way are not waited for."""
        self._pool.close()
        self.internet.close()

    def reconfigure(self, config: Config) -> None:
        """Work by a new configuration, and read all anew."""
        self.config = self.internet.config = self.interruption_watch.config = self.service_check.config = config
        self.sync.config = config
        self.reader.reconfigure(config)
        self.forwarding_check.reconfigure(config)

    # --- the evidence -----------------------------------------------------------------------------

    @property
    def routes(self) -> t.Mapping[Claim, RouteView]:
        """The newest reading of each claim's route."""
        return self.reader.routes

    @property
    def instances(self) -> t.Mapping[str, InstanceView]:
        """The newest reading of each node's instance, by the name of the node."""
        return self.reader.instances

    @property
    def elastic_ips(self) -> t.Mapping[str, AddressView]:
        """Allocation id -> the newest reading of the Elastic IP of an identity."""
        return self.reader.elastic.views

    @property
    def homes(self) -> t.Mapping[str, str] | None:
        """Route table -> the node that its tag names. None: not read yet."""
        return self.reader.homes

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of the configuration and of the tables that were found by their tags."""
        return self.reader.claims

    @property
    def read_all(self) -> bool:
        """Whether each claim's route is known, also on tables that only their tags give to a node."""
        return self.reader.read_all

    @property
    def tables_at(self) -> float | None:
        """When route tables were last searched for, if all that were found have been read.

        Else None.
        """
        return self.reader.tables_at

    @property
    def problem(self) -> str:
        """Why EC2 does not answer, in words. Empty if it does."""
        return self.reader.problem

    @property
    def interruptions(self) -> tuple[Interruption, ...]:
        """The announcements of EC2 for this instance that stand."""
        return self.interruption_watch.standing

    @property
    def judged(self) -> bool:
        """Whether this node has checked itself since its start.

        Before that it reports nothing to its peers.
        """
        checks = self.forwarding_check.complete and self.service_check.complete
        return (checks or self.config.me.witness) and self.internet.judged

    def facts(self) -> dict[str, t.Any]:
        """The newest values that this node's forwarding rests on, by key.

        Empty before the first check.
        """
        facts = self.forwarding_check.facts()
        if not facts:
            return {}
        internet = "reachable" if self.me.internet else "not reachable"
        return {**facts, "internet": internet, **self.service_check.facts()}

    def addresses(self) -> dict[str, str]:
        """Peer -> the address for heartbeats: the one that EC2 shows, else the last known, else the
        configured one.
        """
        found = {}
        for node in self.config.peers:
            view = self.instances.get(node.name)
            # The last one is kept while EC2 shows no instance. A stale reading may hide it, and a
            # peer that is forgotten is a new peer afterwards.
            address = (view.address if view is not None else None) or self._addresses.get(node.name) or node.address
            if address:
                found[node.name] = self._addresses[node.name] = address
        return found

    def instance_id(self, name: str) -> str:
        """The instance that a node is now. Of this node: the machine that runs this.

        Raises ``NatFailoverError``.
        """
        if name == self.config.self_name:
            found = self.me.instance_id or self.config.me.instance_id
        else:
            found = self.instances[name].instance_id if name in self.instances else ""
        if not found:
            raise NatFailoverError(
                f"the instance id of {name} is not known; does an instance carry the tag nat-failover:node={name}?"
            )
        return found

    async def instance_at(self, address: str) -> str:
        """The id of the instance in this VPC that has a private address, or "". Raises ``Ec2Error``."""
        own = self.instances.get(self.config.self_name)
        return str(await self._pool.run(self._ec2.instance_at, address, own.vpc_id if own is not None else ""))

    # --- demands of other parts -------------------------------------------------------------------

    def demand(self, needed: float | None, watch: float | None) -> None:
        """The plan's demand: routes and own checks younger than the moment ``needed``, EC2 read
        every ``watch`` seconds.

        None: at the usual pace.
        """
        self.reader.demand(needed, watch)
        if needed is not None and (self.me.internet_at is None or self.me.internet_at < needed):
            self.internet.check_soon()

    def read_soon(self) -> None:
        """Read EC2 now. A reading that is under way does not count."""
        self.reader.read_soon()

    def find_tables(self) -> None:
        """Read EC2 now, and search for route tables by their tags."""
        self.reader.find_tables()

    async def read_since(self, moment: float) -> None:
        """Wait until the instances were read by a call that began after ``moment``, or EC2 has not
        answered for long.
        """
        await self.reader.read_since(moment)

    def note_route(self, claim: Claim, view: RouteView) -> None:
        """Take in the route that was read after a write."""
        self.reader.merge({claim: view}, {})

    def note_addresses(self, views: t.Mapping[str, AddressView]) -> None:
        """Take in Elastic IPs that were read after a write."""
        self.reader.elastic.merge(views)

    def note_ec2(self, ok: bool, began: float, problem: str = "", code: str = "") -> None:
        """Note that an EC2 call, begun at ``began``, was answered (``ok``) or failed (why, in words,
        and the code of the error).
        """
        self.reader.note(ok, began, problem, code)
        self._note_answers()

    def note_unseen(self, problem: str) -> None:
        """Note why this node's flare cannot be written. "": it can."""
        if problem != self.me.unseen:
            self.me = replace(self.me, unseen=problem)
            self.wake()

    # --- results of the readers -------------------------------------------------------------------

    def _ec2_read(self) -> None:
        if self._source_dest_check() != self._checked:
            self._checked = self._source_dest_check()
            self.forwarding_check.check_soon()
        self._note_answers()
        self.wake()

    def _note_answers(self) -> None:
        self.me = replace(self.me, ec2=self.reader.answers, ec2_at=self.reader.answered_at)

    def _source_dest_check(self) -> bool | None:
        mine = self.instances.get(self.config.self_name)
        return mine.source_dest_check if mine is not None else None

    def _forwarding_judged(self) -> None:
        fact = self.forwarding_check.fact
        text = f"this node does not forward: {fact}" if fact else "this node forwards: all checks are good"
        self._emit("forwarding", text, logging.WARNING if fact else logging.INFO)
        self.me = replace(self.me, forwarding=not fact, fact=fact)
        self.wake()

    def _services_judged(self) -> None:
        self.me = replace(self.me, unwell=self.service_check.unwell)
        self.wake()

    def _internet_judged(self) -> None:
        self.me = replace(self.me, internet=self.internet.reachable, internet_at=self.internet.proven_at)
        self.wake()

    async def _identity_loop(self) -> None:
        """Read from IMDS which instance this machine is, whatever the configuration says.

        A cloned image or swapped ids in an inventory make a machine another node than it is. The
        configured id counts until IMDS has answered once. Raises nothing.
        """
        reported = False
        while not self.me.instance_id:
            try:
                found = await self._pool.run(self._metadata.identity)
                self.me = replace(self.me, instance_id=found["instance_id"])
                self.wake()
            except Ec2Error as error:
                if not reported:
                    self._emit("identity", f"{error}; trying again every {IDENTITY_EVERY:.0f} s", logging.WARNING)
                reported = True
                await self._timers.rest(IDENTITY_EVERY)
        await asyncio.Event().wait()  # an instance's id does not change
