# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of all readers put together: this node's own view, its identity, and what a plan demands."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error, NatFailoverError
from nat_failover.model.cluster import InstanceView
from nat_failover.observe import collector as collectors
from nat_failover.observe.collector import EvidenceCollector
from nat_failover.timing import TimerCoalescer

from .played import PlayedRuntime

RAW = {
    "cluster": "c",
    "self": "nat-a",
    "region": "eu-west-1",
    "interface": "ens5",
    "key_file": "/k",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0000000a", "route_tables": ["rtb-0aaaaaaa"]},
        {"name": "nat-b", "address": "10.0.1.10", "route_tables": ["rtb-0bbbbbbb"]},
    ],
}


class Metadata:
    """A metadata service that fails some times before it names this machine."""

    def __init__(self, failures):
        self.failures = failures

    def identity(self):
        if self.failures:
            self.failures -= 1
            raise Ec2Error("IMDS", "http://169.254.169.254", "Timeout", "no answer", retryable=True)
        return {"instance_id": "i-00000009"}


class Node:
    def __init__(self, raw=None, failures=0):
        raw = RAW if raw is None else raw
        self.runtime = PlayedRuntime(100.0)
        self.events, self.woken = [], 0
        self.collector = EvidenceCollector(
            configuration.parse(raw),
            self.runtime,
            TimerCoalescer(0.1, self.runtime),
            ec2=None,
            host=None,
            prober=None,
            metadata=Metadata(failures),
            wake=self.wake,
            emit=lambda kind, text, _level: self.events.append((kind, text)),
        )

    def wake(self):
        self.woken += 1

    def show(self, name, instance_id, address=None, check=None, at=100.0):
        """EC2 shows an instance for this node."""
        view = InstanceView("running", "eni-" + name, address, {}, at, check, instance_id=instance_id)
        self.collector.reader.merge({}, {name: view})
        self.collector._ec2_read()

    async def identify(self):
        """Run the identity loop until this machine is known."""

        async def known():
            while not self.collector.me.instance_id:
                await asyncio.sleep(0.002)

        looking = asyncio.ensure_future(self.collector._identity_loop())
        try:
            await asyncio.wait_for(known(), 5)
        finally:
            looking.cancel()


@pytest.fixture
def node():
    async def made():
        return Node()

    return asyncio.run(made())


def test_heartbeats_go_where_ec2_shows_the_peer_else_where_it_was_last_else_where_it_is_configured(node):
    assert node.collector.addresses() == {"nat-b": "10.0.1.10"}
    node.show("nat-b", "i-0000000b", "10.0.1.77")
    assert node.collector.addresses() == {"nat-b": "10.0.1.77"}
    node.show("nat-b", "", None, at=101.0)
    assert node.collector.addresses() == {"nat-b": "10.0.1.77"}, "a stale reading may hide it"


def test_the_configured_instance_counts_until_the_machine_itself_is_known(node):
    assert node.collector.instance_id("nat-a") == "i-0000000a"
    with pytest.raises(NatFailoverError, match="nat-failover:node=nat-b"):
        node.collector.instance_id("nat-b")
    node.show("nat-b", "i-0000000b")
    assert node.collector.instance_id("nat-b") == "i-0000000b"

    async def cloned():
        other = Node()  # an image of nat-a, started as another instance: EC2 still shows the first one
        other.show("nat-a", "i-0000000a")
        await other.identify()
        return other

    assert asyncio.run(cloned()).collector.instance_id("nat-a") == "i-00000009"


def test_a_machine_whose_id_is_not_configured_asks_until_it_is_told_and_reports_that_once(monkeypatch):
    monkeypatch.setattr(collectors, "IDENTITY_EVERY", 0.002)
    nodes = [{key: value for key, value in RAW["nodes"][0].items() if key != "instance_id"}, RAW["nodes"][1]]

    async def run():
        node = Node({**RAW, "nodes": nodes}, failures=3)
        await node.identify()
        return node

    node = asyncio.run(run())
    assert node.collector.me.instance_id == "i-00000009" and node.woken == 1
    assert [kind for kind, _text in node.events] == ["identity"]


def test_a_call_that_ec2_answers_or_not_is_evidence(node):
    node.collector.note_ec2(True, 100.0)
    assert node.collector.me.ec2 and node.collector.me.ec2_at == 100.0
    node.collector.note_ec2(False, 99.0, "late")
    assert node.collector.me.ec2, "it began before the one that was answered"
    node.collector.note_ec2(False, 101.0, "no answer")
    assert not node.collector.me.ec2 and node.collector.me.ec2_at == 100.0 and node.collector.problem == "no answer"
    node.collector.note_ec2(True, 102.0)
    assert [text for kind, text in node.events if kind == "ec2"] == [
        "late; reading again",
        "EC2 answers again",
    ], "one event for the begin of an outage, one for its end"


def test_a_source_dest_check_that_ec2_shows_anew_is_checked_at_once(node):
    check = node.collector.forwarding_check
    for value, hurried in ((False, True), (False, False), (True, True)):
        check._pause.forget()
        node.show("nat-a", "i-0000000a", check=value)
        assert check._pause._ended == hurried, value


def test_forwarding_and_internet_become_this_nodes_view_and_an_event(node):
    collector = node.collector
    collector.forwarding_check.fact = "ip_forward=0"
    collector._forwarding_judged()
    assert (collector.me.forwarding, collector.me.fact) == (False, "ip_forward=0")
    collector.forwarding_check.fact = ""
    collector._forwarding_judged()
    assert collector.me.forwarding and node.woken == 2
    assert node.events == [
        ("forwarding", "this node does not forward: ip_forward=0"),
        ("forwarding", "this node forwards: all checks are good"),
    ]
    collector.internet.reachable, collector.internet.proven_at = True, 99.0
    collector._internet_judged()
    assert (collector.me.internet, collector.me.internet_at) == (True, 99.0)


@pytest.mark.parametrize(
    ("needed", "reads", "checks"), [(None, False, False), (98.0, True, False), (99.5, True, True), (-1.0, True, False)]
)
def test_a_demand_for_newer_evidence_has_it_read_and_checked(node, needed, reads, checks):
    collector = node.collector
    collector.me = replace(collector.me, internet_at=99.0)
    collector.demand(needed, None)
    assert (collector.reader._pause._ended, collector.internet._pause._ended) == (reads, checks)


def test_a_witness_has_no_forwarding_to_prove():
    nodes = [{"name": "nat-c", "witness": True}, *({**each} for each in RAW["nodes"])]

    async def run():
        return Node({**RAW, "self": "nat-c", "nodes": nodes})

    collector = asyncio.run(run()).collector
    assert collector.me.fact == ""
    loops = collector.work()
    names = [each.__qualname__ for each in loops]
    for each in loops:
        each.close()
    assert not any("ForwardingCheck" in name or "Canary" in name or "Interruption" in name for name in names)
    collector.internet.reachable = True
    assert collector.judged
