# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves that a node can NAT, and the check of its internet access on real sockets of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from nat_failover.config.targets import parse
from nat_failover.host.repair_helper import RULES, SYSCTLS
from nat_failover.model.settings import Nat
from nat_failover.observe import forwarding_facts as forwarding
from nat_failover.observe.forwarding_facts import Facts, InternetCheck, Ipv6Facts, from_here, judge_facts, mendable
from nat_failover.wire.prober import Prober

FINE = Facts("1", "", "ens5", ("ens5",), "", 0.1, False)
FINE6 = Ipv6Facts("1", "2", ("ens5",), True)


def test_all_facts_are_good():
    assert judge_facts(FINE) == ""
    assert judge_facts(replace(FINE, source_dest_check=None)) == "", "EC2 has not been read yet"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ip_forward": "0"}, "ip_forward=0"),
        ({"ip_forward": ""}, "ip_forward=unreadable"),
        ({"interface_problem": "interface ens5 is down"}, "interface ens5 is down"),
        ({"default_routes": ()}, "no default route by interface ens5"),
        ({"default_routes": ("ens6",)}, "no default route by interface ens5"),
        ({"rules_problem": "iptables -t nat: no rule X"}, "iptables -t nat: no rule X"),
        ({"conntrack_fill": 0.99}, "conntrack table 99 % full"),
        ({"source_dest_check": True}, "source/dest check is on"),
    ],
)
def test_each_fact_alone_fails(change, words):
    assert judge_facts(replace(FINE, **change)) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"accept_ra": "0"}, ""),  # somebody else reads advertisements, and the route is there
        ({"forwarding": "0"}, "ipv6 forwarding=0"),
        ({"forwarding": ""}, "ipv6 forwarding=unreadable"),
        ({"addressed": False}, "interface ens5 has no IPv6 address"),
        ({"default_routes": ("lo",)}, "no IPv6 default route by interface ens5"),
        ({"default_routes": (), "accept_ra": "1"}, "no IPv6 default route by interface ens5 (accept_ra=1)"),
    ],
)
def test_each_fact_of_ipv6_alone_fails(change, words):
    assert judge_facts(replace(FINE, ipv6=replace(FINE6, **change))) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"ip_forward": "0"}, (SYSCTLS,)),
        ({"rules_problem": "no rule"}, (RULES,)),
        ({"ip_forward": "0", "rules_problem": "no rule"}, (SYSCTLS, RULES)),
        ({"default_routes": ()}, ()),
        ({"tcp_liberal": "0"}, (SYSCTLS,)),
        ({"ipv6": FINE6}, ()),
        ({"ipv6": replace(FINE6, forwarding="0")}, (SYSCTLS,)),
        ({"ipv6": replace(FINE6, accept_ra="1", default_routes=())}, (SYSCTLS,)),
        ({"ipv6": replace(FINE6, accept_ra="0")}, ()),  # not ours to change while the route is there
        ({"ipv6": replace(FINE6, default_routes=())}, ()),  # waits for the next advertisement
        ({"ipv6": replace(FINE6, addressed=False)}, ()),
    ],
)
def test_what_can_be_mended(change, words):
    assert tuple(mendable(replace(FINE, **change))) == words


def test_ipv6_is_looked_at_where_it_is_asked_for():
    assert forwarding.gather_facts(Nat(("10.0.0.0/16",), "lo"), "", False).ipv6 is None
    dual = Nat(("10.0.0.0/16", "fd00::/8"), "lo")
    assert not forwarding.gather_facts(dual, "", False).ipv6.addressed, "lo has none but its own"
    assert forwarding.gather_facts(replace(dual, ipv6="forward"), "", False).ipv6.addressed, "needs no address"


def test_rules_that_cannot_be_read_are_no_proof():
    def runner(argv, *, timeout, stdin=""):
        return 127, "", "iptables-save: not found"

    nat = Nat(("10.0.0.0/16",), "ens5")
    problem = forwarding.rules_problem(nat, runner)
    assert "iptables-save failed (127)" in forwarding.gather_facts(nat, problem, False).rules_problem


@contextmanager
def listener(backlog=16):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield "127.0.0.1:%d" % server.getsockname()[1]


def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1:%d" % server.getsockname()[1]


def checker(targets, minimum=1, timeout=0.4, reach=None):
    return InternetCheck(
        parse("targets", targets), minimum=minimum, timeout=timeout, reach=reach or from_here(Prober())
    )


def check(*args, **options):
    return asyncio.run(checker(*args, **options).run())


def test_one_answer_is_enough_when_one_is_asked_for():
    with listener() as good:
        assert check([closed(), good])[0]
        assert check([good, closed()])[0]


def test_a_refusal_is_no_answer():
    ok, detail = check([closed(), closed()])
    assert not ok and detail.count("Connection refused") == 2


def test_several_must_answer_when_several_are_asked_for():
    with listener() as first, listener() as second:
        assert check([first, closed(), second], minimum=2) == (True, "2 of 2 answered")
        assert not check([first, closed()], minimum=2)[0]


def test_a_target_that_does_not_answer_delays_but_does_not_decide():
    with listener() as good:
        silent = "192.0.2.1:443"  # TEST-NET-1: nobody there
        began = time.monotonic()
        assert check([silent, good], timeout=2.0)[0]
        assert time.monotonic() - began < 1.5, "the next one was asked beside it"


def test_each_round_begins_with_another_target():
    with listener() as first, listener() as second:
        asked = []

        async def noted(target, timeout):
            asked.append(target.port)
            return await Prober().reach(target, timeout)

        checked = checker([first, second], timeout=1.0, reach=noted)
        for _round in range(4):
            assert asyncio.run(checked.run())[0]
    assert len(set(asked[:2])) == 2 and asked[:2] == asked[2:4]


def test_nothing_is_left_open():
    async def many():
        with listener() as good:
            checked = checker(["192.0.2.1:443", good], timeout=1.0)
            for _round in range(6):
                await checked.run()
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(many()) == []
