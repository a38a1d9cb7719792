# SPDX-License-Identifier: GPL-3.0-or-later
"""A drain: its begin, its end, and the state that is reported meanwhile. The service around it is a stand-in; tests/integration/e2e has the real one."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from nat_failover import cli
from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import TAG_DRAINED, Claim, InstanceView, RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.memory import Memory, PeerMemory
from nat_failover.model.settings import Handover
from nat_failover.policy.interruption import SPOT, Interruption
from nat_failover.service.drain import READ_EVERY, Drain
from nat_failover.service.parts import DrainState, Parts

SPOT_NOTICE = Interruption(SPOT, "spot interruption: stop at noon")


class Clock:
    """A runtime on which every look at the clock takes 10 ms."""

    def __init__(self):
        self.at = 100.0

    def now(self):
        self.at += 0.01
        return self.at

    def wall_time(self):
        return 1.8e9 + self.at

    async def sleep(self, seconds):
        self.at += seconds


class Node:
    """A node that owns one claim, with one healthy peer that takes it as soon as the node drains and EC2 is read."""

    def __init__(self):
        self.clock = Clock()
        self.peers_take = True
        self.peer = {"verdict": "healthy", "state": "active"}
        self.events, self.reports = [], []
        handover = Handover(poll=2, rebalance="report", scheduled_lead=300, on_stop="keep", wait=0.3)
        config = SimpleNamespace(self_name="nat-a", me=SimpleNamespace(witness=False), handover=handover)
        self.collector = SimpleNamespace(
            interruptions=(),
            instances={},
            routes={},
            me=SimpleNamespace(ec2=True),
            read_soon=self.read,
            tables_at=None,
            find_tables=self.find_tables,
        )
        self.looking = False
        self.target = "eni-a"
        self.parts = Parts(
            config=config,
            runtime=self.clock,
            boot_id="b",
            timers=None,
            liveness=None,
            signs=None,
            events=SimpleNamespace(emit=lambda kind, text, level=0: self.events.append((kind, text))),
            transport=SimpleNamespace(heard=self.heard),
            collector=self.collector,
            witness=None,
            executor=SimpleNamespace(tagging=False, tag_self=self.tag_self),
            memory=None,
        )
        self.read_routes()
        self.restart()
        self.tag(None)

    def restart(self):
        """A new process: what it announces is derived anew."""
        self.parts.drain = DrainState()
        self.drain = Drain(self.parts, lambda: self.reports.append(self.parts.drain.state))

    @property
    def state(self):
        return self.parts.drain.state

    @property
    def why(self):
        return self.parts.drain.why

    def heard(self):
        self.parts.memory = Memory(0.0, peers={"nat-b": PeerMemory(verdict=self.peer["verdict"])})
        return {"nat-b": Heard(report=Report(state=self.peer["state"]))}

    async def tag_self(self, key, value):
        assert key == TAG_DRAINED
        self.tag(value)

    def tag(self, value):
        tags = {} if value is None else {TAG_DRAINED: value}
        self.collector.instances = {"nat-a": InstanceView("running", "eni-a", "10.0.0.10", tags, self.clock.now())}

    def read_routes(self):
        claim = Claim("rtb-1", "0.0.0.0/0", "nat-a")
        self.collector.routes = {claim: RouteView("active", self.target, self.clock.now())}

    def find_tables(self):
        self.looking = True

    def read(self):
        if self.peers_take and self.state != "active":
            self.target = "eni-b"
        self.read_routes()
        if self.looking:
            self.collector.tables_at = self.clock.now()
        self.drain.follow()

    def interrupt(self, *interruptions):
        self.collector.interruptions = interruptions
        self.drain.follow()


@pytest.fixture
def node():
    return Node()


def test_the_operators_drain_is_a_tag_and_outlives_the_process(node):
    assert asyncio.run(node.drain.drain("kernel update", 5)) == {"changed": True, "state": "drained"}
    assert node.collector.instances["nat-a"].tags == {TAG_DRAINED: "kernel update"}
    assert node.reports[0] == "draining", "peers hear it before the tag is written"
    assert not asyncio.run(node.drain.drain("again", 5))["changed"]
    node.restart()
    node.drain.follow()
    assert (node.state, node.why) == ("drained", f"the tag {TAG_DRAINED} is on this instance")
    node.tag(None)
    node.drain.follow()
    assert node.state == "active"


def test_a_notice_drains_without_a_tag_and_ends_by_itself(node):
    node.interrupt(SPOT_NOTICE)
    assert (node.state, node.why) == ("draining", SPOT_NOTICE.text)
    node.read()
    assert node.state == "drained" and node.collector.instances["nat-a"].tags == {}
    node.interrupt()
    assert (node.state, node.why) == ("active", "")
    assert [kind for kind, _text in node.events] == ["draining", "drained", "resumed"]


def test_a_withdrawn_notice_leaves_the_operators_drain(node):
    node.interrupt(SPOT_NOTICE)
    node.read()
    assert asyncio.run(node.drain.drain("mine", 5)) == {"changed": True, "state": "drained"}
    assert node.parts.drain.interruption == "", "the operator's word is the stronger one: no heir of last resort"
    node.interrupt()
    assert (node.state, node.why) == ("drained", "mine")


def test_the_operator_overrules_a_notice_but_not_the_next_one(node):
    node.interrupt(SPOT_NOTICE)
    assert asyncio.run(node.drain.resume()) == {"changed": True, "state": "active"}
    node.interrupt(SPOT_NOTICE)
    assert node.state == "active"
    node.interrupt(SPOT_NOTICE, Interruption(SPOT, "another"))
    assert node.why == "another"
    node.interrupt()
    node.interrupt(SPOT_NOTICE)
    assert node.why == SPOT_NOTICE.text, "it was withdrawn, and is given anew"


def test_a_drain_that_nobody_could_take_is_refused_and_changes_nothing(node):
    node.peer["state"] = "drained"
    with pytest.raises(NatFailoverError, match="no peer can take over now: nat-b is healthy, drained"):
        asyncio.run(node.drain.drain("kernel update", 5))
    assert (node.state, node.collector.instances["nat-a"].tags) == ("active", {})


def test_before_the_end_of_the_machine_claims_are_handed_over_without_a_tag(node):
    assert asyncio.run(node.drain.leave("this machine shuts down")) == {"changed": True, "state": "drained"}
    assert node.collector.instances["nat-a"].tags == {}
    assert node.parts.drain.interruption == "", "who is about to be off is no heir of last resort"
    with pytest.raises(NatFailoverError, match="this machine shuts down; this node is eligible again after"):
        asyncio.run(node.drain.resume())


def test_the_first_reading_comes_once_the_peers_have_had_a_moment_to_write(node):
    began, reads, read = node.clock.at, [], node.read
    node.collector.read_soon = lambda: (reads.append(node.clock.at - began), read())
    asyncio.run(node.drain.drain("kernel update", 5))
    assert len(reads) == 1 and READ_EVERY <= reads[0] < 2 * READ_EVERY


def test_a_node_that_owns_nothing_reads_at_once(node):
    node.target = "eni-b"
    node.read_routes()
    began, reads, read = node.clock.at, [], node.read
    node.collector.read_soon = lambda: (reads.append(node.clock.at - began), read())
    asyncio.run(node.drain.drain("kernel update", 5))
    assert reads[0] < READ_EVERY


def test_what_was_read_before_does_not_end_a_hand_over(node):
    node.target = "eni-b"  # by the last reading; since then somebody has pointed a route here
    node.read_routes()
    node.peers_take = False

    def read():
        node.target = "eni-a"
        node.read()

    node.collector.read_soon = read
    with pytest.raises(NatFailoverError, match="this node still owns rtb-1"):
        asyncio.run(node.drain.leave("this machine shuts down"))


def test_an_api_that_does_not_answer_is_not_waited_for(node):
    node.target, node.collector.me.ec2, node.collector.read_soon = "eni-b", False, lambda: None
    node.read_routes()
    assert asyncio.run(node.drain.leave("this machine shuts down"))["state"] == "drained"


def test_the_end_of_the_machine_waits_for_nobody_who_is_not_there(node):
    node.peer.update(verdict="failed")
    before = node.clock.at
    with pytest.raises(NatFailoverError, match="no peer takes over: nat-b is failed"):
        asyncio.run(node.drain.leave("this machine shuts down"))
    assert node.clock.at - before < 0.3
    assert node.events[-1] == (
        "abandoned",
        "this machine shuts down, and no peer takes over: nat-b is failed, active",
    )
    assert node.reports == ["draining"], "it is announced all the same"


def test_the_end_of_the_machine_waits_no_longer_than_configured(node):
    node.peers_take = False
    with pytest.raises(NatFailoverError, match="this node still owns rtb-1 0.0.0.0/0 after 0 s"):
        asyncio.run(node.drain.leave("this machine shuts down"))
    assert node.events[-1][0] == "abandoned"


@pytest.mark.parametrize(
    ("systemd", "says"),
    [
        ("running", "this machine does not shut down: nothing is handed over"),
        ("degraded", "this machine does not shut down: nothing is handed over"),
        ("", "this machine does not shut down: nothing is handed over"),
        ("stopping", "the service does not run here: nothing is handed over"),
    ],
)
def test_only_a_shutdown_makes_the_command_hand_over(tmp_path, capsys, systemd, says):
    nodes = [
        {"name": n, "instance_id": i, "route_tables": ["rtb-00000001"][: n == "a"]}
        for n, i in (("a", "i-00000001"), ("b", "i-00000002"))
    ]
    raw = {"cluster": "c", "self": "a", "region": "eu-west-1", "nodes": nodes, "interface": "lo", "key_file": "/k"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**raw, "runtime_directory": str(tmp_path)}))
    asked = []

    def runner(argv, *, timeout, stdin=""):
        asked.append(argv)
        return (0 if systemd == "running" else 1), systemd + "\n", ""

    assert cli.main(["leave", "--config", str(config)], runner) == 0
    assert capsys.readouterr().out == says + "\n"
    assert asked == [["systemctl", "is-system-running"]]
