# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node concludes about itself from facts, canary and repairs; the world around it is played."""

from __future__ import annotations

import asyncio
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from nat_failover.config.targets import TCP, Target
from nat_failover.config.targets import parse as parse_targets
from nat_failover.host import canary_process as canary
from nat_failover.host import kernel as system
from nat_failover.host import netlink as notices
from nat_failover.host.repair_helper import MOST
from nat_failover.model import settings
from nat_failover.model.settings import Nat
from nat_failover.observe import capacity as limits
from nat_failover.observe import forwarding_check as proof
from nat_failover.observe import forwarding_facts as forwarding
from nat_failover.observe.forwarding_check import Proof
from nat_failover.timing import Rhythm


class World:
    """A node whose facts, canary and helper do as told."""

    def __init__(self, monkeypatch, tmp_path):
        self.ip_forward, self.rules, self.tcp_liberal = "1", "", "1"
        self.answers, self.answers6 = "", ""
        self.canary_there, self.helper_works, self.undone_at_once = True, True, False
        self.forwarded = 0
        self.asked = []
        self.events = []
        self.quiet = 0
        self.now = 100.0
        settings = types.SimpleNamespace(
            enabled=True,
            targets=(Target(TCP, "192.0.2.1", 1),),
            minimum=1,
            timeout=0.1,
            interval=0.01,
            socket="s",
            ipv6=None,
        )
        (tmp_path / "repair").touch()
        self.config = types.SimpleNamespace(
            canary=settings,
            nat=Nat(("10.0.0.0/16",), "ens5"),
            mode="full",
            repair_socket=str(tmp_path / "repair"),
        )
        monkeypatch.setattr(notices, "subscribe", list)
        self.counters = {}
        monkeypatch.setattr(limits, "read", lambda _interface: self.counters)
        monkeypatch.setattr(limits, "READ_EVERY", 0.005)
        monkeypatch.setattr(system, "forwarded_packets", lambda: self.forwarded)
        self.aside = ""
        monkeypatch.setattr(canary, "Asking", lambda _path: self)
        monkeypatch.setattr(forwarding, "rules_problem", lambda *_args: self.rules)
        monkeypatch.setattr(forwarding, "gather_facts", self.facts)
        for name in ("LOOK_EVERY", "RULES_EVERY", "RULES_PAUSE", "SETTLE", "RETRY"):
            monkeypatch.setattr(proof, name, 0.005)
        self.loop = (
            asyncio.new_event_loop()
        )  # one for all runs: before Python 3.10, events belong to the loop they were made in
        asyncio.set_event_loop(self.loop)
        self.proof = Proof(self.config, None, ThreadPoolExecutor(1), Rhythm(0.1, self.clock), lambda: None)
        self.proof.mending = True
        self.proof._mender._ask = self.mend
        self.proof.on_event = lambda kind, text, level: self.events.append((kind, text))
        self.proof.on_quiet = self.hush

    def clock(self):
        self.now += 0.01
        return self.now

    def hush(self):
        self.quiet += 1

    def facts(self, nat, problem, check):
        return forwarding.Facts(
            self.ip_forward, "", nat.interface, (nat.interface,), problem, 0.0, check, None, self.tcp_liberal
        )

    def close(self):
        pass

    async def __call__(self, target, timeout):
        if not self.canary_there:
            raise canary.CanaryGone("nobody there")
        return self.answers6 if ":" in target.host else self.answers

    async def mend(self, word):
        self.asked.append(word)
        if not self.helper_works:
            return "failed: no"
        if not self.undone_at_once:
            if word == "sysctls":
                self.ip_forward = self.tcp_liberal = "1"
            else:
                self.rules = ""
        return "mended"

    def run(self, *steps):
        """Run the loops; each step is (change or None, condition to wait for)."""

        async def body():
            tasks = [asyncio.ensure_future(work) for work in self.proof.work()]
            try:
                for change, condition in steps:
                    if change:
                        change()
                    for _count in range(1000):
                        if condition() or any(task.done() for task in tasks):
                            break
                        await asyncio.sleep(0.005)
                    assert condition(), (self.proof.fact, self.events)
            finally:
                for task in tasks:
                    task.cancel()
                found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in found), found

        self.loop.run_until_complete(body())

    def set(self, **values):
        return lambda: self.__dict__.update(values)

    def well(self):
        return self.proof.complete and self.proof.fact == ""


@pytest.fixture
def world(monkeypatch, tmp_path):
    made = World(monkeypatch, tmp_path)
    yield made
    made.proof._pool.shutdown()
    asyncio.set_event_loop(None)
    made.loop.close()


def test_nothing_is_said_before_facts_and_canary_have_spoken(world):
    told = []
    world.proof.on_news = lambda: told.append((world.proof.complete, world.proof.fact))
    world.answers = "no answer"
    world.run((None, lambda: told))
    assert told[0] == (True, "a client's packets get no answer: no answer")


@pytest.mark.parametrize(("tells", "least", "most"), [(True, 1, 2), (False, 10, 10**6)])
def test_rules_are_looked_at_rarely_only_where_the_kernel_tells_of_changes(world, monkeypatch, tells, least, most):
    looks = []
    monkeypatch.setattr(notices, "of_rules", lambda _subscribed: True)
    monkeypatch.setattr(system, "rules_in_nftables", lambda _runner: tells)
    monkeypatch.setattr(forwarding, "rules_problem", lambda *_args: looks.append(1) or world.rules)
    asked = []
    world.answers = ""
    world.run((None, lambda: asked.append(1) or (world.well() and len(asked) > 60)))
    assert least <= len(looks) <= most


def test_a_notice_has_the_rules_looked_at_also_where_that_is_rare(world, monkeypatch):
    monkeypatch.setattr(notices, "of_rules", lambda _subscribed: True)
    monkeypatch.setattr(system, "rules_in_nftables", lambda _runner: True)

    def flush():
        world.helper_works, world.rules = False, "no jump"
        world.proof.look_soon(rules=True)  # as a notice does

    world.run((None, world.well), (flush, lambda: "no jump" in world.proof.fact))


def test_a_canary_without_answers_is_a_failing_fact_until_it_has_one(world):
    world.run(
        (None, world.well),
        (world.set(answers="1.1.1.1:443: no answer"), lambda: "no answer" in world.proof.fact),
        (world.set(answers=""), world.well),
    )
    assert world.asked == [], "that is nothing to mend"


def test_each_family_must_be_answered_where_both_are_asked(world):
    targets = parse_targets("canary.targets_ipv6", ["[2001:db8::1]:443"])
    world.config.canary.ipv6 = settings.Ipv6Canary("2001:db8::ff", targets, 1)
    world.answers6 = "[2001:db8::1]:443: no answer"
    world.run(
        (None, lambda: world.proof.fact == "a client's IPv6 packets get no answer: [2001:db8::1]:443: no answer"),
        (None, lambda: world.proof.canary == "answered, over IPv6 not answered"),
        (world.set(answers6=""), world.well),
        (None, lambda: world.proof.canary == "answered"),
        (world.set(answers="1.1.1.1:443: no answer"), lambda: "client's packets" in world.proof.fact),
    )


def test_what_the_canary_asked_before_a_repair_says_nothing_about_the_node_after_it(world, monkeypatch):
    """The rules are gone, the canary has lost a round and asks again; they are mended before that round ends."""
    facts = set()
    world.proof.on_news = lambda: facts.add(world.proof.fact)
    rounds = []

    async def slow(_self, _target, _timeout):
        rounds.append(world.rules)
        if not world.rules or len(rounds) > 2:
            return ""
        if len(rounds) == 2:
            while world.rules:  # it has asked already, and its answer never comes
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
        return "no answer"

    async def late(word):
        while len(rounds) < 2:
            await asyncio.sleep(0.001)
        return await world.mend(word)

    world.run((None, world.well))
    monkeypatch.setattr(World, "__call__", slow)
    world.proof._mender._ask = late
    world.run((world.set(rules="no jump"), lambda: world.events), (None, lambda: len(rounds) > 4))
    assert rounds[:2] == ["no jump", "no jump"] and facts == {""}


def test_a_canary_that_is_gone_is_reported_and_proves_nothing(world):
    world.canary_there = False
    world.run((None, world.well), (None, lambda: world.events))
    assert world.events == [("canary", "not there: nobody there")]


def test_a_canary_that_is_off_is_not_asked(world):
    world.config.canary.enabled, world.canary_there = False, False
    world.run((None, world.well))
    assert world.proof.canary == "off"


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ip_forward": "0"}, "sysctls"), ({"tcp_liberal": "0"}, "sysctls"), ({"rules": "no jump"}, "rules")],
)
def test_what_is_ours_is_mended_before_anybody_hears_of_it(world, change, word):
    facts = set()
    world.proof.on_news = lambda: facts.add(world.proof.fact)
    world.run((None, world.well), (world.set(**change), lambda: world.events))
    assert world.asked == [word]
    assert facts == {""} and world.events[0][0] == "mended"


def test_a_strict_kernel_that_stays_so_is_told_and_forwards_all_the_same(world):
    world.helper_works = False
    world.run((None, world.well), (world.set(tcp_liberal="0"), lambda: world.events and world.proof.warnings))
    assert world.well() and "run the role again" in world.proof.warnings[0]
    assert world.events == [("not_mended", "nf_conntrack_tcp_be_liberal=0; failed: no")]


def test_what_cannot_be_mended_is_said_with_the_reason(world):
    world.helper_works = False
    world.run((world.set(ip_forward="0"), lambda: world.proof.fact == "ip_forward=0 (failed: no)"))
    assert world.asked == ["sysctls"], "not again at once"
    assert world.events == [("not_mended", "ip_forward=0; failed: no")]


def test_a_fight_is_told_once_and_not_gone_on_with(world):
    world.undone_at_once = True
    world.run((world.set(rules="no jump"), lambda: "undone again" in world.proof.fact))
    world.run((None, lambda: True), (None, lambda: True))
    assert len(world.asked) == MOST
    assert [kind for kind, _text in world.events].count("fight") == 1


@pytest.mark.parametrize("change", ["looking", "observe", "no helper"])
def test_who_must_not_mend_says_what_is_wrong(world, change):
    if change == "looking":
        world.proof.mending = False
    elif change == "observe":
        world.config.mode = "observe"
    else:
        world.proof._mender._path += "-none"
    world.run((world.set(ip_forward="0"), lambda: world.proof.fact == "ip_forward=0"))
    assert world.asked == []


def test_what_the_node_has_no_room_for_is_told_and_no_reason_to_hand_over(world):
    world.counters = {"pps_allowance_exceeded": 5}
    world.run((None, world.well), (world.set(counters={"pps_allowance_exceeded": 9}), lambda: world.events))
    assert [kind for kind, _text in world.events] == ["limit"]
    assert world.proof.warnings[0].startswith("pps_allowance_exceeded: 4 within 60 s; ")
    assert world.proof.fact == ""


def test_a_canary_that_is_gone_is_a_warning(world):
    world.canary_there = False
    world.run((None, world.well), (None, lambda: world.proof.warnings))
    assert world.proof.warnings == ("the canary is not there: nobody there",)


def test_when_traffic_stops_ec2_is_asked_and_only_then(world):
    def flow():
        world.forwarded += 1000

    world.run((None, world.well), *((flow, lambda: True),) * 3)
    before = world.quiet
    proof_ = world.proof
    proof_._rate, proof_._forwarded = 1000.0, (0.0, world.forwarded)
    world.run((None, lambda: world.quiet > before))
