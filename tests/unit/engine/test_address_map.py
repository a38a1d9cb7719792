# SPDX-License-Identifier: GPL-3.0-or-later
"""The rewriting of synchronised identities, as text and bytes. tests/integration/sync has the kernel and its packets."""

from __future__ import annotations

import json
import struct

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import address_map, netfilter, nft_batch, wanted_rules
from nat_failover.host.wanted_rules import FORWARD, POSTROUTING
from nat_failover.model.nat import CARRY, RESUME, Identity, Nat

OWN = Identity("nat-b", "10.0.1.20", ("10.0.11.0/24",))
FOREIGN = Identity("nat-a", "10.0.1.21", ("10.0.10.0/24",), synced="10.0.0.20")
NAT = Nat(("10.0.0.0/16",), "ens5", identities=(OWN, FOREIGN))


def listed(nat, marks=None):
    """A runner whose nft lists the table of ``nat``. ``marks``: in place of its own."""
    rules = [
        {"rule": {"family": "ip", "chain": each.chain, "comment": mark}}
        for each, mark in zip(address_map.rules(nat), marks or [address_map._mark(nat)] * 99)
    ]
    chains = [{"chain": {"name": name}} for name in (address_map.IN, address_map.OUT)]

    def run(argv, *, timeout, stdin=""):
        assert argv == address_map.LIST
        return (0, json.dumps({"nftables": [*chains, *rules]}), "") if rules else (1, "", "No such file")

    return run


def test_only_identities_of_others_that_are_synchronised_are_rewritten():
    assert address_map.rules(NAT.unsynced()) == ()
    assert address_map.rules(Nat(NAT.sources, NAT.interface, identities=(OWN,))) == ()
    chains = [each.chain for each in address_map.rules(NAT)]
    assert chains[:2] == [address_map.IN, address_map.OUT]
    assert chains.count(address_map.IN) == chains.count(address_map.OUT) == 1 + len(address_map.ERRORS)


def test_flows_of_a_synchronised_identity_have_the_egress_address_of_its_home():
    lines = wanted_rules.rules(NAT.translating({"nat-a": CARRY, "nat-b": CARRY}))
    assert f"-A {POSTROUTING.name} -s 10.0.10.0/24 -o ens5 -j SNAT --to-source 10.0.0.20" in lines[POSTROUTING]
    assert f"-A {POSTROUTING.name} -s 10.0.11.0/24 -o ens5 -j SNAT --to-source 10.0.1.20" in lines[POSTROUTING]
    assert f"-A {FORWARD.name} -d 10.0.0.20/32 -i ens5 -j DROP" in lines[FORWARD]


@pytest.mark.parametrize("state", [CARRY, RESUME])
def test_rules_of_both_levels_show_the_state(state):
    for before in (NAT, NAT.unsynced()):
        lines = wanted_rules.rules(before.translating(dict.fromkeys(("nat-a", "nat-b"), state)))[POSTROUTING]
        assert wanted_rules.states(NAT, lines) == {"nat-a": state, "nat-b": state}


def test_the_table_is_compared_by_its_marks_and_written_only_when_it_differs():
    sent = []
    for present, differs in (
        (listed(NAT), False),
        (listed(NAT.unsynced()), True),  # no table
        (listed(NAT, ["other"] * 99), True),
        (listed(NAT, [address_map._mark(NAT)] * 3), True),  # some rules are gone
    ):
        assert bool(address_map.differences(NAT, present)) == differs
        assert address_map.apply(NAT, present, sent.append) == differs
    assert len(sent) == 3
    assert address_map.differences(NAT.unsynced(), listed(NAT))[0].startswith("left over: ")
    assert address_map.differences(NAT.unsynced(), listed(NAT.unsynced())) == []


def test_an_answer_of_nft_that_is_no_json_is_an_error_in_one_line():
    with pytest.raises(NatFailoverError, match="no JSON"):
        address_map.differences(NAT, lambda argv, **_more: (0, "<html>", ""))


def test_no_command_of_nft_is_run_without_synchronised_identities():
    asked = []

    def run(argv, *, timeout, stdin=""):
        asked.append(argv[0])
        return 0, "", ""

    netfilter.apply_rules(NAT.unsynced(), run)
    netfilter.read_rules(NAT.unsynced(), run)
    assert asked and "nft" not in asked


def test_a_batch_is_numbered_and_framed():
    data = nft_batch.encode(address_map.messages(NAT))
    found, at = [], 0
    while at < len(data):
        length, kind, flags, number, _port = nft_batch.HEADER.unpack_from(data, at)
        assert not length % 4 and flags & nft_batch.REQUEST
        found.append((kind, number))
        at += length
    assert at == len(data)
    assert found[0] == (nft_batch.BATCH_BEGIN, 0) and found[-1][0] == nft_batch.BATCH_END
    assert [number for _kind, number in found[1:-1]] == list(range(1, len(found) - 1))
    assert [kind & 0xFF for kind, _number in found[1:5]] == [
        nft_batch.NEW_TABLE,
        nft_batch.DELETE_TABLE,
        nft_batch.NEW_TABLE,
        nft_batch.NEW_CHAIN,
    ]


def test_a_refusal_of_the_kernel_is_an_error_and_a_confirmation_is_counted():
    def answer(code, number):
        return struct.pack("=IHHIIi", 36, nft_batch.NLMSG_ERROR, 0, number, 0, code) + bytes(16)

    assert nft_batch._answered(answer(0, 3) + answer(0, 4)) == {3, 4}
    with pytest.raises(OSError, match="not supported"):
        nft_batch._answered(answer(0, 3) + answer(-95, 4))
