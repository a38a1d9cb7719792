# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this node NAT? Each fact that fails is named, and N of M targets decide, whatever the others do."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from nat_failover import forwarding, system
from nat_failover.forwarding import Facts, InternetCheck, judge_facts

GOOD = Facts(
    ip_forward="1",
    interface_problem="",
    interface="ens5",
    default_routes=("ens5",),
    rules_problem="",
    conntrack_fill=0.1,
    source_dest_check=False,
)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({}, ""),
        ({"source_dest_check": None}, ""),  # EC2 has not answered yet: no evidence against it
        ({"ip_forward": "0"}, "ip_forward=0"),
        ({"ip_forward": ""}, "ip_forward=unreadable"),
        ({"interface_problem": "interface ens5 is down"}, "interface ens5 is down"),
        ({"default_routes": ()}, "no default route by interface ens5"),
        ({"default_routes": ("ens6",)}, "no default route by interface ens5"),
        ({"rules_problem": "no jump"}, "no jump"),
        ({"conntrack_fill": 0.979}, ""),
        ({"conntrack_fill": 0.99}, "conntrack table 99 % full"),
        ({"source_dest_check": True}, "source/dest check is on"),
    ],
)
def test_each_fact_is_named(change, fact):
    assert judge_facts(replace(GOOD, **change)) == fact


def test_the_cause_is_named_before_its_consequence():
    both = replace(GOOD, ip_forward="0", rules_problem="no jump", source_dest_check=True)
    assert judge_facts(both) == "ip_forward=0"


def test_rules_that_cannot_be_read_are_no_proof(monkeypatch):
    monkeypatch.setattr(system, "read_sysctl", lambda name, *_proc: "1")
    monkeypatch.setattr(system, "interface_problem", lambda name: "")
    monkeypatch.setattr(system, "default_routes", lambda: ["ens5"])
    facts = forwarding.gather_facts("ens5", ["10.0.0.0/16"], lambda argv, **_more: (127, "", "not found"), False)
    assert "iptables-save failed (127)" in judge_facts(facts)


# --- targets -----------------------------------------------------------------------------------------------------------------------


class Targets:
    """Local listeners by name: ``good`` answers, ``shut`` refuses. ``silent`` is a listener whose queue is full."""

    def __init__(self):
        self.open = []
        self.asked = []

    def good(self):
        server = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.open.append(server)
        return "127.0.0.1:%d" % server.getsockname()[1]

    def shut(self):
        with socket.create_server(("127.0.0.1", 0)) as once:
            return "127.0.0.1:%d" % once.getsockname()[1]

    def silent(self):
        server = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.open.append(server)
        for _count in range(3):  # fill the queue of accepted connections: the kernel drops further SYNs
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            self.open.append(client)
        return "127.0.0.1:%d" % server.getsockname()[1]


@pytest.fixture
def targets():
    made = Targets()
    yield made
    for each in made.open:
        each.close()


def run(names, minimum=1, timeout=0.3, rounds=1):
    async def body():
        check = InternetCheck(names, minimum=minimum, timeout=timeout)
        return [await check.run() for _round in range(rounds)][-1]

    return asyncio.run(body())


def test_one_of_one(targets):
    assert run([targets.good()]) == (True, "1 of 1 answered")


def test_a_refusal_is_no_answer(targets):
    ok, detail = run([targets.shut()])
    assert not ok and "refused" in detail


def test_silence_is_named(targets):
    name = targets.silent()
    assert run([name], timeout=0.1) == (False, "%s: no answer within 100 ms" % name)


@pytest.mark.parametrize(("minimum", "ok"), [(1, True), (2, True), (3, False)])
def test_n_of_m(targets, minimum, ok):
    names = [targets.good(), targets.shut(), targets.good()]
    assert run(names, minimum)[0] is ok


def test_a_silent_target_does_not_hold_up_the_others(targets):
    assert run([targets.silent(), targets.good()], timeout=30)[0]


def test_each_round_begins_with_another_target(targets, monkeypatch):
    asked = []

    async def connect(self, host, port):
        asked.append(port)
        return ""

    monkeypatch.setattr(InternetCheck, "_connect", connect)
    assert run(["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"], rounds=4)[0]
    assert asked == [1, 2, 3, 1], "and only as many as are needed"
