# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of others in nftables, as ``nft --json list ruleset`` (version 1.0.6) lists them."""

from __future__ import annotations

import json
from random import Random

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import netfilter, nft_json
from nat_failover.model.nat import Nat

NAT = Nat(("10.0.0.0/16",), "ens5")
DUAL = Nat(("10.0.0.0/16", "fd00:1::/48"), "ens5")
AT = {"family": "inet", "table": "x"}


def meta(key, right, op="=="):
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def payload(protocol, field, right, op="=="):
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


DROP, ACCEPT, RETURN = {"drop": None}, {"accept": None}, {"return": None}
STATE = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}
PREFIX = {"prefix": {"addr": "192.0.2.0", "len": 24}}


def chain(name, hook="forward", policy="accept", **more):
    return {"chain": {**AT, "name": name, "type": "filter", "hook": hook, "prio": -5, "policy": policy, **more}}


def plain(name):
    return {"chain": {**AT, "name": name}}


def rule(name, *expression):
    return {"rule": {**AT, "chain": name, "handle": 1, "expr": list(expression)}}


def told(items, nat=NAT):
    """The texts for a ruleset."""

    def runner(argv, *, timeout, stdin=""):
        assert argv == netfilter.NFT_LIST
        return 0, json.dumps({"nftables": [{"metainfo": {}}, *items]}), ""

    return netfilter.read_other_tables(nat, runner)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ([DROP], "drop"),
        ([payload("ip", "saddr", PREFIX), {"counter": {"packets": 0, "bytes": 0}}, DROP], "ip saddr 192.0.2.0/24 drop"),
        ([meta("iifname", "ens5"), payload("ip", "daddr", "@big"), DROP], "iifname ens5 ip daddr @big drop"),
        ([meta("iifname", "en*"), DROP], "iifname en* drop"),
        ([meta("oifname", {"set": ["a", "b"]}, "!="), DROP], "oifname != { a, b } drop"),
        (
            [STATE, {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}],
            "ct state invalid reject with icmpx admin-prohibited",
        ),
        ([meta("l4proto", "tcp"), {"reject": {"type": "tcp reset"}}], "meta l4proto tcp reject with tcp reset"),
        ([payload("tcp", "dport", {"range": [1, 5]}), {"queue": {"num": 3}}], 'tcp dport 1-5 queue {"num": 3}'),
        (
            [{"xt": {"type": "match", "name": "set"}}, {"xt": {"type": "target", "name": "REJECT"}}],
            "xt match set xt target REJECT",
        ),
        ([{"notrack": None}], "notrack"),
        ([{"xt": {"type": "target", "name": "CT"}}], "xt target CT"),
        (
            [{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[25, DROP]]}}}],
            'tcp dport vmap { 25, {"drop": null} }',
        ),
        ([{"a statement of the future": {"x": 1}}, DROP], 'a statement of the future {"x": 1} drop'),
    ],
)
def test_a_rule_that_may_drop_is_told_in_words_close_to_nfts_own(expression, text):
    assert told([chain("fw"), rule("fw", *expression)]) == (f"nft chain inet x fw: {text}",)


@pytest.mark.parametrize(
    "expression",
    [
        [ACCEPT],
        [STATE, ACCEPT],
        [meta("iifname", "docker0"), DROP],
        [meta("iif", "lo"), DROP],
        [meta("oifname", "ens5", "!="), DROP],
        [meta("iifname", {"set": ["a", "b"]}), DROP],
        [meta("nfproto", "ipv6"), DROP],
        [payload("ip6", "saddr", "fe80::1"), DROP],
        [payload("icmpv6", "type", "echo-request"), DROP],
        [{"masquerade": None}],
        [{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["docker0", DROP], ["ens5", ACCEPT]]}}}],
        [{"xt": {"type": "target", "name": "LOG"}}],
        [{"jump": {"target": "not there"}}],
    ],
)
def test_a_rule_that_no_packet_of_a_client_ends_in_is_not_told(expression):
    assert told([chain("fw"), rule("fw", *expression)]) == ()


def test_with_ipv6_clients_the_rules_of_ipv6_count():
    items = [chain("fw"), rule("fw", meta("nfproto", "ipv6"), DROP), rule("fw", payload("ip6", "saddr", "::1"), DROP)]
    assert told(items) == () and len(told(items, DUAL)) == 2
    six = [{"chain": {**chain("fw")["chain"], "family": "ip6", "policy": "drop"}}]
    assert told(six) == () and told(six, DUAL) == ("nft chain ip6 x fw: policy drop",)


@pytest.mark.parametrize(
    ("hook", "counts"),
    [
        ("ingress", True),
        ("prerouting", True),
        ("forward", True),
        ("postrouting", True),
        ("input", False),
        ("output", False),
    ],
)
def test_the_hooks_on_the_way_of_a_forwarded_packet_count(hook, counts):
    assert bool(told([chain("c", hook), rule("c", DROP)])) == counts
    assert bool(told([chain("c", hook, "drop")])) == counts


def test_a_chain_of_another_device_does_not_count():
    assert told([chain("c", "ingress", dev="docker0"), rule("c", DROP)]) == ()
    assert told([chain("c", "ingress", dev="ens5"), rule("c", DROP)]) != ()


def test_a_policy_of_drop_is_told_unless_all_packets_of_clients_were_accepted_before():
    assert told([chain("fw", policy="drop"), rule("fw", STATE, ACCEPT)]) == ("nft chain inet x fw: policy drop",)
    through = rule("fw", meta("iifname", "ens5"), meta("oifname", "ens5"), ACCEPT)
    assert told([chain("fw", policy="drop"), through, rule("fw", DROP)]) == ()


def test_chains_are_followed_and_what_comes_after_an_accept_of_everything_is_not_reached():
    items = [
        chain("fw"),
        *map(plain, ("zones", "public", "other")),
        rule("fw", {"jump": {"target": "zones"}}),
        rule("fw", DROP),
        rule("zones", meta("iifname", "docker0"), {"goto": {"target": "other"}}),
        rule("zones", meta("iifname", "ens5"), {"goto": {"target": "public"}}),
        rule("zones", DROP),
        rule("other", DROP),
        rule("public", STATE, DROP),
    ]
    assert told(items) == ("nft chain inet x public: ct state invalid drop", "nft chain inet x fw: drop")
    accepts = [*items, rule("public", meta("oifname", "ens5"), ACCEPT)]
    assert told(accepts) == ("nft chain inet x public: ct state invalid drop",)


def test_chains_that_lead_to_each_other_end():
    items = [chain("a"), plain("b"), rule("a", {"jump": {"target": "b"}}), rule("b", {"jump": {"target": "a"}})]
    assert told([*items, rule("b", DROP)]) == ("nft chain inet x b: drop",)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"nftables": 1}', '{"nftables": [1]}', "[" * 100000])
def test_an_answer_that_is_none_is_one_error(text):
    with pytest.raises(NatFailoverError, match="no JSON of its kind"):
        nft_json.ruleset(text, "ens5", False)


def test_an_answer_that_is_too_long_is_not_read(monkeypatch):
    monkeypatch.setattr(nft_json, "LONGEST", 100)
    with pytest.raises(NatFailoverError, match="more than 100 are not read"):
        nft_json.ruleset(" " * 101, "ens5", False)


def test_whatever_shape_a_statement_has_there_is_no_other_exception():
    """Any JSON in the place of any part."""
    random = Random(1)
    whole = [chain("fw"), plain("o"), rule("fw", meta("iifname", {"set": ["a"]}), payload("ip", "saddr", PREFIX), DROP)]
    whole += [
        rule("fw", {"vmap": {"key": {"meta": {"key": "iif"}}, "data": {"set": [["a", {"jump": {"target": "o"}}]]}}})
    ]
    for _number in range(5000):
        items = json.loads(json.dumps(whole))
        spoil(items, random)
        try:
            told(items)
        except NatFailoverError as error:
            assert "no JSON of its kind" in str(error)


def spoil(node, random):
    """Put something else at a random place."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = random.choice(keys)
        if not isinstance(node[key], (dict, list)) or not node[key] or random.random() < 0.3:
            node[key] = random.choice(
                (None, 1, "x", [], {}, [[]], {"set": 1}, {"drop": {}}, ["a", "b"], {"meta": []}, True)
            )
            return
        node = node[key]
