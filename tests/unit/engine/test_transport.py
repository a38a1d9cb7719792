# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat transport: real UDP between two nodes on the loopback network, and its counters, without a single sleep for luck."""

from __future__ import annotations

import pytest

from nat_failover.model.evidence import Heard, Report
from nat_failover.runtime import real
from nat_failover.wire.codec import Codec
from nat_failover.wire.transport import GREET_EVERY

from .two_nodes import ACTIVE, ADDRESS, KEY, Clock, Sent, beat, bind, node, pair, run, until


@pytest.fixture
def no_icmp(monkeypatch):
    """As on a host that permits no ping: UDP alone decides what a test sees."""
    monkeypatch.setattr(real, "open_icmp_socket", lambda bind: None)


# --- two nodes -----------------------------------------------------------------------------------------------------------------


def test_two_nodes_find_each_other(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            assert a.heard()["nat-b"] == Heard()
            await bind(a, b)
            clock.seconds = 101.5
            b.set_report(Report("draining", False, "uplink down", {"nat-a": "healthy"}))
            b.beat("nat-a")
            await until(lambda: a.heard()["nat-b"].heartbeat_at == 101.5)
            heard = a.heard()["nat-b"]
            assert heard.report == Report("draining", False, "uplink down", {"nat-a": "healthy"})
            assert (heard.boot_id, heard.unanswered, heard.icmp_at) == (b.boot_id, 0, None)

    run(scenario())


def test_a_heartbeat_is_not_answered_a_probe_is(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            await settled(a, b)
            sent = b.counters["sent"]
            a.beat("nat-b")
            a.beat("nat-b")
            await settled(a, b)
            assert b.counters["sent"] == sent
            a.probe("nat-b")
            await settled(a, b)
            assert b.counters["sent"] == sent + 1

    run(scenario())


async def settled(a, b):
    """No packet is on its way any more: all that was sent has been taken, or counted as refused."""
    refused = ("bad_mac", "malformed", "wrong_cluster", "not_for_me", "unknown_sender", "replayed", "unbound", "late")

    def taken(node):
        return sum(node.counters[name] for name in ("received", *refused))

    await until(lambda: a.counters["sent"] == taken(b) and b.counters["sent"] == taken(a))


def test_probes_count_as_unanswered_until_anything_is_heard(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            await bind(a, b)
            await settled(a, b)
            b.set_peers({"nat-c": ADDRESS["nat-a"]})  # deaf to this node
            for _turn in range(3):
                a.probe("nat-b")
            assert a.heard()["nat-b"].unanswered == 3
            await until(lambda: b.counters["unknown_sender"] == 3)

    run(scenario())


def test_a_changed_report_and_life_after_suspicion_wake_the_loop(no_icmp):
    async def scenario():
        woken = []
        async with pair(Clock()) as (a, b):
            a.wake = lambda: woken.append(True)
            await bind(a, b)
            await settled(a, b)
            assert len(woken) == 1
            b.beat("nat-a")  # nothing has changed
            await settled(a, b)
            assert len(woken) == 1
            b.set_report(Report("active", False, "ip_forward=0", {}))
            b.beat("nat-a")
            await settled(a, b)
            assert len(woken) == 2
            a.probe("nat-b")  # suspicion ...
            await settled(a, b)  # ... and an answer
            assert len(woken) == 3

    run(scenario())


def test_a_restarted_peer_is_heard_again_at_once(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            await bind(a, b)
            b.close()
            again = node("nat-b", b._port, clock)
            await again.open()
            try:
                clock.seconds += 10
                again.beat("nat-a")  # unbound: a probes back, and the answer binds
                await until(lambda: a.heard()["nat-b"].boot_id == again.boot_id)
                assert a.counters["unbound"] >= 1
            finally:
                again.close()

    run(scenario())


# --- nothing that is not authentic and fresh counts -------------------------------------------------------------------------------


@pytest.fixture
def bound():
    """nat-a with nat-b bound, without sockets; and what nat-b would send."""
    clock = Clock()
    a = node("nat-a", 1, clock)
    b = node("nat-b", 1, clock)
    peer = a._peers["nat-b"]
    seq = peer.session.next_seq(clock.seconds)
    a.take(b.codec.encode("b", b.boot_id, 10, a.boot_id, seq, ACTIVE, "nat-a"))
    assert a.heard()["nat-b"].heartbeat_at == 100.0
    clock.seconds = 200.0
    return a, b


def garbled(packet):
    """A packet with another last byte, whatever that is: in one of 256 it is a zero already."""
    return packet[:-1] + bytes([packet[-1] ^ 1])


@pytest.mark.parametrize(
    "reason, forge",
    [
        ("malformed", lambda a, b: b"hello"),
        ("malformed", lambda a, b: beat(a, b)[:-1] * 20),
        ("bad_mac", lambda a, b: garbled(beat(a, b))),
        ("bad_mac", lambda a, b: beat(a, b, codec=Codec(b"x" * 32, "prod", "nat-b"))),
        ("wrong_cluster", lambda a, b: beat(a, b, codec=Codec(KEY, "test", "nat-b"))),
        ("not_for_me", lambda a, b: beat(a, b, to="nat-c")),
        ("not_for_me", lambda a, b: beat(a, b, codec=a.codec, to="nat-b")),
        ("unknown_sender", lambda a, b: beat(a, b, codec=Codec(KEY, "prod", "nat-z"))),
        ("replayed", lambda a, b: beat(a, b, seq=10)),
        ("replayed", lambda a, b: beat(a, b, seq=9)),
        ("unbound", lambda a, b: beat(a, b, boot="cc" * 8)),
        ("late", lambda a, b: beat(a, b, boot="cc" * 8, echo=(a.boot_id, 1))),
    ],
)
def test_a_refused_packet_moves_one_counter_and_nothing_else(bound, reason, forge):
    a, b = bound
    before, called = a.heard(), []
    a.wake, a.on_packet = lambda: called.append("wake"), called.append
    counted = dict(a.counters)
    a.take(forge(a, b))
    assert a.heard() == before
    assert called == []
    assert {name: a.counters[name] - counted.get(name, 0) for name in a.counters} == {
        **dict.fromkeys(counted, 0),
        reason: 1,
    }


def test_a_packet_that_changes_nothing_counts_and_wakes_nothing(bound):
    a, b = bound
    woken, packets = [], []
    a.take(beat(a, b, seq=11))
    a.wake, a.on_packet = lambda: woken.append(True), packets.append
    a.take(beat(a, b, seq=12))
    assert (woken, packets) == ([], ["nat-b"])
    assert a.heartbeats() == {"nat-b": a.heard()["nat-b"].heartbeat_at}


def test_life_without_a_report_yet_is_no_heartbeat(bound):
    # A reborn peer's bare probe binds; judging it by the report of its last life would be wrong.
    a, b = bound
    reborn = "cc" * 8
    seq = a._peers["nat-b"].session.next_seq(200.0)
    a.take(b.codec.encode("p", reborn, 1, a.boot_id, seq, None, "nat-a"))
    assert a.heard()["nat-b"].boot_id == reborn
    assert a.heard()["nat-b"].heartbeat_at == 100.0
    a.take(b.codec.encode("b", reborn, 2, "", 0, ACTIVE, "nat-a"))
    assert a.heard()["nat-b"].heartbeat_at == 200.0


def test_a_forger_gains_no_amplifier(bound):
    a, b = bound
    a._udp = Sent()
    a.set_report(Report("active", False, "x" * 200, {}))
    replayed = beat(a, b, boot="cc" * 8)
    for _turn in range(50):
        a.take(replayed, "192.0.2.66")
    [(data, (address, port))] = (
        a._udp.packets
    )  # one in GREET_EVERY, to the configured address, no longer than what came
    assert (address, port) == ("127.0.0.12", 1)
    assert len(data) <= len(replayed)
    a._runtime.seconds += GREET_EVERY
    a.take(replayed, "192.0.2.66")
    assert len(a._udp.packets) == 2


def test_a_new_key_takes_over_without_a_lost_peer(bound):
    a, b = bound
    new = b"n" * 32
    a.codec = Codec((new, KEY), "prod", "nat-a")
    a.take(beat(a, b, seq=11))
    a.take(beat(a, b, codec=Codec((new, KEY), "prod", "nat-b"), seq=12))
    assert a.counters["received"] == 3
    a.codec = Codec(new, "prod", "nat-a")
    a.take(beat(a, b, seq=13))
    assert a.counters["bad_mac"] == 1


# --- peers ---------------------------------------------------------------------------------------------------------------------


def test_a_peer_that_moved_keeps_its_session(bound):
    a, _b = bound
    before = a.heard()["nat-b"]
    a.set_peers({"nat-b": "10.9.9.9"})
    a._udp = Sent()
    a.beat("nat-b")
    assert a._udp.packets[0][1][0] == "10.9.9.9"
    assert a.heard()["nat-b"] == before


def test_a_peer_that_is_gone_is_forgotten(bound):
    a, _b = bound
    a.set_peers({})
    assert a.heard() == {}
    for send in (a.beat, a.probe, a.ping):
        send("nat-b")  # nothing happens
    a.set_peers(ADDRESS)
    assert a.heard() == {"nat-b": Heard()}


def test_nobody_is_their_own_peer():
    a = node("nat-a", 1, Clock())
    assert list(a.heard()) == ["nat-b"]
