# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that are wanted, and the first one that is missing."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.host import netfilter, wanted_rules
from nat_failover.model.nat import Nat


def missing(nat, runner):
    """The first rule that is missing."""
    reading = netfilter.read_rules(nat, runner)
    assert not reading.unreadable, reading
    return reading.missing


def rules(nat, command="iptables"):
    """The wanted rules of forwarding by table."""
    wanted = wanted_rules.rules(nat, command)
    return {chain.table: lines for chain, lines in wanted.items() if chain not in wanted_rules.GUARDS}


NAT = Nat(("10.0.0.0/16", "172.16.0.0/12"), "ens5")
BOTH = Nat(("10.0.0.0/16", "fd00:1::/48", "2001:db8::/56"), "ens5")
ROUTED = replace(BOTH, ipv6="forward")
GUARDED = replace(BOTH, imds_users=("daemon", "nobody there"))
