# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the network between the nodes: cuts in one direction, and random loss. Delay is not modelled: it is far below a tick."""

from __future__ import annotations

import random
import typing as t

from nat_failover.model import Report

if t.TYPE_CHECKING:
    from .host import Host


class Network:
    """``cut`` holds (from, to) pairs that no packet passes; ``loss`` is the probability for each other packet."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.hosts: t.Dict[str, "Host"] = {}
        self.cut: t.Set[t.Tuple[str, str]] = set()
        self.no_icmp = False
        self.loss = 0.0

    def passes(self, sender: str, receiver: str) -> bool:
        """Does one packet arrive at the receiver's kernel?"""
        if (sender, receiver) in self.cut or not self.hosts[sender].uplink or not self.hosts[receiver].uplink:
            return False
        target = self.hosts[receiver]
        return target.powered and not target.frozen and (not self.loss or self.rng.random() >= self.loss)

    def send(self, sender: "Host", receiver: str, report: Report) -> None:
        """A heartbeat."""
        if self.passes(sender.name, receiver):
            self.hosts[receiver].hear(sender.name, report)

    def probe(self, sender: "Host", receiver: str, report: t.Optional[Report]) -> None:
        """A probe, which a service that runs answers at once."""
        if self.passes(sender.name, receiver):
            target = self.hosts[receiver]
            if report is not None:
                target.hear(sender.name, report)
            if target.running and target.judged and self.passes(receiver, sender.name):
                sender.hear(receiver, target.report())

    def echo(self, sender: str, receiver: str) -> bool:
        """An ICMP echo: the kernel answers, whatever the service does."""
        there = not self.no_icmp and self.passes(sender, receiver)
        return there and self.passes(sender=receiver, receiver=sender)
