# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of others beside those of the node: no repair touches them, and one that may drop is told."""

from __future__ import annotations

from random import Random

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import netfilter
from tests.unit.engine.pretended_iptables import Iptables

from .rules_case import GUARDED, NAT, missing


@pytest.fixture
def iptables():
    return Iptables()


NATIVE = 'nft [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, %s]'
ACCEPTS, DROPS = NATIVE % '{"accept": null}', NATIVE % '{"drop": null}'
OURS = {"nat": "POSTROUTING", "filter": "FORWARD"}
BUILT_IN = {"nat": ("POSTROUTING",), "filter": ("INPUT", "FORWARD", "OUTPUT")}


def spoiled(random, iptables):
    """Native rules in any chain, copies of the jumps, own chains that are changed; what is foreign is returned."""
    for tables in iptables.families.values():
        for table, chains in ((table, tables[table]) for table in BUILT_IN):
            for name in random.sample(sorted(chains), random.randint(0, len(chains))):
                chains[name].insert(random.randint(0, len(chains[name])), random.choice((ACCEPTS, DROPS)))
            for built_in in BUILT_IN[table]:
                jumps = [rule for rule in chains[built_in] if "NAT-FAILOVER" in rule]
                for _copy in range(random.choice((0, 0, 1, 4)) if jumps else 0):
                    chains[built_in].insert(random.randint(0, len(chains[built_in])), jumps[0])
                if jumps and random.random() < 0.2:
                    chains[built_in] = [rule for rule in chains[built_in] if rule not in jumps]
    return foreign(iptables)


def foreign(iptables):
    return {
        (command, table, name): [rule for rule in rules if "NAT-FAILOVER" not in rule]
        for command, tables in iptables.families.items()
        for table, chains in tables.items()
        for name, rules in chains.items()
        if "NAT-FAILOVER" not in name
    }


@pytest.mark.parametrize("seed", range(200))
def test_no_repair_ever_piles_up_jumps_or_touches_rules_of_others_whatever_iptables_can_print(iptables, seed):
    random = Random(seed)
    if random.random() < 0.3:
        iptables.lacking = ("nft",)
    netfilter.apply_rules(GUARDED, iptables)
    strangers = spoiled(random, iptables)
    netfilter.apply_rules(GUARDED, iptables)
    assert netfilter.apply_rules(GUARDED, iptables) is False, "the second repair finds nothing to do"
    assert netfilter.differences(GUARDED, iptables) == []
    assert netfilter.read_rules(GUARDED, iptables)[:4] == ("", "", {}, "")
    assert foreign(iptables) == strangers
    for tables in iptables.families.values():
        for chain in (tables[table][built_in] for table, built_ins in BUILT_IN.items() for built_in in built_ins):
            jumps = [rule for rule in chain if "NAT-FAILOVER" in rule]
            readable = not iptables.lacking or not any(rule.startswith("nft") for rule in chain)
            assert len(jumps) == 1 or (jumps and not readable), "copies are only counted where the chain is readable"
    assert netfilter.remove_rules(iptables) is True
    assert "NAT-FAILOVER" not in str(iptables.families)
    assert foreign(iptables) == strangers


def test_a_chain_that_iptables_cannot_print_is_compared_all_the_same(iptables):
    netfilter.apply_rules(NAT, iptables)
    iptables.tables["filter"]["INPUT"].append(ACCEPTS)
    assert missing(NAT, iptables) == "" and netfilter.apply_rules(NAT, iptables) is False
    iptables.tables["filter"]["NAT-FAILOVER-FORWARD"].pop()
    assert "no rule -A NAT-FAILOVER-FORWARD -s 172.16.0.0/12" in missing(NAT, iptables)
    iptables.tables["filter"]["FORWARD"] = [ACCEPTS]
    assert "no jump from FORWARD" in missing(NAT, iptables)
    assert netfilter.apply_rules(NAT, iptables) is True
    assert iptables.tables["filter"]["FORWARD"] == ["-A FORWARD -j NAT-FAILOVER-FORWARD", ACCEPTS]


def test_neither_text_nor_nft_nor_an_answer_is_unreadable_and_nothing_is_changed(iptables):
    netfilter.apply_rules(NAT, iptables)
    before = str(iptables.families)

    def blind(argv, *, timeout, stdin=""):
        assert "-D" not in argv and not argv[0].endswith("-restore")
        if argv[0].endswith("-save"):
            return 0, "# Table `nat' is incompatible, use 'nft' tool.\n", ""
        return (1, "", "") if "-S" in argv else (4, "", "Permission denied")

    reading = netfilter.read_rules(NAT, blind)
    assert reading.missing == "" and "Permission denied" in reading.unreadable["iptables"]
    for act in (netfilter.apply_rules, netfilter.differences):
        with pytest.raises(NatFailoverError, match="Permission denied"):
            act(NAT, blind)
    assert str(iptables.families) == before


@pytest.mark.parametrize(
    ("table", "rule", "told"),
    [
        ("filter", "-A FORWARD -s 192.0.2.1/32 -j DROP", True),
        (
            "filter",
            '-A FORWARD -i ens5 -m comment --comment "a -j b" -j REJECT --reject-with icmp-port-unreachable',
            True,
        ),
        ("filter", "-A FORWARD -i ens+ -j NFQUEUE --queue-num 0", True),
        ("filter", "-A FORWARD -j RETURN", True),
        ("filter", "-A FORWARD -j TARPIT", True),
        ("filter", DROPS, True),
        ("filter", ACCEPTS, False),
        ("filter", "-A FORWARD -i docker0 -j DROP", False),
        ("filter", "-A FORWARD ! -o ens5 -j DROP", False),
        ("filter", "-A FORWARD ! -i ens6 -o ens5 -j DROP", True),
        ("filter", "-A FORWARD -j LOG --log-prefix drop", False),
        ("filter", "-A FORWARD -j ACCEPT", False),
        ("filter", "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", False),
        ("nat", "-A POSTROUTING -s 10.0.1.0/24 -j ACCEPT", True),
        ("nat", "-A POSTROUTING -s 10.0.1.0/24 -j RETURN", True),
        ("nat", "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", False),
        ("nat", "-A POSTROUTING -o ens5 -j SNAT --to-source 10.0.77.77", True),
        ("nat", "-A POSTROUTING -s 10.0.1.0/24 -j NETMAP --to 10.0.9.0/24", True),
        ("nat", "-A POSTROUTING -o docker0 -j SNAT --to-source 172.17.0.1", False),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_rule_of_others_before_this_nodes_own_that_may_drop_is_told_with_its_text(
    iptables, table, rule, told, before
):
    iptables.tables["filter"]["FORWARD"].clear()
    netfilter.apply_rules(NAT, iptables)
    chain = iptables.tables[table][OURS[table]]
    chain.insert(0 if before else len(chain), rule)
    found = netfilter.read_rules(NAT, iptables).foreign
    text = "tcp dport 22 drop" if rule == DROPS else rule
    assert found == ((f"iptables -t {table}: {text}",) if told and before else ())
    assert missing(NAT, iptables) == "", "a warning only"


def test_rules_of_others_are_followed_through_their_chains(iptables):
    iptables.tables["filter"].update(
        {
            "FORWARD": ["-A FORWARD -j USER", "-A FORWARD -i docker0 -j DOCKER"],
            "USER": ["-A USER -p tcp -j BLOCK", "-A USER -j RETURN", "-A USER -j DROP"],
            "BLOCK": ["-A BLOCK -s 192.0.2.0/24 -j DROP", "-A BLOCK -j USER"],
            "DOCKER": ["-A DOCKER -j DROP"],
        }
    )
    netfilter.apply_rules(NAT, iptables)
    assert netfilter.read_rules(NAT, iptables).foreign == (), "the jump was put first"
    forward = iptables.tables["filter"]["FORWARD"]
    forward.append(forward.pop(0))
    assert netfilter.read_rules(NAT, iptables).foreign == ("iptables -t filter: -A BLOCK -s 192.0.2.0/24 -j DROP",)
