# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Linux host of this node, as the readers of this room see it.

The simulation has a host of its own.
"""

from __future__ import annotations

import typing as t

from ..host import kernel, netfilter, nic_counters, policy_rules, verdict_file
from ..host.netfilter import RulesReading
from ..host.verdict_file import ServiceVerdict
from ..model.nat import Nat
from .forwarding_facts import Finding, Subject, examine


class Host(t.Protocol):
    """The host's state. The methods that block say so, and belong into a thread."""

    def examine(self, node: Subject) -> t.Mapping[str, Finding]:
        """The result of each check by its key, in the order of the judgement."""

    def read_rules(self, nat: Nat) -> RulesReading:
        """The rules of this node, compared with the wanted ones.

        Blocks for two short commands a family, more for a table that iptables cannot print.
        """

    def read_other_tables(self, nat: Nat) -> tuple[str, ...]:
        """Rules of others in nftables that may drop clients' packets, in words.

        Blocks for a short command. Raises ``NatFailoverError`` if they cannot be read.
        """

    def read_policy_rules(self, nat: Nat) -> tuple[str, ...]:
        """Rules of the policy routing that drop packets of clients, in words.

        Blocks for a short command a family. Raises ``NatFailoverError`` if they cannot be read.
        """

    def rules_in_nftables(self) -> bool:
        """Whether the kernel reports changes of the rules. Blocks for two short commands."""

    def conntrack_fill(self) -> float:
        """How full the connection tracking table is, 0 to 1."""

    def forwarded_packets(self) -> int:
        """The count of packets that this host has forwarded since it booted."""

    def read_service(self, file: str) -> ServiceVerdict:
        """The verdict on a service in a file.

        Raises ``NatFailoverError`` for one that says nothing of this boot.
        """

    def counters(self, interface: str) -> t.Mapping[str, int]:
        """Packets for which a CPU or the instance type had no room, by counter. May block."""


class ThisHost:
    """Fits ``Host``.

    ``runner`` runs a command: (argv, *, timeout, stdin) -> (exit code, stdout, stderr).
    """

    def __init__(self, runner: netfilter.Runner) -> None:
        self._runner = runner

    @staticmethod
    def examine(node: Subject) -> t.Mapping[str, Finding]:
        return examine(node)

    def read_rules(self, nat: Nat) -> RulesReading:
        return netfilter.read_rules(nat, self._runner)

    def read_other_tables(self, nat: Nat) -> tuple[str, ...]:
        return netfilter.read_other_tables(nat, self._runner)

    def read_policy_rules(self, nat: Nat) -> tuple[str, ...]:
        return policy_rules.dropping(nat, self._runner)

    def rules_in_nftables(self) -> bool:
        return netfilter.rules_in_nftables(self._runner)

    @staticmethod
    def conntrack_fill() -> float:
        return kernel.conntrack_fill()

    @staticmethod
    def forwarded_packets() -> int:
        return kernel.forwarded_packets()

    @staticmethod
    def read_service(file: str) -> ServiceVerdict:
        return verdict_file.read(file)

    @staticmethod
    def counters(interface: str) -> t.Mapping[str, int]:
        return nic_counters.read(interface)
