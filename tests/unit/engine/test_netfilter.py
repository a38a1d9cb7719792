# SPDX-License-Identifier: GPL-3.0-or-later
"""This node's rules, on a pretended iptables. The real one is tried in the lab."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import netfilter
from tests.unit.engine.pretended_iptables import Iptables

from .rules_case import BOTH, NAT, ROUTED, missing, rules


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"iptables-save": "v1.8.9 (nf_tables)", "ip6tables-save": "v1.8.9 (nf_tables)"}, True),
        ({"iptables-save": "v1.8.9 (nf_tables)"}, True),
        ({"iptables-save": "v1.8.4 (legacy)", "ip6tables-save": "v1.8.4 (legacy)"}, False),
        ({"iptables-save": "v1.8.9 (nf_tables)", "ip6tables-save": "v1.8.9 (legacy)"}, False),
        ({"iptables-save": "v1.4.21"}, False),
        ({}, False),
    ],
)
def test_only_nf_tables_tells_of_changes(said, told):
    def runner(argv, *, timeout):
        assert argv[1:] == ["--version"]
        return (0, f"{argv[0]} {said[argv[0]]}\n", "") if argv[0] in said else (127, "", "not there")

    assert netfilter.rules_in_nftables(runner) is told


@pytest.fixture
def iptables():
    return Iptables()


def test_applied_once_and_then_left_alone(iptables):
    assert "no jump from POSTROUTING" in missing(NAT, iptables)
    assert netfilter.apply_rules(NAT, iptables) is True
    assert missing(NAT, iptables) == ""
    assert netfilter.apply_rules(NAT, iptables) is False
    assert iptables.ran.count("iptables-restore") == 3, "one a table, and one for what protects the node"


def test_masquerade_is_for_the_sources_going_out_and_not_among_them(iptables):
    nat = rules(NAT)["nat"]
    assert nat[0] == "-A NAT-FAILOVER-POSTROUTING -d 10.0.0.0/16 -j RETURN"
    assert nat[-1] == "-A NAT-FAILOVER-POSTROUTING -s 172.16.0.0/12 -o ens5 -j MASQUERADE"


def test_our_jump_comes_before_a_drop_of_others_and_theirs_stays(iptables):
    netfilter.apply_rules(NAT, iptables)
    assert iptables.tables["filter"]["FORWARD"] == [
        "-A FORWARD -j NAT-FAILOVER-FORWARD",
        "-A FORWARD -s 192.0.2.1/32 -j DROP",
    ]


def test_segments_are_clamped_on_both_ways_only_when_asked_for(iptables):
    netfilter.apply_rules(NAT, iptables)
    assert iptables.tables["mangle"] == Iptables().tables["mangle"]
    clamped = replace(NAT, clamp_mss="1360")
    assert netfilter.apply_rules(clamped, iptables) is True
    assert netfilter.apply_rules(clamped, iptables) is False
    assert iptables.tables["mangle"]["NAT-FAILOVER-MSS"][:2] == [
        "-A NAT-FAILOVER-MSS -s 10.0.0.0/16 -o ens5 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1360",
        "-A NAT-FAILOVER-MSS -d 10.0.0.0/16 -i ens5 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1360",
    ]
    assert iptables.tables["mangle"]["FORWARD"][0] == "-A FORWARD -j NAT-FAILOVER-MSS"
    assert "no rule" in missing(replace(NAT, clamp_mss="pmtu"), iptables)
    assert "NAT-FAILOVER-MSS is not configured any more" in netfilter.left_over_rules(NAT, iptables)
    assert netfilter.apply_rules(NAT, iptables) is True
    assert iptables.tables["mangle"] == Iptables().tables["mangle"], "no trace, and somebody else's rule is still there"


def test_each_family_has_its_own_rules():
    assert ":" not in str([rule for rules in rules(BOTH).values() for rule in rules])
    assert rules(BOTH) == rules(replace(NAT, sources=("10.0.0.0/16",)))
    six = rules(BOTH, "ip6tables")
    assert six["nat"] == (
        "-A NAT-FAILOVER-POSTROUTING -d fd00:1::/48 -j RETURN",
        "-A NAT-FAILOVER-POSTROUTING -d 2001:db8::/56 -j RETURN",
        "-A NAT-FAILOVER-POSTROUTING -s fd00:1::/48 -o ens5 -j MASQUERADE",
        "-A NAT-FAILOVER-POSTROUTING -s 2001:db8::/56 -o ens5 -j MASQUERADE",
    )
    special = [rule for rule in six["filter"] if "fe80" in rule or "fd00:ec2" in rule]
    assert [
        rule.replace("fd00:1::/48", "10.0.0.0/16")
        for rule in six["filter"]
        if "2001" not in rule and rule not in special
    ] == list(rules(BOTH)["filter"][1:]), "the same for both families, beside addresses of EC2 itself"


def test_what_is_only_forwarded_keeps_its_address_and_its_flows():
    six = rules(ROUTED, "ip6tables")
    assert six["nat"] == ()
    assert "-A NAT-FAILOVER-FORWARD -s 2001:db8::/56 -o ens5 -j ACCEPT" in six["filter"]
    assert "REJECT" not in str(six), "a flow of the other node goes on here"
    assert rules(ROUTED) == rules(BOTH), "IPv4 is masqueraded all the same"


@pytest.mark.parametrize("nat", [BOTH, ROUTED], ids=["masquerade", "forward"])
def test_both_families_are_applied_once_and_looked_at(iptables, nat):
    assert netfilter.apply_rules(nat, iptables) is True
    assert netfilter.apply_rules(nat, iptables) is False
    assert missing(nat, iptables) == netfilter.left_over_rules(nat, iptables) == ""
    assert iptables.tables6["filter"]["FORWARD"][0] == "-A FORWARD -j NAT-FAILOVER-FORWARD"
    iptables.tables6["filter"]["FORWARD"].pop(0)
    assert missing(nat, iptables) == "ip6tables -t filter: no jump from FORWARD to NAT-FAILOVER-FORWARD"
    assert netfilter.apply_rules(nat, iptables) is True
    assert missing(nat, iptables) == ""


def test_looking_costs_nothing_for_a_family_without_sources(iptables):
    netfilter.apply_rules(NAT, iptables)
    iptables.ran.clear()
    assert missing(NAT, iptables) == ""
    assert iptables.ran == ["iptables-save"] * 2


@pytest.mark.parametrize(("before", "after"), [(BOTH, NAT), (BOTH, ROUTED), (ROUTED, NAT)])
def test_what_is_not_asked_for_any_more_is_seen_and_goes(iptables, before, after):
    netfilter.apply_rules(before, iptables)
    assert "is not configured any more" in netfilter.left_over_rules(after, iptables)
    assert netfilter.apply_rules(after, iptables) is True
    assert netfilter.left_over_rules(after, iptables) == ""
    other = Iptables()
    netfilter.apply_rules(after, other)
    assert iptables.families == other.families


def test_without_ip6tables_ipv4_works_and_ipv6_is_an_error(iptables):
    iptables.lacking = ("ip6tables", "ip6tables-save", "ip6tables-restore")
    assert netfilter.apply_rules(NAT, iptables) is True
    assert netfilter.left_over_rules(NAT, iptables) == ""
    with pytest.raises(NatFailoverError, match=r"ip6tables-save failed \(127\)"):
        netfilter.apply_rules(BOTH, iptables)
    assert netfilter.remove_rules(iptables) is True


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t["nat"]["POSTROUTING"].clear(), "no jump from POSTROUTING"),
        (lambda t: t["filter"]["FORWARD"].pop(0), "no jump from FORWARD"),
        (
            lambda t: t["nat"]["NAT-FAILOVER-POSTROUTING"].pop(),
            "no rule -A NAT-FAILOVER-POSTROUTING -s 172.16.0.0/12 -o ens5 -j MASQUERADE",
        ),
        (lambda t: t["nat"]["NAT-FAILOVER-POSTROUTING"].reverse(), "another order"),
        (lambda t: t["filter"]["NAT-FAILOVER-FORWARD"].append("-A NAT-FAILOVER-FORWARD -j DROP"), "holds other rules"),
    ],
)
def test_whatever_is_missing_is_named_and_mended(iptables, spoil, words):
    netfilter.apply_rules(NAT, iptables)
    spoil(iptables.tables)
    assert words in missing(NAT, iptables)
    assert netfilter.apply_rules(NAT, iptables) is True
    assert missing(NAT, iptables) == ""


def test_another_interface_is_another_set_of_rules(iptables):
    netfilter.apply_rules(replace(NAT, interface="eth0"), iptables)
    assert "ens5" in missing(NAT, iptables)


@pytest.mark.parametrize("nat", [NAT, BOTH])
def test_removed_without_a_trace_and_without_touching_others(iptables, nat):
    netfilter.apply_rules(nat, iptables)
    assert netfilter.remove_rules(iptables) is True
    assert iptables.families == Iptables().families
    assert netfilter.remove_rules(iptables) is False


def test_a_failing_iptables_is_one_error_with_a_remedy(iptables):
    iptables.broken = "Permission denied (you must be root)\n"
    failed = r"iptables-save failed \(4\): Permission denied .*CAP_NET_ADMIN"
    with pytest.raises(NatFailoverError, match=failed):
        netfilter.apply_rules(NAT, iptables)
    reading = netfilter.read_rules(NAT, iptables)
    assert reading.missing == "" and re.match(failed, reading.unreadable["iptables"])
