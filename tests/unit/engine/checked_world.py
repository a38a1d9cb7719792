# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose kernel, rules and canary a test sets, and its check of forwarding."""

from __future__ import annotations

import asyncio
import json
import types

from nat_failover.errors import NatFailoverError
from nat_failover.host.netfilter import RulesReading
from nat_failover.host.repair_helper import SYSCTLS
from nat_failover.model.nat import Nat
from nat_failover.model.settings import TCP, Target
from nat_failover.observe import (
    canary_watch,
    capacity,
    forwarding_check,
    forwarding_facts,
    rules_reader,
    self_repair,
    traffic_watch,
)
from nat_failover.observe.forwarding_check import ForwardingCheck
from nat_failover.observe.forwarding_facts import Finding
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.timing import TimerCoalescer


class Runtime(AsyncioRuntime):
    """The canary's and the helper's sockets are those of the world, and the kernel reports what it is told to."""

    def __init__(self, world):
        super().__init__()
        self._world = world

    def open_netlink(self, protocol, groups, receiver):
        if not self._world.reports:
            return None
        self._world.notices.append(receiver.read)
        return types.SimpleNamespace(close=self._world.notices.clear)

    async def connect_unix(self, path):
        if path.endswith("repair"):
            if not self._world.helper_there:
                raise FileNotFoundError(2, "No such file or directory")
            return Lines(self._world.repair)
        if not self._world.canary_there:
            raise FileNotFoundError(2, "nobody there")
        return Lines(self._world.probe)


class Lines:
    """A connection on which each line is answered by a function of the world."""

    ended = False

    def __init__(self, answer):
        self.ask = answer

    def close(self):
        pass


class World:
    """A node whose kernel, canary and helper do as told."""

    def __init__(self, monkeypatch):
        self.ip_forward, self.rules, self.tcp_liberal = "1", "", "1"
        self.unreadable, self.foreign = "", ()
        self.answers, self.answers6 = "", ""
        self.canary_there, self.helper_works, self.undone_at_once = True, True, False
        self.helper_there, self.reports, self.in_nftables = True, False, True
        self.forwarded = 0
        self.readings = 0  # of the rules
        self.notices, self.asked, self.events = [], [], []
        self.quiet = 0
        self.facts = []  # as they were reported
        self.limits = {}
        settings = types.SimpleNamespace(
            enabled=True,
            targets=(Target(TCP, "192.0.2.1", 1),),
            minimum=1,
            timeout=0.1,
            interval=0.01,
            socket="canary",
            ipv6=None,
        )
        self.config = types.SimpleNamespace(
            canary=settings, nat=Nat(("10.0.0.0/16",), "ens5"), mode="full", repair_socket="repair"
        )
        for module, name in (
            (capacity, "READ_EVERY"),
            (forwarding_check, "CHECK_EVERY"),
            (forwarding_check, "SETTLE"),
            (canary_watch, "OFF_PAUSE"),
            (canary_watch, "RETRY"),
            (rules_reader, "EVERY"),
            (rules_reader, "OTHERS_EVERY"),
            (rules_reader, "OTHERS_PAUSE"),
            (rules_reader, "SHORTEST_PAUSE"),
            (traffic_watch, "SHORTEST"),
        ):
            monkeypatch.setattr(module, name, 0.005)
        monkeypatch.setattr(self_repair, "BURST", 0.0)  # each repair counts
        self.loop = asyncio.new_event_loop()  # one for all runs: before Python 3.10, events belong to their loop
        asyncio.set_event_loop(self.loop)
        runtime = Runtime(self)
        self.pool = runtime.pool("read", 1)
        self.forwarding_check = ForwardingCheck(
            self.config,
            self,
            runtime,
            TimerCoalescer(0.1, runtime),
            self.pool,
            source_dest_check=lambda: None,
            changed=lambda: self.facts.append(self.forwarding_check.fact),
            quiet=self.hush,
            emit=lambda kind, text, _level: self.events.append((kind, text)),
        )
        self.forwarding_check.repairs = True

    def hush(self):
        self.quiet += 1

    # --- its host ---

    def read_rules(self, nat):
        self.readings += 1
        return RulesReading(self.rules, "", {"iptables": self.unreadable} if self.unreadable else {})

    def read_other_tables(self, nat):
        if self.foreign is None:
            raise NatFailoverError("nft failed (127)")
        return self.foreign

    def read_policy_rules(self, nat):
        return ()

    def rules_in_nftables(self):
        return self.in_nftables

    def conntrack_fill(self):
        return 0.0

    def forwarded_packets(self):
        return self.forwarded

    def counters(self, interface):
        return self.limits

    def examine(self, node):
        return {
            "ip_forward": Finding(
                self.ip_forward, "" if self.ip_forward == "1" else f"ip_forward={self.ip_forward}", SYSCTLS
            ),
            "rules": forwarding_facts.rules(node),
            "foreign_rules": forwarding_facts.foreign_rules(node),
            "tcp_liberal": Finding(
                None, "tcp_be_liberal=0" if self.tcp_liberal == "0" else "", SYSCTLS, "run the role again"
            ),
        }

    # --- its canary and its helper ---

    async def probe(self, line):
        problem = self.answers6 if ":" in json.loads(line)["host"] else self.answers
        return json.dumps({"problem": problem}).encode()

    async def repair(self, word):
        self.asked.append(word.decode())
        if not self.helper_works:
            return b"failed: no"
        if not self.undone_at_once:
            if word == b"sysctls":
                self.ip_forward = self.tcp_liberal = "1"
            else:
                self.rules = self.unreadable = ""
        return b"mended"

    def run(self, *steps):
        """Run the loops; each step is (change or None, condition to wait for)."""

        async def body():
            tasks = [asyncio.ensure_future(work) for work in self.forwarding_check.work()]
            try:
                for change, condition in steps:
                    if change:
                        change()
                    for _count in range(1000):
                        if condition() or any(task.done() for task in tasks):
                            break
                        await asyncio.sleep(0.005)
                    assert condition(), (self.forwarding_check.fact, self.events)
            finally:
                for task in tasks:
                    task.cancel()
                found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in found), found

        self.loop.run_until_complete(body())

    def set(self, **values):
        return lambda: self.__dict__.update(values)

    def well(self):
        return self.forwarding_check.complete and self.forwarding_check.fact == ""
