# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the network between the nodes: cuts in one direction, random loss, loss in bursts, delay and jitter."""

from __future__ import annotations

import random
import typing as t

from nat_failover.model.evidence import Report

from .timeline import Timeline

if t.TYPE_CHECKING:
    from .host import Host

Stamp = tuple[int, float]  # boot of the sending service, time of sending: what boot ids and sequence numbers tell


OUTAGE = 0.3  # seconds


class Bursts:
    """Gilbert and Elliott's model of one direction of a link: it is good or bad for exponentially distributed times; nothing passes while bad."""

    def __init__(self, rng: random.Random, good: float, bad: float, now: float) -> None:
        """``good``, ``bad``: mean seconds of each state."""
        self.rng, self.good, self.bad = rng, good, bad
        self.lossy = rng.random() < bad / (good + bad)
        self.since = now
        self.until = now + rng.expovariate(1 / (bad if self.lossy else good))

    def passes(self, now: float) -> bool:
        while self.until <= now:
            self.lossy = not self.lossy
            self.since = self.until
            self.until += self.rng.expovariate(1 / (self.bad if self.lossy else self.good))
        return not self.lossy

    def outage(self, now: float) -> bool:
        """Is this a burst so long that it is no mere loss?"""
        return not self.passes(now) and self.until - self.since > OUTAGE


class Network:
    """``cut`` holds (from, to) pairs that no packet passes; ``loss`` is the probability for each other packet."""

    def __init__(self, rng: random.Random, timeline: Timeline) -> None:
        self.rng, self.timeline = rng, timeline
        self.hosts: dict[str, Host] = {}
        self.cut: set[tuple[str, str]] = set()
        self.no_icmp = False
        self.loss = 0.0
        self.bursts: dict[tuple[str, str], Bursts] = {}
        self.delay = self.jitter = 0.0  # seconds one way; both zero: far below a tick, and packets arrive at once

    @property
    def fine(self) -> bool:
        """Nothing is done to packets now."""
        return not (self.cut or self.loss or self.bursts or self.delay or self.no_icmp)

    def disturbed(self) -> bool:
        """Is some link cut, or lost in bursts? Other loss is no excuse: two protocols and tens of probes must see through it."""
        return bool(self.cut or self.bursts)

    def heal(self) -> None:
        self.cut.clear()
        self.bursts.clear()
        self.loss, self.no_icmp, self.delay, self.jitter = 0.0, False, 0.0, 0.0

    def _leaves(self, sender: str, receiver: str) -> bool:
        """Does one packet get through to the receiver's link?"""
        if (sender, receiver) in self.cut or not self.hosts[sender].uplink or not self.hosts[receiver].uplink:
            return False
        if self.loss and self.rng.random() < self.loss:
            return False
        bursts = self.bursts.get((sender, receiver)) if self.bursts else None
        return bursts is None or bursts.passes(self.timeline.now)

    def _carry(self, sender: str, receiver: str, deliver: t.Callable[[Host], None]) -> None:
        """One packet, to a kernel that lives when it arrives."""
        if not self._leaves(sender, receiver):
            return
        target = self.hosts[receiver]
        if self.delay or self.jitter:
            seconds = self.delay + self.jitter * self.rng.random()
            self.timeline.after(
                seconds, lambda: deliver(target) if target.powered and not target.frozen and target.uplink else None
            )
        elif target.powered and not target.frozen:
            deliver(target)

    def send(self, sender: str, receiver: str, report: Report) -> None:
        """A heartbeat."""
        stamp = self.hosts[sender].boots, self.timeline.now
        self._carry(sender, receiver, lambda target: target.take(sender, stamp, report, False))

    def datagram(self, sender: str, receiver: str, data: bytes) -> None:
        """A UDP datagram of the shipping service."""
        self._carry(sender, receiver, lambda target: target.service.arrive(sender, data))

    def ping(self, sender: str, receiver: str, answered: t.Callable[[], None]) -> None:
        """An ICMP echo of the shipping service. The kernel answers, whatever the service there does."""
        if not self.no_icmp:
            self._carry(sender, receiver, lambda _target: self._carry(receiver, sender, lambda _host: answered()))

    def probe(self, sender: str, receiver: str, report: Report | None) -> None:
        """A probe, which a service that runs answers at once."""
        stamp = self.hosts[sender].boots, self.timeline.now
        self._carry(sender, receiver, lambda target: target.take(sender, stamp, report, True))

    def echo(self, sender: str, receiver: str) -> None:
        """An ICMP echo: the kernel answers, whatever the service does."""
        if self.no_icmp:
            return
        asked = self.hosts[sender].service

        def answered(host: Host) -> None:
            if host.running and host.service is asked:
                asked.echoed(receiver)

        self._carry(sender, receiver, lambda _target: self._carry(receiver, sender, answered))
