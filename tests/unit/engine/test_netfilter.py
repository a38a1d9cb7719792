# SPDX-License-Identifier: GPL-3.0-or-later
"""This node's rules, on a pretended iptables. The real one is tried in the lab."""

from __future__ import annotations

import pwd
import re
from dataclasses import replace
from random import Random

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import netfilter, users, wanted_rules
from nat_failover.model.settings import Nat, Opening
from tests.unit.engine.pretended_iptables import Iptables


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


GUARDED = replace(BOTH, imds_users=("daemon", "nobody there"))


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
