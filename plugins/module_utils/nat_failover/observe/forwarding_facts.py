# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this node NAT? Facts of its own kernel, judged in order, and a check that the internet answers it."""

from __future__ import annotations

import asyncio
import typing as t
from dataclasses import dataclass

from ..config.targets import Target
from ..errors import NatFailoverError
from ..host import kernel as system
from ..host.repair_helper import RULES, SYSCTLS
from ..model.settings import MASQUERADE, Nat
from ..wire.prober import ProbeImpossible, Prober, Reach

CONNTRACK_FULL = 0.98  # above this, new flows are dropped while old ones go on
STAGGER = 0.1  # seconds before a further target is tried beside one that has not answered yet


@dataclass(frozen=True)
class Ipv6Facts:
    """What was found of IPv6. ``addressed``: masquerading needs an address of the node's own."""

    forwarding: str
    accept_ra: str
    default_routes: t.Tuple[str, ...]
    addressed: bool


@dataclass(frozen=True)
class Facts:
    """What was found. ``source_dest_check`` is EC2's word; None: not known yet."""

    ip_forward: str
    interface_problem: str
    interface: str
    default_routes: t.Tuple[str, ...]
    rules_problem: str
    conntrack_fill: float
    source_dest_check: t.Optional[bool]
    ipv6: t.Optional[Ipv6Facts] = None  # None: this node forwards no IPv6
    tcp_liberal: str = ""  # see system.LIBERAL; empty where nothing is tracked


def rules_problem(nat: Nat, runner: system.Runner) -> str:
    """What is wrong with the rules, in words. Blocks for the length of two short iptables commands a family."""
    try:
        return system.missing_rules(nat, runner)
    except NatFailoverError as error:
        return str(error)  # a proof that cannot be had is no proof


def gather_facts(nat: Nat, problem: str, source_dest_check: t.Optional[bool]) -> Facts:
    """Look at this host: a few files of the kernel. ``problem``: what ``rules_problem`` said lately."""
    return Facts(
        ip_forward=system.read_sysctl("net/ipv4/ip_forward"),
        interface_problem=system.interface_problem(nat.interface),
        interface=nat.interface,
        default_routes=tuple(system.default_routes()),
        rules_problem=problem,
        conntrack_fill=system.conntrack_fill(),
        source_dest_check=source_dest_check,
        ipv6=_gather_ipv6(nat) if nat.has_ipv6 else None,
        tcp_liberal=system.read_sysctl(system.LIBERAL),
    )


def _gather_ipv6(nat: Nat) -> Ipv6Facts:
    return Ipv6Facts(
        forwarding=system.read_sysctl("net/ipv6/conf/all/forwarding"),
        accept_ra=system.read_sysctl("net/ipv6/conf/%s/accept_ra" % nat.interface),
        default_routes=tuple(system.ipv6_default_routes()),
        addressed=nat.ipv6 != MASQUERADE or bool(system.ipv6_addresses(nat.interface)),
    )


def judge_facts(facts: Facts) -> str:
    """The first failing fact in words; empty when this node can forward as far as its own kernel and EC2 say."""
    table = (
        (facts.ip_forward == "1", "ip_forward=%s" % (facts.ip_forward or "unreadable")),
        (not facts.interface_problem, facts.interface_problem),
        (facts.interface in facts.default_routes, "no default route by interface %s" % facts.interface),
        (not facts.rules_problem, facts.rules_problem),
        (facts.conntrack_fill < CONNTRACK_FULL, "conntrack table %d %% full" % (facts.conntrack_fill * 100)),
        (facts.source_dest_check is not True, "source/dest check is on"),
        *(_ipv6_table(facts.ipv6, facts.interface) if facts.ipv6 is not None else ()),
    )
    return next((problem for good, problem in table if not good), "")


def _ipv6_table(facts: Ipv6Facts, interface: str) -> t.Tuple[t.Tuple[bool, str], ...]:
    deaf = "" if facts.accept_ra == "2" else " (accept_ra=%s)" % (facts.accept_ra or "unreadable")
    return (
        (facts.forwarding == "1", "ipv6 forwarding=%s" % (facts.forwarding or "unreadable")),
        (facts.addressed, "interface %s has no IPv6 address" % interface),
        (interface in facts.default_routes, "no IPv6 default route by interface %s%s" % (interface, deaf)),
    )


def mendable(facts: Facts) -> t.Dict[str, str]:
    """What of this the root helper can mend: its word, and what is broken."""
    six = facts.ipv6
    # Where advertisements are read by somebody else (systemd-networkd), the kernel's accept_ra is 0 and the route is there.
    deaf = six is not None and six.accept_ra != "2" and facts.interface not in six.default_routes
    still = facts.ip_forward != "1" or (six is not None and six.forwarding != "1")
    table = (
        (still or deaf, SYSCTLS, judge_facts(facts)),
        (facts.tcp_liberal == "0", SYSCTLS, "nf_conntrack_tcp_be_liberal=0"),
        (bool(facts.rules_problem), RULES, facts.rules_problem),
    )
    found: t.Dict[str, str] = {}
    for broken, word, text in table:
        if broken:
            found.setdefault(word, text)
    return found


class InternetCheck:
    """Asks a few targets (by ``reach``: who asks, and from where); fine when ``minimum`` of them answer within ``timeout`` seconds each.

    Each round begins with another target and asks more only when an answer is late, so that a fleet does not hammer one of them.
    """

    def __init__(
        self,
        targets: t.Sequence[Target],
        *,
        minimum: int,
        timeout: float,
        reach: Reach,
    ) -> None:
        self._targets = list(targets)
        self._minimum = minimum
        self._timeout = timeout
        self._first = 0
        self._reach = reach

    async def run(self) -> t.Tuple[bool, str]:
        """(fine, what was seen in words)."""
        waiting = self._targets[self._first :] + self._targets[: self._first]
        self._first = (self._first + 1) % len(self._targets)
        running: t.Set["asyncio.Future[str]"] = set()
        answered, problems = 0, []
        try:
            while answered < self._minimum and (waiting or running):
                while waiting and len(running) < self._minimum - answered:
                    running.add(self._start(waiting.pop(0)))
                done, running = await asyncio.wait(
                    running, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    running.add(self._start(waiting.pop(0)))
                for task in done:
                    problem = task.result()
                    answered += not problem
                    problems += [problem] if problem else []
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        ok = answered >= self._minimum
        return ok, "%d of %d answered" % (answered, self._minimum) if ok else "; ".join(problems)

    def _start(self, target: Target) -> "asyncio.Future[str]":
        return asyncio.ensure_future(self._reach(target, self._timeout))


def from_here(prober: Prober) -> Reach:
    """A node's own way to a target, past its own rules; what it cannot ask has not answered."""

    async def reach(target: Target, timeout: float) -> str:
        try:
            return await prober.reach(target, timeout)
        except ProbeImpossible as error:
            return "%s: %s" % (target, error)

    return reach
