# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the policy routing that drop packets of clients are told; others are nobody's business."""

from __future__ import annotations

import json

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import policy_rules
from nat_failover.model.nat import Nat

NAT = Nat(interface="ens5", sources=("10.0.0.0/16", "fd00:1::/64"))
# As iproute2 6.1 prints them.
KERNELS = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]
BLACKHOLE = {"priority": 10, "src": "10.0.10.0", "srclen": 23, "action": "blackhole"}


def told(*rules, ipv6=(), nat=NAT):
    def runner(argv, *, timeout, stdin=""):
        return 0, json.dumps([*KERNELS, *(ipv6 if "-6" in argv else rules)]), ""

    return policy_rules.dropping(nat, runner)


def test_the_rules_of_the_kernel_are_nothing_to_tell():
    assert told() == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "10: from 10.0.10.0/23 blackhole"),
        ({"action": "unreachable"}, "10: from 10.0.10.0/23 unreachable"),
        ({"action": "prohibit", "iif": "ens5"}, "10: from 10.0.10.0/23 iif ens5 prohibit"),
        ({"src": "10.0.10.7", "srclen": 32}, "10: from 10.0.10.7/32 blackhole"),
        ({"src": "10.0.0.0", "srclen": 8}, "10: from 10.0.0.0/8 blackhole"),
    ],
)
def test_a_rule_that_drops_packets_of_clients_is_told_as_ip_prints_it(changes, text):
    assert told({**BLACKHOLE, **changes}) == (text,)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "nop"},
        {"src": "192.168.0.0", "srclen": 16},
        {"src": "fd00:1::", "srclen": 64},  # in the list of another family
        {"src": "no address"},
        {"iif": "lo"},
        {"iif": "wg0"},
        {"fwmark": "0x1"},
        {"dst": "10.9.0.0", "dstlen": 16},
        {"ipproto": "tcp", "dport": 25},
        {"not": None},
    ],
)
def test_a_rule_for_others_or_for_some_packets_only_is_not_judged(changes):
    assert told({**BLACKHOLE, **changes}) == ()


def test_a_rule_without_a_source_is_for_all():
    assert told({"priority": 5, "src": "all", "action": "prohibit"}) == ("5: from all prohibit",)


def test_the_rules_of_ipv6_are_read_where_clients_have_such_addresses():
    rule = {"priority": 7, "src": "fd00::", "srclen": 16, "action": "blackhole"}
    assert told(ipv6=(rule,)) == ("7: from fd00::/16 blackhole",)
    assert told(ipv6=(rule,), nat=Nat(interface="ens5", sources=("10.0.0.0/16",))) == ()


@pytest.mark.parametrize("out", ["", "[]"])
def test_a_host_without_rules_has_none(out):
    assert policy_rules.dropping(NAT, lambda argv, **options: (0, out, "")) == ()


def test_an_ip_that_prints_no_json_is_an_error():
    with pytest.raises(NatFailoverError, match="no JSON"):
        policy_rules.dropping(NAT, lambda argv, **options: (0, "0: from all lookup local\n", ""))
