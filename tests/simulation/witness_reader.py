# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's readings of the witness table, and its items: the paces of the engine's ``observe/witness_reader.py``."""

from __future__ import annotations

import typing as t

from nat_failover.model.evidence import VALID, Lock, WitnessView
from nat_failover.model.plan import FenceStep
from nat_failover.policy import probe_plan
from nat_failover.wire.seals import ITEM, LOCK

from .table import Held

if t.TYPE_CHECKING:
    from .service import Service

MOST_READS = 2


class WitnessReader:
    """``view``: the newest reading; None for ever without a table."""

    __test__ = False  # for pytest

    def __init__(self, service: Service) -> None:
        self.service, self.host, self.timeline = service, service.host, service.timeline
        self.table = service.host.table if service.config.witness.table is not None else None
        self.view: WitnessView | None = None
        self.watch: float | None = None
        self._reads = self._next_read = 0
        self._wanted = self._showing = False

    def start(self, settled: bool) -> None:
        if self.table is None:
            return
        if settled:
            self._take(self.table.read(), self.timeline.now)
        self._read_after(self.service.rng.uniform(0.0, self.service.config.ec2.poll if settled else 0.1))

    def demand(self, watch: float | None, show: bool) -> None:
        """The wishes of the policy, as in the engine."""
        if self.table is None:
            return
        closer = watch is not None and (self.watch is None or watch < self.watch)
        self.watch, self._wanted = watch, show
        if closer:
            self._read()
        if show and not self._showing:
            self._show()

    def carry_out(self, step: FenceStep, ended: t.Callable[[bool], None]) -> None:
        """``lock``, ``renew`` or ``unlock``, and a reading after it."""
        table, name = self.table, self.service.name
        assert table is not None
        number = int(self.timeline.now * 1e6)
        value = self.service.seals.sign(LOCK, name, step.peer, str(self.host.boots), number)

        def apply() -> bool:
            if step.step == "unlock":
                return table.unlock(name, step.expects)
            return table.lock(name, step.peer, value, step.expects)

        def failed(code: str) -> None:
            self.timeline.tell(f"{name}: {step} failed: {code}")
            ended(False)

        def done(result: bool) -> None:
            self._read(lambda: ended(result))

        self._call("DeleteItem" if step.step == "unlock" else "PutItem", apply, done, failed)

    # --- reading -----------------------------------------------------------------------------------------------------------------

    def _read_after(self, seconds: float) -> None:
        self._next_read += 1
        number = self._next_read
        self.service.soon(seconds, lambda: self._read() if number == self._next_read else None)

    def _read(self, then: t.Callable[[], None] = lambda: None) -> None:
        self._read_after(self.watch or self.service.config.ec2.poll)
        if self._reads >= MOST_READS or self.table is None:
            then()
            return
        self._reads += 1
        began = self.timeline.now

        def done(found: t.Any) -> None:
            self._reads -= 1
            self._take(found, began)
            then()

        def failed(code: str) -> None:
            self._reads -= 1
            then()

        self._call("Query", self.table.read, done, failed)

    def _take(self, found: tuple[dict[str, str], Held | None], began: float) -> None:
        if self.view is not None and began < self.view.read_at:
            return
        items, held = found
        changed = self.view is None or (self.view.items, self._value()) != (items, held[2] if held else "")
        self.view = WitnessView(items, self._lock(held), began)
        if changed:
            self.service.wake()

    def _value(self) -> str:
        return self.view.lock.value if self.view is not None and self.view.lock is not None else ""

    def _lock(self, held: Held | None) -> Lock | None:
        if held is None:
            return None
        holder, peer, value = held
        sign = self.service.seals.read(LOCK, holder, peer, value)
        mine = holder == self.service.name and sign.boot == str(self.host.boots) and sign.seal == VALID
        return Lock(holder, peer, value, sign.number / 1e6 if mine else None, sign)

    # --- writing -----------------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self._showing = self._wanted
        if not self._showing or self.table is None:
            return
        me, table = self.service.collector.me.instance_id, self.table
        value = self.service.signs.next(ITEM, me)
        self._call("PutItem", lambda: table.show(me, value))
        self.service.soon(probe_plan.FLARE_INTERVAL, self._show)

    def _call(
        self,
        action: str,
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], None] = lambda result: None,
        failed: t.Callable[[str], None] = lambda code: None,
    ) -> None:
        assert self.table is not None
        soon = self.service.soon
        self.table.call(
            self.service.name,
            action,
            self.host.reaches_ec2,
            apply,
            lambda result: soon(0.0, lambda: done(result)),
            lambda code: soon(0.0, lambda: failed(code)),
        )
