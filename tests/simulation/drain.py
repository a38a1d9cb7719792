# SPDX-License-Identifier: GPL-3.0-or-later
"""The state that a node announces, and who may ask for a drain, as in the engine's ``drain.py``: the operator, EC2, and the end of the machine."""

from __future__ import annotations

import typing as t

from nat_failover.model.cluster import ACTIVE, DRAINED, STOPPING, TAG_DRAINED, WITNESS
from nat_failover.model.evidence import HEALTHY
from nat_failover.policy import interruption

from .cloud import interface

if t.TYPE_CHECKING:
    from .service import Service

NOTICES_EVERY = 2.0  # seconds between readings of the metadata service
LOOK_EVERY = 0.1
LEAVE_WITHIN = 5.0  # seconds that a shutdown waits for the peers


class Drain:
    """The announcement of a ``Service`` (its ``state`` and ``reluctant``), and its reason."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.operator = self.ending = self.notice = ""  # why it drains, by whom asks for it
        self.tagged_at = float("-inf")  # this node's change of the tag counts until it is read back

    def start(self) -> None:
        self.service.loop(LOOK_EVERY, self._look_ahead)

    def _look_ahead(self) -> float:
        if self.notice != self.service.host.notice:
            self.notice = self.service.host.notice
            self.service.wake()
        return NOTICES_EVERY

    def follow(self) -> None:
        """Derive the state anew from tag, notice and routes."""
        service = self.service
        if service.state == WITNESS:
            return  # it has nothing to hand over
        view = service.collector.instances.get(service.name)
        if view is not None and view.read_at > self.tagged_at:
            self.operator = "operator" if TAG_DRAINED in view.tags else ""
        why = self.operator or self.ending or self.notice
        if not why and service.state == ACTIVE:
            return
        service.reluctant = "" if self.operator or self.ending else self.notice
        state = interruption.state(why, self._owned())
        if state != service.state:
            service.timeline.tell(f"{service.name}: {state} {why}")
            service.state, service.host.announced_at = state, service.timeline.now

    def _owned(self) -> int | None:
        """How many routes point to this node, as far as it knows."""
        collector = self.service.collector
        if not collector.routes or self.service.name not in collector.instances:
            return None
        return sum(view.target == interface(self.service.name) for view in collector.routes.values())

    def leave(self, then: t.Callable[[], None]) -> None:
        """The machine shuts down: hand over, within a time, and unless nobody could take over."""
        service, began = self.service, self.service.timeline.now
        self.ending = "this machine shuts down"
        service.collector.homes_began = float("-inf")
        service.decide()

        def look() -> None:
            collector = service.collector
            known = all(view.read_at >= began for view in collector.routes.values())
            found = collector.tables_at is not None and collector.tables_at >= began
            fresh = (known and found) or not collector.me.ec2
            if (service.state == DRAINED and fresh) or service.timeline.now > began + LEAVE_WITHIN:
                self._good_bye()
                then()
            else:
                collector.read()
                service.soon(LOOK_EVERY, look)

        if self._owned() and not self._heirs():
            self._good_bye()
            then()
        else:
            look()

    def _heirs(self) -> list[str]:
        service = self.service
        if service.evidence().paused:
            return []
        healthy = [name for name, peer in service.memory.peers.items() if peer.verdict == HEALTHY]
        reports = {name: service.heard[name].report for name in healthy}
        return [name for name, report in reports.items() if report is not None and report.state == ACTIVE]

    def _good_bye(self) -> None:
        """The last word, and the end of the service."""
        service = self.service
        service.state = STOPPING
        for name in service.peers:
            for _repeat in range(3):
                service.network.send(service.name, name, service.report())
        service.alive = False
