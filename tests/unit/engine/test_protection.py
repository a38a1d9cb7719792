# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that protect the node itself and the metadata service, and a node that goes on without them."""

from __future__ import annotations

import pwd
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import netfilter, users, wanted_rules
from nat_failover.model.nat import Opening
from tests.unit.engine.pretended_iptables import Iptables

from .rules_case import BOTH, GUARDED, NAT


@pytest.fixture
def iptables():
    return Iptables()


def test_no_client_reaches_link_local_addresses_through_the_node_or_on_it():
    four, six = wanted_rules.rules(NAT), wanted_rules.rules(BOTH, "ip6tables")
    assert four[wanted_rules.FORWARD][0] == "-A NAT-FAILOVER-FORWARD -d 169.254.0.0/16 -i ens5 -j DROP"
    assert four[wanted_rules.INPUT] == ("-A NAT-FAILOVER-INPUT -d 169.254.0.0/16 -i ens5 -j DROP",)
    assert six[wanted_rules.FORWARD][:2] == (
        "-A NAT-FAILOVER-FORWARD -d fe80::/10 -i ens5 -j DROP",
        "-A NAT-FAILOVER-FORWARD -d fd00:ec2::/32 -i ens5 -j DROP",
    )
    assert "fe80" not in str(six[wanted_rules.INPUT]), "the node's router speaks to its link-local address"
    assert not any(wanted_rules.rules(NAT, "ip6tables").values()), "no rule of a family without clients"


def test_the_metadata_service_answers_named_users_and_those_of_the_system_only():
    four, six = (wanted_rules.rules(GUARDED, command, (0, 7))[wanted_rules.OUTPUT] for command in wanted_rules.COMMANDS)
    assert four == (
        "-A NAT-FAILOVER-OUTPUT -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -m owner --uid-owner 0 -j RETURN",
        "-A NAT-FAILOVER-OUTPUT -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -m owner --uid-owner 7 -j RETURN",
        "-A NAT-FAILOVER-OUTPUT -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset",
    )
    assert [rule.replace("fd00:ec2::254/128", "169.254.169.254/32") for rule in six] == [*four]
    assert wanted_rules.rules(BOTH)[wanted_rules.OUTPUT] == (), "only if asked for"


OPEN = replace(
    BOTH,
    openings=(
        Opening("tcp", 22, "10.0.9.0/24"),
        Opening("udp", 161, "0.0.0.0/0"),
        Opening("tcp", 22, "fd00:9::/64"),
    ),
    heartbeat_port=4711,
)


def test_the_node_lets_in_what_it_needs_and_what_is_named_and_refuses_the_rest():
    four, six = (
        [rule[len("-A NAT-FAILOVER-INPUT ") :] for rule in wanted_rules.rules(OPEN, command)[wanted_rules.INPUT]]
        for command in wanted_rules.COMMANDS
    )
    assert four == [
        "-d 169.254.0.0/16 -i ens5 -j DROP",
        "-i ens5 -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-i ens5 -p icmp -j RETURN",
        "-i ens5 -p udp -m udp --sport 67 --dport 68 -j RETURN",
        "-i ens5 -p udp -m udp --dport 4711 -j RETURN",
        "-s 10.0.9.0/24 -i ens5 -p tcp -m tcp --dport 22 -j RETURN",
        "-i ens5 -p udp -m udp --dport 161 -j RETURN",
        "-i ens5 -j DROP",
    ]
    assert six == [
        "-d fd00:ec2::/32 -i ens5 -j DROP",
        "-i ens5 -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-i ens5 -p ipv6-icmp -j RETURN",
        "-i ens5 -p udp -m udp --sport 547 --dport 546 -j RETURN",
        "-s fd00:9::/64 -i ens5 -p tcp -m tcp --dport 22 -j RETURN",
        "-i ens5 -j DROP",
    ]
    assert len(wanted_rules.rules(BOTH)[wanted_rules.INPUT]) == 1, "only if asked for"


def test_ports_are_closed_and_opened_again(iptables):
    netfilter.apply_rules(BOTH, iptables)
    before = str(iptables.families)
    assert "no rule -A NAT-FAILOVER-INPUT" in netfilter.differences(OPEN, iptables)[0]
    assert netfilter.apply_rules(OPEN, iptables) is True
    assert netfilter.apply_rules(OPEN, iptables) is False
    assert netfilter.apply_rules(BOTH, iptables) is True
    assert str(iptables.families) == before


def test_users_are_looked_up_and_one_that_is_none_is_left_out(iptables):
    netfilter.apply_rules(GUARDED, iptables)
    wanted = {0, pwd.getpwnam("daemon").pw_uid}
    shown = iptables.tables["filter"]["NAT-FAILOVER-OUTPUT"]
    assert {int(rule.split()[13]) for rule in shown if "owner" in rule} >= wanted
    assert users.missing(GUARDED.imds_users) == ("nobody there",)
    assert netfilter.apply_rules(GUARDED, iptables) is False
    assert netfilter.apply_rules(BOTH, iptables) is True
    assert "NAT-FAILOVER-OUTPUT" not in str(iptables.families)


@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT"])
def test_a_node_without_its_protection_forwards_and_the_protection_comes_back(iptables, chain):
    netfilter.apply_rules(GUARDED, iptables)
    iptables.tables["filter"][chain].clear()
    reading = netfilter.read_rules(GUARDED, iptables)
    assert reading.missing == "" and f"no jump from {chain}" in reading.unguarded
    assert f"unprotected: iptables -t filter: no jump from {chain} to NAT-FAILOVER-{chain}" in netfilter.differences(
        GUARDED, iptables
    )
    assert netfilter.apply_rules(GUARDED, iptables) is True
    assert netfilter.differences(GUARDED, iptables) == []


def test_a_kernel_that_refuses_the_protection_forwards_all_the_same(iptables):
    def without_owner(argv, *, timeout, stdin=""):
        if "--uid-owner" in stdin:
            return 2, "", "Extension owner revision 0 not supported, missing kernel module?"
        return iptables(argv, timeout=timeout, stdin=stdin)

    with pytest.raises(NatFailoverError, match=r"protect this node itself are not in place: .*missing kernel module"):
        netfilter.apply_rules(GUARDED, without_owner)
    reading = netfilter.read_rules(GUARDED, without_owner)
    assert reading.missing == "" and reading.unguarded != ""
