# SPDX-License-Identifier: GPL-3.0-or-later
"""The conclusions of a node about itself, from its kernel, its canary and repairs. The world around it is played."""

from __future__ import annotations

import asyncio
import json
import types

import pytest

from nat_failover.config.targets import parse as parse_targets
from nat_failover.model import settings
from nat_failover.model.nat import Nat
from nat_failover.observe.self_repair import MOST

from .checked_world import World


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    yield made
    made.pool.close()
    asyncio.set_event_loop(None)
    made.loop.close()


def test_nothing_is_reported_before_kernel_and_canary_have_been_checked(world):
    world.answers = "no answer"
    world.run((None, lambda: world.facts))
    assert world.facts[0] == "a client's packets get no answer: no answer" and world.forwarding_check.complete


@pytest.mark.parametrize(
    ("reports", "nftables", "rarely"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_rules_are_read_rarely_only_where_the_kernel_reports_changes(world, reports, nftables, rarely):
    asked = []
    world.reports, world.in_nftables = reports, nftables
    world.run((None, lambda: asked.append(1) or (world.well() and len(asked) > 60)))
    assert (world.readings <= 2) == rarely and world.readings >= 1


def test_a_notice_has_the_rules_read_also_where_that_is_rare(world):
    world.reports = True

    def flush():
        world.helper_works, world.rules = False, "no jump"
        world.notices[0]()

    world.run((None, world.well), (flush, lambda: "no jump" in world.forwarding_check.fact))
    assert world.notices == [], "the subscription was closed"


def test_a_canary_without_answers_is_a_failing_fact_until_it_has_one(world):
    world.run(
        (None, world.well),
        (world.set(answers="1.1.1.1:443: no answer"), lambda: "no answer" in world.forwarding_check.fact),
        (world.set(answers=""), world.well),
    )
    assert world.asked == [], "the helper cannot repair that"


def test_each_family_must_be_answered_where_both_are_asked(world):
    targets = parse_targets("canary.targets_ipv6", ["[2001:db8::1]:443"])
    world.config.canary.ipv6 = settings.Ipv6Canary("2001:db8::ff", targets, 1)
    world.answers6 = "[2001:db8::1]:443: no answer"
    fact = "a client's IPv6 packets get no answer: [2001:db8::1]:443: no answer"
    canary = world.forwarding_check.canary
    world.run(
        (None, lambda: world.forwarding_check.fact == fact),
        (None, lambda: canary.state == "answered, over IPv6 not answered"),
        (world.set(answers6=""), world.well),
        (None, lambda: canary.state == "answered"),
        (world.set(answers="1.1.1.1:443: no answer"), lambda: "client's packets" in world.forwarding_check.fact),
    )


def test_a_canarys_round_from_before_a_repair_does_not_count_against_the_node_after_it(world):
    """The rules are gone, the canary has lost a round and probes again. They are repaired before that round ends."""
    rounds = []

    async def slow(_line):
        rounds.append(world.rules)
        if not world.rules or len(rounds) > 2:
            return b'{"problem": ""}'
        if len(rounds) == 2:
            while world.rules:  # it has probed already, and its answer never comes
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
        return b'{"problem": "no answer"}'

    repair = world.repair

    async def late(word):
        while len(rounds) < 2:
            await asyncio.sleep(0.001)
        return await repair(word)

    world.run((None, world.well))
    world.probe, world.repair = slow, late
    world.run((world.set(rules="no jump"), lambda: world.events), (None, lambda: len(rounds) > 4))
    assert rounds[:2] == ["no jump", "no jump"] and set(world.facts) == {""}


def test_a_canary_that_is_gone_is_reported_and_proves_nothing(world):
    world.canary_there = False
    world.run((None, world.well), (None, lambda: world.events))
    ((kind, text),) = world.events
    assert kind == "canary" and text.startswith("not there: canary: ") and "nobody there" in text
    assert world.forwarding_check.warnings == (f"the canary is {text}",)


def test_a_canary_that_is_off_is_not_asked(world):
    world.config.canary.enabled, world.canary_there = False, False
    world.run((None, world.well))
    assert world.forwarding_check.canary.state == "off" and world.events == []


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ip_forward": "0"}, "sysctls"), ({"tcp_liberal": "0"}, "sysctls"), ({"rules": "no jump"}, "rules")],
)
def test_a_defect_that_the_helper_repairs_is_no_failing_fact(world, change, word):
    world.run((None, world.well), (world.set(**change), lambda: world.events))
    assert world.asked == [word]
    assert set(world.facts) == {""} and world.events[0][0] == "mended"


def test_a_strict_kernel_that_stays_so_is_a_warning_and_the_node_forwards(world):
    world.helper_works = False
    world.run(
        (None, world.well), (world.set(tcp_liberal="0"), lambda: world.events and world.forwarding_check.warnings)
    )
    assert world.well() and "run the role again" in world.forwarding_check.warnings[0]
    assert world.events == [("not_mended", "tcp_be_liberal=0; not repaired: failed: no")]


def test_a_defect_that_cannot_be_repaired_is_reported_with_the_reason(world):
    world.helper_works = False
    world.run((world.set(ip_forward="0"), lambda: world.forwarding_check.fact == "ip_forward=0 (failed: no)"))
    assert world.asked == ["sysctls"], "not again at once"
    assert world.events == [("not_mended", "ip_forward=0; not repaired: failed: no")]


def test_a_fight_is_reported_once_and_given_up(world):
    world.undone_at_once = True
    world.run((world.set(rules="no jump"), lambda: "undone again" in world.forwarding_check.fact))
    world.run((None, lambda: True), (None, lambda: True))
    assert len(world.asked) == MOST
    assert [kind for kind, _text in world.events].count("fight") == 1


@pytest.mark.parametrize("change", ["observation", "observe", "no helper"])
def test_a_node_that_must_not_repair_reports_the_defect(world, change):
    if change == "observation":
        world.forwarding_check.repairs = False
    elif change == "observe":
        world.config.mode = "observe"
    else:
        world.helper_there = False
    world.run((world.set(ip_forward="0"), lambda: world.forwarding_check.fact == "ip_forward=0"))
    assert world.asked == [] and world.events == []


def test_packets_without_room_are_a_warning_and_no_reason_to_hand_over(world):
    world.limits = {"pps_allowance_exceeded": 5}
    world.run((None, world.well), (world.set(limits={"pps_allowance_exceeded": 9}), lambda: world.events))
    assert [kind for kind, _text in world.events] == ["limit"]
    assert world.forwarding_check.warnings[0].startswith("pps_allowance_exceeded: 4 within 60 s; ")
    assert world.forwarding_check.fact == ""
    assert world.forwarding_check.facts()["pps_allowance_exceeded"] == 9


def test_ec2_is_read_when_traffic_stops_and_only_then(world):
    async def flow():
        while world.flowing:
            world.forwarded += 1000
            await asyncio.sleep(0.001)

    world.flowing = True
    flowing = world.loop.create_task(flow())
    world.run((None, world.well), (None, lambda: world.forwarded > 50000))
    before = world.quiet
    world.run((world.set(flowing=False), lambda: world.quiet > before))
    world.loop.run_until_complete(flowing)


def test_a_new_configuration_is_checked_at_once(world):
    world.reports = True  # the rules are read every 30 s
    world.run((None, world.well))
    readings = world.readings
    config = types.SimpleNamespace(**{**vars(world.config), "nat": Nat(("10.9.0.0/16",), "ens6")})
    world.run((lambda: world.forwarding_check.reconfigure(config), lambda: world.readings > readings))
    assert world.forwarding_check.config is world.forwarding_check.canary.config is config


def test_rules_that_cannot_be_read_are_a_warning_while_the_canary_is_answered(world):
    """The kernel's rules are as they were: only their text is lost, and packets outrank text."""
    world.run(
        (None, world.well),
        (world.set(unreadable="no text"), lambda: world.forwarding_check.warnings),
    )
    assert world.well() and world.asked == [] and world.events == []
    assert "cannot be read: no text" in world.forwarding_check.warnings[0]
    world.canary_there, world.helper_works = False, False
    world.run((None, lambda: "cannot be read: no text" in world.forwarding_check.fact))
    assert set(world.asked) == {"rules"}, "without the canary nothing proves that packets pass"


def test_rules_that_cannot_be_read_at_the_start_are_not_repaired_before_the_canary_has_probed(world):
    probed = []

    async def late(line):
        probed.append(line)
        while world.readings < 2:
            await asyncio.sleep(0.001)
        return json.dumps({"problem": ""}).encode()

    world.probe, world.unreadable = late, "no text"
    world.run((None, world.well), (None, lambda: world.forwarding_check.warnings))
    assert probed and world.asked == [] and "cannot be read" not in "".join(world.facts)


def test_rules_of_others_that_may_drop_are_a_warning_and_follow_the_kernel(world):
    world.run(
        (None, world.well), (world.set(foreign=("nft chain inet x y: drop",)), lambda: world.forwarding_check.warnings)
    )
    assert "nft chain inet x y: drop" in world.forwarding_check.warnings[0] and world.well()
    world.run((world.set(foreign=None), lambda: not world.forwarding_check.warnings))
    assert world.forwarding_check.facts()["foreign_rules"] == "unknown: nft failed (127)"
