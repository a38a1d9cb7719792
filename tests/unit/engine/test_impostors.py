# SPDX-License-Identifier: GPL-3.0-or-later
"""Another machine in the name of a peer: it has the key, and its address tells it from the peer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nat_failover.errors import Ec2Error
from nat_failover.model.evidence import Report, Stranger
from nat_failover.observe.impostor_watch import KEPT, MOST, ImpostorWatch
from nat_failover.wire.codec import BEAT, PROBE, Codec, new_boot_id
from nat_failover.wire.transport import HeartbeatTransport

from .played import PlayedRuntime
from .policy_case import NOW, PEER, Case

KEY, FINE = b"k" * 32, Report("active", True)
REAL, CLONE = "10.0.1.10", "10.0.1.99"


class Node:
    """nat-a without sockets: what it sends to whom, and what it takes for strangers."""

    def __init__(self):
        self.runtime = PlayedRuntime()
        self.transport = HeartbeatTransport(
            Codec(KEY, "prod", "nat-a"), self.runtime, self_name="nat-a", boot_id=new_boot_id(), port=4710
        )
        self.sent, self.strangers = [], []
        self.transport._udp = self
        self.transport.on_stranger = lambda name, address: self.strangers.append((name, address))
        self.transport.set_peers({"nat-b": REAL})
        self.transport.set_origins({"nat-b": (REAL, "10.0.1.11")})

    def send(self, data, address, port):
        self.sent.append((data, address))

    def admit(self, addresses):
        self.admitted = addresses

    def heard(self):
        return self.transport.heard()["nat-b"]


class Peer:
    """A machine that runs as nat-b. It learns only what reaches it."""

    def __init__(self):
        self.codec, self.boot, self.seq, self.echo = Codec(KEY, "prod", "nat-b"), new_boot_id(), 0, ("", 0)

    def take(self, data):
        packet = self.codec.decode(data)
        self.echo = packet.boot_id, packet.seq

    def packet(self, kind=BEAT):
        self.seq += 1
        return self.codec.encode(kind, self.boot, self.seq, *self.echo, FINE, "nat-a")


@pytest.fixture
def node():
    return Node()


def bind(node, peer, address=REAL):
    node.transport.probe("nat-b")
    peer.take(node.sent[-1][0])
    node.transport.take(peer.packet(), address)


def test_the_peer_is_heard_from_any_address_of_its_instance(node):
    bind(node, Peer(), "10.0.1.11")
    assert node.heard().heartbeat_at is not None and node.strangers == []


@pytest.mark.parametrize("kind", [BEAT, PROBE])
def test_a_clone_is_no_life_of_the_peer_and_is_not_answered(node, kind):
    for _repeat in range(20):
        node.transport.take(Peer().packet(kind), CLONE)
    assert node.heard().heartbeat_at is None and node.heard().report is None
    assert node.sent == [] and set(node.strangers) == {("nat-b", CLONE)}
    assert node.transport.counters["unbound"] == 20


def test_a_clone_beside_the_living_peer_disturbs_nothing(node):
    peer, clone = Peer(), Peer()
    bind(node, peer)
    heard = node.heard()
    for _repeat in range(20):
        node.transport.take(clone.packet(), CLONE)
    assert node.heard() == heard
    node.transport.beat("nat-b")
    peer.take(node.sent[-1][0])
    assert peer.codec.decode(node.sent[-1][0]).echo_boot == peer.boot, "the peer's own boot is echoed, not the clone's"


def test_a_clone_beside_the_dead_peer_keeps_it_dead(node):
    bind(node, Peer())
    at, node.runtime.at = node.heard().heartbeat_at, node.runtime.at + 60
    clone = Peer()
    clone.echo = node.transport.boot_id, node.transport._peers["nat-b"].session.seq  # even if it overheard this
    node.transport.take(clone.packet(), CLONE)
    assert node.heard().heartbeat_at == at


def test_before_ec2_was_read_any_address_may_bind(node):
    node.transport.set_origins({})
    bind(node, Peer(), CLONE)
    assert node.heard().heartbeat_at is not None


# --- the watch -----------------------------------------------------------------------------------------------------------


def watched(scenario, find):
    runtime = PlayedRuntime()

    async def run():
        watch = ImpostorWatch(runtime, find)
        await scenario(watch, runtime)
        return watch

    return asyncio.run(run())


async def knows(address):
    return "i-0clone" if address == CLONE else ""


async def fails(address):
    raise Ec2Error("ec2:DescribeInstances", address, "Timeout", "no", retryable=True)


@pytest.mark.parametrize(("find", "instance"), [(knows, "i-0clone"), (fails, "")])
def test_a_stranger_is_named_by_its_instance_and_forgotten_after_a_minute(find, instance):
    async def scenario(watch, runtime):
        watch.note("nat-b", CLONE)
        for _turn in range(3):
            await asyncio.sleep(0)
        runtime.at += 30
        watch.note("nat-b", CLONE)
        assert watch.strangers == (Stranger("nat-b", CLONE, 100.0, 130.0, instance),)
        runtime.at += KEPT + 1
        assert watch.strangers == ()

    watched(scenario, find)


def test_a_flood_of_addresses_is_bounded():
    async def scenario(watch, runtime):
        for number in range(1000):
            watch.note("nat-b", f"10.0.{number // 250}.{number % 250}")
        assert len(watch.strangers) == MOST == len(watch._searches)

    watched(scenario, knows)


# --- the warning -----------------------------------------------------------------------------------------------------------


def with_stranger(first_at, address=CLONE, instance="i-0clone"):
    case = Case()
    case.instances[PEER] = replace(case.instances[PEER], addresses=(REAL,), address=REAL)
    case.strangers = (Stranger(PEER, address, first_at, NOW, instance),)
    return case


def test_an_impostor_is_reported_with_both_instances_and_the_remedy():
    case = with_stranger(NOW - 30)
    [line] = case.decide().warnings.values()
    assert all(part in line for part in (CLONE, "i-0clone", PEER, case.instances[PEER].instance_id, REAL))
    assert "Stop nat-failover on 10.0.1.99" in line


def test_an_impostor_without_an_instance_of_the_cluster_is_reported_by_its_address():
    [line] = with_stranger(NOW - 30, instance="").decide().warnings.values()
    assert "an instance that EC2 does not show" in line


@pytest.mark.parametrize(("first_at", "address"), [(NOW - 3, CLONE), (NOW - 30, REAL)])
def test_a_peer_that_has_just_moved_is_no_impostor(first_at, address):
    assert with_stranger(first_at, address).decide().warnings == {}
