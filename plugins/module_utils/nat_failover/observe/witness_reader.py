# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the newest reading of the witness table, and this node's own item in it.

It works apart from EC2's reader, so that neither waits for the other. Without a table, or while
DynamoDB does not answer, all else works as without this file. Only fences wait.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t

from ..aws import witness_table
from ..errors import NatFailoverError, WitnessError
from ..model.evidence import VALID, Lock, WitnessView
from ..model.liveness import LivenessCounter
from ..model.plan import FenceStep
from ..model.settings import Config
from ..policy import probe_plan
from ..runtime.base import Runtime
from ..timing import Pause, TimerCoalescer
from ..wire.seals import ITEM, LOCK, Seals

LOG = logging.getLogger("nat-failover")
MOST_READS = 2  # under way at the same time: one that hangs does not delay the next
WRITES = 2  # under way at the same time: the own item and the fence lock


class WitnessReader:
    """``view`` is the newest reading. It is replaced, never changed in place."""

    def __init__(
        self,
        config: Config,
        table: witness_table.Table | None,
        runtime: Runtime,
        timers: TimerCoalescer,
        *,
        boot_id: str,
        liveness: LivenessCounter,
        seals: Seals,
        instance_id: t.Callable[[], str],
        wake: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``table``: None if none is configured.

        ``instance_id()`` is this node's, and may raise ``NatFailoverError``.

        ``wake()``: there is new evidence. ``emit(kind, text, level)`` reports an event.
        """
        self.config = config
        self.table = table
        self.view: WitnessView | None = None
        self.problem = ""  # why DynamoDB does not answer, in words
        self._boot_id, self._liveness, self._seals, self._instance_id = boot_id, liveness, seals, instance_id
        self._runtime = runtime
        self._wake = wake
        self._emit = emit
        self._pool = runtime.pool("witness", MOST_READS + WRITES)
        self._pause = Pause(timers)  # between two readings
        self._reads: set[asyncio.Future[None]] = set()
        self._wanted = asyncio.Event()
        self._watch: float | None = None

    def work(self) -> tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        return () if self.table is None else (self._read_loop(), self._show_loop())

    def close(self) -> None:
        """Start no further call. Calls under way are not waited for."""
        self._pool.close()

    def reconfigure(self, config: Config) -> None:
        """Read at the pace of a new configuration. Another table needs a restart."""
        self.config = config

    def demand(self, watch: float | None, show: bool) -> None:
        """The plan's demand: a reading every ``watch`` seconds (None: the usual pace), and whether
        to show that this node lives.
        """
        if watch is not None and (self._watch is None or watch < self._watch):
            self._pause.end()
        self._watch = watch
        if show != self._wanted.is_set():
            (self._wanted.set if show else self._wanted.clear)()

    async def carry_out(self, step: FenceStep) -> bool:
        """``lock``, ``renew`` or ``unlock``. Returns False if another node was first.

        Raises ``WitnessError``.

        The reading that follows shows the result.
        """
        table = witness_table.require(self.table)
        if step.step == "unlock":
            done = await self._call(table.unlock, step.expects)
        else:
            # Dated before the write, so that the lock never looks younger than it is.
            number, me = int(self._runtime.now() * 1000), self.config.self_name
            value = self._seals.sign(LOCK, me, step.peer, self._boot_id, number)
            done = await self._call(table.lock, me, step.peer, value, step.expects)
        await self._read(self._runtime.now())
        return bool(done)

    # --- reading ----------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        while True:
            self._pause.forget()
            if len(self._reads) < MOST_READS:
                read = asyncio.ensure_future(self._read(self._runtime.now()))
                self._reads.add(read)
                read.add_done_callback(self._read_ended)
            await self._pause.wait(self._watch or self.config.ec2.poll)

    def _read_ended(self, read: asyncio.Future[None]) -> None:
        self._reads.discard(read)
        if not read.cancelled() and read.exception() is not None:
            LOG.error("witness: unexpected error while reading", exc_info=read.exception())

    async def _read(self, began: float) -> None:
        """One reading, dated by its beginning like all readings.

        A failure is reported by ``_call``.
        """
        try:
            found = await self._call(witness_table.require(self.table).read)
        except WitnessError:
            return
        if self.view is None or began >= self.view.read_at:
            self.view = WitnessView(found.items, self._lock(found.lock), began)
            self._wake()

    def _lock(self, found: tuple[str, str, str] | None) -> Lock | None:
        if found is None:
            return None
        holder, peer, value = found
        sign = self._seals.read(LOCK, holder, peer, value)
        own = holder == self.config.self_name and sign.boot == self._boot_id and sign.seal == VALID
        return Lock(holder, peer, value, sign.number / 1000 if own else None, sign)

    # --- writing ----------------------------------------------------------------------------------

    async def _show_loop(self) -> None:
        """Rewrite this node's own item while that is wanted."""
        while True:
            await self._wanted.wait()
            try:
                instance = self._instance_id()
                value = self._liveness.next(ITEM, instance)
                await self._call(witness_table.require(self.table).show, instance, value)
            except NatFailoverError as error:
                LOG.debug("witness: %s", error)  # an outage is reported once, and the flare says the same
            await self._runtime.sleep(probe_plan.FLARE_INTERVAL)

    async def _call(self, function: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        try:
            result = await self._pool.run(function, *args)
        except WitnessError as error:
            self._note(str(error))
            raise
        self._note("")
        return result

    def _note(self, problem: str) -> None:
        """Report the begin and the end of an outage."""
        if bool(problem) != bool(self.problem):
            text = f"{problem}; no fence is begun until it answers" if problem else "the witness table answers"
            self._emit("witness", text, logging.WARNING if problem else logging.INFO)
        self.problem = problem
