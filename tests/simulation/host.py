# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth about one NAT node, which no node knows: power, kernel, uplink; and what operators do on it."""

from __future__ import annotations

import typing as t

from nat_failover.model.evidence import Evidence, Report
from nat_failover.model.plan import Plan
from nat_failover.model.settings import Config

from .alarms import spans
from .cloud import Cloud
from .conntrackd import Conntrackd
from .network import Network, Stamp
from .service import Service
from .table import Table
from .timeline import Timeline

BOOT_SERVICE = 0.5  # seconds from power-on to the service's start
RESTART = 1.0  # seconds until systemd starts a service again


class Host:
    """A machine (``powered, frozen, nat, uplink``) and the service on it (``service``: the present one, or the last that lived)."""

    def __init__(
        self,
        config: Config,
        timeline: Timeline,
        network: Network,
        cloud: Cloud,
        table: Table,
        shell: t.Callable[[Host, bool], t.Any] = Service,
    ) -> None:
        """``shell``: which service runs here, the fast model of it or the shipping one."""
        self.shell = shell
        self.config, self.timeline, self.network, self.cloud, self.table = config, timeline, network, cloud, table
        self.name = config.self_name
        self.spans = spans(config)
        self.witness = config.me.witness  # it only watches, and does not NAT
        self.powered = self.nat = self.uplink = True
        self.frozen = self.paused = False  # the whole machine; only the service
        self.broken = False  # the machine does not boot any more
        self.serves = True  # the service works that some claims depend on
        self.nat_off_at = float("inf")
        self.clock_error = (
            0.0  # seconds by which its time of day is wrong; the policy gets monotonic time, so that it must not matter
        )
        self.conntrackd: Conntrackd | None = None  # of both nodes; None: connections are not synchronised
        self.notice = ""  # what EC2 has announced for it
        self.announced_at = float("-inf")  # when what it says of its state changed last
        self.left_at = float("inf")  # when it shut down in an orderly way, until its service starts again
        self.boots = 0
        self.stalled: list[t.Callable[[], None]] = []
        self.decided: t.Callable[[Host, Evidence, Plan], None] = lambda host, evidence, plan: None
        self.service: t.Any

    @property
    def forwards(self) -> bool:
        """Do a client's packets really get out here?"""
        return self.powered and not self.frozen and self.nat and self.uplink and not self.witness

    @property
    def well(self) -> bool:
        """Does it do what it is there for?"""
        return self.running and self.serves and (self.forwards or (self.witness and self.uplink))

    @property
    def running(self) -> bool:
        return self.powered and self.service.alive and not self.frozen and not self.paused

    def reaches_ec2(self) -> bool:
        return self.powered and self.uplink and not self.frozen

    # --- what happens to it ------------------------------------------------------------------------------------------------------

    def start_service(self, settled: bool = False) -> None:
        self.boots += 1
        self.left_at = float("inf")
        self.service = self.shell(self, settled)

    def power(self, word: str) -> None:
        """Power cut or boot; a boot brings NAT back (the rules unit) and the service (systemd)."""
        self.service.alive = False
        self.boots += 1
        self.stalled = []
        self.frozen = self.paused = False
        self.powered = word == "on" and not self.broken
        if self.powered:
            self.set_nat(True)
            self._start_service_after(BOOT_SERVICE)

    def crash_service(self, away: float = RESTART) -> None:
        """The process dies; systemd starts it again."""
        if self.powered and self.service.alive:
            self.service.alive = False
            self._start_service_after(away)

    def _start_service_after(self, seconds: float) -> None:
        boots = self.boots
        self.timeline.after(seconds, lambda: self.start_service() if boots == self.boots else None)

    def set_nat(self, on: bool) -> None:
        """Forwarding or its rules are switched."""
        self.nat = on
        self.nat_off_at = float("inf") if on else self.timeline.now

    def thaw(self) -> None:
        """End of a freeze: what was due meanwhile happens now, late."""
        self.frozen = self.paused = False
        stalled, self.stalled = self.stalled, []
        for do in stalled:
            self.timeline.after(0.0, do)

    def take(self, sender: str, stamp: Stamp, report: Report | None, probe: bool) -> None:
        """A packet from a peer's service has arrived; a paused process finds it in its socket later."""
        if self.running:
            self.service.take(sender, stamp, report, probe)
        elif self.service.alive:
            service = self.service
            self.stalled.append(lambda: service.take(sender, stamp, report, probe) if service.alive else None)

    # --- what operators do ---------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """`nat-failover drain`."""
        if self.running and not self.witness and not self.service.drained_by_operator:
            self.service.order_drain()

    def resume(self) -> None:
        """`nat-failover resume`."""
        if self.running and self.service.drained_by_operator:
            self.service.order_resume()

    def shut_down(self, then: t.Callable[[], None]) -> None:
        """`systemctl reboot` or `poweroff`: the service hands over first, if it runs. ``then``: the machine is off."""

        def off() -> None:
            self.left_at = self.timeline.now
            self.power("off")
            then()

        if self.running:
            self.service.leave(off)
        elif self.powered and not self.frozen:
            self.power("off")
            then()
