# SPDX-License-Identifier: GPL-3.0-or-later
"""The translation of identities: its rules, its states, the helper's word, and the decision on them. Some tests use the kernel."""

from __future__ import annotations

import asyncio
import types
from dataclasses import replace

import pytest

from nat_failover.host import netfilter, repair_helper, wanted_rules
from nat_failover.host.wanted_rules import FORWARD, INPUT, POSTROUTING
from nat_failover.model.nat import CARRY, RESET, RESUME, Identity, Nat
from nat_failover.observe import self_repair
from nat_failover.policy import address_order, identities
from nat_failover.policy.case import Case as PolicyCase

from .namespaces import made, runner
from .policy_case import ME, NOW, PEER
from .test_identities import OWN, cluster, elastic, point, waiting

A = Identity("nat-a", "10.0.0.20", ("10.0.10.0/24",))
B = Identity("nat-b", "10.0.0.21", ("10.0.11.0/24", "10.0.12.0/24"))
NAT = Nat(("10.0.0.0/16",), "ens5", identities=(A, B))
WITHOUT = Nat(("10.0.0.0/16",), "ens5")
MID = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"


def chain(nat, which, command="iptables"):
    return [line.removeprefix(f"-A {which.name} ") for line in wanted_rules.rules(nat, command)[which]]


def in_state(state):
    return NAT.translating({"nat-a": state, "nat-b": state})


# --- the rules ------------------------------------------------------------------------------------


def test_a_carried_identity_translates_all_of_its_clients_and_nobody_else():
    assert chain(in_state(CARRY), POSTROUTING) == [
        "-d 10.0.0.0/16 -j RETURN",
        "-s 10.0.10.0/24 -o ens5 -j SNAT --to-source 10.0.0.20",
        "-s 10.0.11.0/24 -o ens5 -j SNAT --to-source 10.0.0.21",
        "-s 10.0.12.0/24 -o ens5 -j SNAT --to-source 10.0.0.21",
        "-s 10.0.0.0/16 -o ens5 -j MASQUERADE",
    ]


def test_at_rest_only_the_middle_of_tcp_flows_takes_the_address_of_the_identity():
    assert chain(in_state(RESUME), POSTROUTING)[1] == f"-s 10.0.10.0/24 -o ens5 {MID} -j SNAT --to-source 10.0.0.20"
    lines = chain(in_state(RESUME), FORWARD)
    goes_on = f"-s 10.0.10.0/24 -o ens5 {MID} -m conntrack --ctstate NEW -j ACCEPT"
    reset = f"-s 10.0.0.0/16 -o ens5 {MID} -m conntrack --ctstate INVALID,NEW -j REJECT --reject-with tcp-reset"
    assert lines.index(goes_on) < lines.index(reset)


def test_an_identity_that_cannot_go_on_is_as_without_one_but_for_its_addresses():
    assert chain(in_state(RESET), POSTROUTING) == chain(WITHOUT, POSTROUTING)
    dropped = ["-d 10.0.0.20/32 -i ens5 -j DROP", "-d 10.0.0.21/32 -i ens5 -j DROP"]
    assert [line for line in chain(in_state(RESET), FORWARD) if line not in dropped] == chain(WITHOUT, FORWARD)
    assert [line for line in chain(in_state(RESET), INPUT) if line not in dropped] == chain(WITHOUT, INPUT)


@pytest.mark.parametrize("which", [FORWARD, INPUT])
@pytest.mark.parametrize("state", [RESET, RESUME, CARRY])
def test_unsolicited_packets_to_an_address_of_an_identity_are_dropped(which, state):
    assert "-d 10.0.0.21/32 -i ens5 -j DROP" in chain(in_state(state), which)


def test_ipv6_has_no_identities():
    dual = replace(NAT, sources=("10.0.0.0/16", "2001:db8::/56"))
    assert wanted_rules.rules(dual, "ip6tables") == wanted_rules.rules(replace(dual, identities=()), "ip6tables")


@pytest.mark.parametrize("state", [RESET, RESUME, CARRY])
def test_the_state_is_seen_in_the_rules(state):
    lines = wanted_rules.rules(in_state(state))[POSTROUTING]
    assert wanted_rules.states(NAT, lines) == {"nat-a": state, "nat-b": state}


def test_a_host_that_boots_begins_with_the_state_at_rest():
    assert wanted_rules.states(NAT, None) == {"nat-a": RESUME, "nat-b": RESUME}


# --- the kernel -----------------------------------------------------------------------------------


@pytest.fixture
def kernel():
    with made(["nfo-identity"], "iptables-save"):
        yield runner("nfo-identity")


def test_the_kernel_keeps_the_rules_as_they_are_compared_and_a_repair_keeps_the_states(kernel):
    assert netfilter.apply_rules(NAT, kernel)
    assert netfilter.read_rules(NAT, kernel).states == {"nat-a": RESUME, "nat-b": RESUME}
    assert netfilter.differences(NAT, kernel) == []
    assert netfilter.apply_rules(NAT, kernel, {"nat-b": CARRY})
    assert netfilter.read_rules(NAT, kernel).states == {"nat-a": RESUME, "nat-b": CARRY}
    assert netfilter.differences(NAT, kernel) == []
    assert not netfilter.apply_rules(NAT, kernel)  # a repair without a defect
    kernel(
        ["iptables", "-t", "nat", "-D", POSTROUTING.name, "-s", "10.0.0.0/16", "-o", "ens5", "-j", "MASQUERADE"],
        timeout=5,
    )
    assert "MASQUERADE" in netfilter.read_rules(NAT, kernel).missing
    assert netfilter.apply_rules(NAT, kernel)
    assert netfilter.read_rules(NAT, kernel).states == {"nat-a": RESUME, "nat-b": CARRY}
    assert netfilter.apply_rules(NAT, kernel, {"nat-a": RESET, "nat-b": RESET})
    assert netfilter.read_rules(NAT, kernel).states == {"nat-a": RESET, "nat-b": RESET}


def test_the_helper_sets_what_its_word_names(kernel):
    config = types.SimpleNamespace(nat=NAT)
    assert repair_helper.answer("identities nat-a=carry nat-b=reset", config, kernel) == "mended"
    assert netfilter.read_rules(NAT, kernel).states == {"nat-a": CARRY, "nat-b": RESET}
    assert repair_helper.answer("rules", config, kernel) == "nothing to mend"


@pytest.mark.parametrize("word", ["nat-x=carry", "nat-a=open", "nat-a", "nat-a=carry; reboot", "10.0.0.1=carry"])
def test_the_helper_takes_no_other_name_and_no_other_state(word):
    def refuse(argv, **more):
        raise AssertionError(argv)

    line = repair_helper.answer(f"identities {word}", types.SimpleNamespace(nat=NAT), refuse)
    assert line.startswith("failed: ") and "is no identity of this node" in line


# --- the service asks -----------------------------------------------------------------------------


def asked(wanted, seen, answer="mended"):
    words, events = [], []
    config = types.SimpleNamespace(repair_socket="/run/x")
    clock = types.SimpleNamespace(seconds=100.0)
    runtime = types.SimpleNamespace(now=lambda: clock.seconds)
    asks = self_repair.SelfRepair(config, runtime, lambda kind, text, level: events.append((kind, text)))

    async def attempt(word):
        words.append(word)
        return "" if answer == "mended" else answer

    asks._try = attempt
    done = []
    for pause in (0.0, 1.0, self_repair.AGAIN_AFTER):
        clock.seconds += pause
        done.append(asyncio.run(asks.translate(wanted, seen)))
    return words, done[0], events


def test_the_service_asks_for_states_that_differ_and_for_nothing_else():
    assert (
        asked({"nat-a": CARRY, "nat-b": RESUME}, {"nat-a": RESUME, "nat-b": RESUME})[0][0] == "identities nat-a=carry"
    )
    assert asked({"nat-a": CARRY}, {"nat-a": CARRY})[:2] == ([], False)
    assert asked({"nat-a": CARRY}, {})[:2] == ([], False)  # the rules could not be read


def test_a_refusal_of_the_helper_is_reported_once_and_not_repeated_at_once():
    words, done, events = asked({"nat-a": CARRY}, {"nat-a": RESUME}, "failed: no")
    assert len(words) == 2 and not done
    assert events == [("not_mended", "the rules of identities nat-a=carry: failed: no")]


# --- the decision ---------------------------------------------------------------------------------


def wanted(case, **evidence):
    given = replace(case.evidence(), **evidence)
    return identities.states(PolicyCase.of(case.config, case.memory, given))


@pytest.fixture
def case():
    made = cluster()
    point(made, PEER, PEER)
    return made


def test_in_calm_a_node_carries_its_own_identity_and_waits_for_the_others(case):
    assert wanted(case) == {ME: CARRY, PEER: RESUME} == dict(case.decide().translation)


def test_an_adopted_identity_is_carried_once_ec2_shows_it_here(case):
    point(case, PEER, ME)
    assert wanted(case)[PEER] == RESUME
    elastic(case, PEER, interface_id="eni-" + ME, private=waiting(ME, PEER))
    assert wanted(case)[PEER] == CARRY
    point(case, PEER, PEER)
    assert wanted(case)[PEER] == RESUME


def test_new_flows_do_not_wait_for_a_gateway_that_follows_later_than_ec2_answers(case):
    point(case, PEER, ME)
    case.decide()
    elastic(case, PEER, interface_id="eni-" + ME, private=waiting(ME, PEER))
    assert case.decide().translation == {ME: CARRY, PEER: RESUME}
    for seconds, state in ((identities.SETTLE - 0.1, RESUME), (identities.SETTLE, CARRY)):
        assert wanted(case, now=NOW + seconds)[PEER] == state
    elastic(case, PEER, interface_id="eni-" + PEER, private=OWN[PEER])  # it goes, and comes once more
    case.decide()
    elastic(case, PEER, interface_id="eni-" + ME, private=waiting(ME, PEER))
    case.decide()
    assert wanted(case, now=NOW + identities.SETTLE - 0.1)[PEER] == RESUME


def test_an_elastic_ip_that_does_not_come_lets_flows_be_reset(case):
    point(case, PEER, ME)
    case.memory = replace(case.memory, astray={PEER: NOW - address_order.GIVE_UP + 1})
    assert wanted(case)[PEER] == RESUME
    case.memory = replace(case.memory, astray={PEER: NOW - address_order.GIVE_UP})
    assert wanted(case)[PEER] == RESET


@pytest.mark.parametrize("changes", [{"interface_id": "eni-foreign"}, {"public": ""}, {"private": "10.0.1.10"}])
def test_an_elastic_ip_that_never_moves_lets_flows_be_reset(case, changes):
    elastic(case, PEER, **changes)
    assert wanted(case) == {ME: CARRY, PEER: RESET}


def test_addresses_that_may_not_be_read_let_flows_be_reset_and_unread_ones_change_nothing(case):
    assert wanted(case, addresses={}) == {}
    assert wanted(case, addresses={}, addresses_refused="no") == {ME: RESET, PEER: RESET}
