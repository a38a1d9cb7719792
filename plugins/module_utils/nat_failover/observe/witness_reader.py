# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the witness table says, kept fresh, and this node's own word in it. Apart from EC2's reader, so that neither waits for the other.

Where no table is configured, or DynamoDB does not answer, everything here is as if it were not there; only fences wait.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..aws import witness_table as witness
from ..errors import NatFailoverError, WitnessError
from ..model.cluster import FenceStep, Lock, WitnessView
from ..model.liveness import Signs
from ..model.settings import Config
from ..policy import probe_plan as inquiry

LOG = logging.getLogger("nat-failover")
MOST_READS = 2  # under way at the same time: one that hangs does not hold up the next


class Testimony:
    """``view`` is the newest reading; replaced, never changed in place."""

    def __init__(
        self,
        config: Config,
        boot_id: str,
        signs: Signs,
        instance_id: t.Callable[[], str],
        clock: t.Callable[[], float],
        news: t.Callable[[], None],
        record: t.Callable[..., None],
    ) -> None:
        self.table = witness.connect(config)
        self.view: t.Optional[WitnessView] = None
        self.problem = ""  # why DynamoDB does not answer, in words
        self._me, self._poll = config.self_name, config.ec2.poll
        self._boot_id, self._signs, self._instance_id = boot_id, signs, instance_id
        self._clock = clock
        self._news = news
        self._record = record
        self._pool = ThreadPoolExecutor(max_workers=MOST_READS + 2, thread_name_prefix="witness")
        self._reads: t.Set["asyncio.Future[None]"] = set()
        self._read_now = asyncio.Event()
        self._wanted = asyncio.Event()
        self._watch: t.Optional[float] = None

    def work(self) -> t.Tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        return () if self.table is None else (self._read_loop(), self._show_loop())

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def demand(self, watch: t.Optional[float], show: bool) -> None:
        """What the policy asks for: a reading every ``watch`` seconds (None: the usual pace), and whether to show that this node lives."""
        if watch is not None and (self._watch is None or watch < self._watch):
            self._read_now.set()
        self._watch = watch
        if show != self._wanted.is_set():
            (self._wanted.set if show else self._wanted.clear)()

    async def carry_out(self, step: FenceStep) -> bool:
        """``lock``, ``renew`` or ``unlock``; False: somebody else was first. What counts is what is read back."""
        table = witness.require(self.table)
        if step.step == "unlock":
            done = await self._call(table.unlock, step.expects)
        else:
            value = "%s:%d" % (
                self._boot_id,
                self._clock() * 1000,
            )  # before the write, so that it never looks younger than it is
            done = await self._call(table.lock, self._me, step.peer, value, step.expects)
        await self._read(self._clock())
        return bool(done)

    # --- reading -------------------------------------------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        while True:
            if len(self._reads) < MOST_READS:
                read = asyncio.ensure_future(self._read(self._clock()))
                self._reads.add(read)
                read.add_done_callback(self._read_ended)
            try:
                await asyncio.wait_for(self._read_now.wait(), timeout=self._watch or self._poll)
            except asyncio.TimeoutError:
                pass
            self._read_now.clear()

    def _read_ended(self, read: "asyncio.Future[None]") -> None:
        self._reads.discard(read)
        if not read.cancelled() and read.exception() is not None:
            LOG.error("witness: unexpected error while reading", exc_info=read.exception())

    async def _read(self, began: float) -> None:
        """Dated by its beginning, like all readings. A failure is told once, and otherwise no news."""
        try:
            found = await self._call(witness.require(self.table).read)
        except WitnessError:
            return
        if self.view is None or began >= self.view.read_at:
            self.view = WitnessView(found.items, self._lock(found.lock), began)
            self._news()

    def _lock(self, found: t.Optional[t.Tuple[str, str, str]]) -> t.Optional[Lock]:
        if found is None:
            return None
        holder, peer, value = found
        boot, _colon, moment = value.rpartition(":")
        mine = holder == self._me and boot == self._boot_id and moment.isdigit()
        return Lock(holder, peer, value, int(moment) / 1000 if mine else None)

    # --- writing -------------------------------------------------------------------------------------------------------------------

    async def _show_loop(self) -> None:
        """While wanted, rewrite my own item."""
        while True:
            await self._wanted.wait()
            try:
                await self._call(witness.require(self.table).show, self._instance_id(), self._signs.next())
            except NatFailoverError as error:
                LOG.debug("witness: %s", error)  # an outage is told once; the flare says the same
            await asyncio.sleep(inquiry.FLARE_INTERVAL)

    async def _call(self, function: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args))
        except WitnessError as error:
            self._note(str(error))
            raise
        self._note("")
        return result

    def _note(self, problem: str) -> None:
        """One event for the beginning of an outage, and one for its end."""
        if bool(problem) != bool(self.problem):
            text = "%s; until it does, no fence is begun" % problem if problem else "the witness table answers"
            self._record("witness", text, logging.WARNING if problem else logging.INFO)
        self.problem = problem
