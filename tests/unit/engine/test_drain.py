# SPDX-License-Identifier: GPL-3.0-or-later
"""Who drains a node, who ends that, and what it says meanwhile. The service around it is a stand-in; tests/integration/e2e has the real one."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from nat_failover import cli
from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import TAG_DRAINED, InstanceView, RouteView
from nat_failover.model.settings import Handover
from nat_failover.policy.interruption import SPOT, Notice
from nat_failover.service import drain as module
from nat_failover.service.drain import Drain

SPOT_NOTICE = Notice(SPOT, "spot interruption: stop at noon")


class Hands:
    tagging = False

    def __init__(self, service):
        self.service = service

    async def tag_self(self, key, value):
        assert key == TAG_DRAINED
        self.service.tag(value)


class Service:
    """A node that owns one claim, with one healthy peer that takes it as soon as the node drains and EC2 is read."""

    def __init__(self):
        self.now = 100.0
        self.owned, self.peers_take = ["rtb-1 0.0.0.0/0"], True
        self.peer = {"peer": "nat-b", "verdict": "healthy", "state": "active"}
        self.events, self.reports = [], []
        handover = Handover(poll=2, rebalance="report", scheduled_lead=300, on_stop="keep", wait=0.3)
        self.config = SimpleNamespace(self_name="nat-a", me=SimpleNamespace(witness=False), handover=handover)
        self.gatherer = SimpleNamespace(
            notices=(),
            instances={},
            routes={},
            me=SimpleNamespace(ec2=True),
            read_soon=self.read,
            tables_at=None,
            look_for_tables=self.look_for_tables,
        )
        self.looking = False
        self.read_routes()
        self.radio = SimpleNamespace(set_report=self.reports.append)
        self.hands = Hands(self)
        self.draining = Drain(self)
        self.tag(None)

    def clock(self):
        self.now += 0.01
        return self.now

    def record(self, kind, text, level=0):
        self.events.append((kind, text))

    def wake(self):
        pass

    def tag(self, value):
        tags = {} if value is None else {TAG_DRAINED: value}
        self.gatherer.instances = {"nat-a": InstanceView("running", "eni-a", "10.0.0.10", tags, self.clock())}

    def read_routes(self):
        self.gatherer.routes = {"rtb-1": RouteView("active", "eni-x", self.clock())}

    def look_for_tables(self):
        self.looking = True

    def read(self):
        self.read_routes()
        if self.looking:
            self.gatherer.tables_at = self.clock()
        if self.peers_take and self.draining.state != "active":
            self.owned = []
        self.draining.follow()

    def notice(self, *notices):
        self.gatherer.notices = notices
        self.draining.follow()


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(module.status, "owned", lambda service: service.owned)
    monkeypatch.setattr(module.status, "status", lambda service: {"verdicts": [service.peer]})
    monkeypatch.setattr(module.status, "report", lambda service: service.draining.state)
    return Service()


def test_the_operators_drain_is_a_tag_and_outlives_the_process(service):
    assert asyncio.run(service.draining.drain("kernel update", 5)) == {"changed": True, "state": "drained"}
    assert service.gatherer.instances["nat-a"].tags == {TAG_DRAINED: "kernel update"}
    assert service.reports[0] == "draining", "peers hear it before the tag is written"
    assert not asyncio.run(service.draining.drain("again", 5))["changed"]
    service.draining = Drain(service)  # a new process
    service.draining.follow()
    assert (service.draining.state, service.draining.why) == ("drained", "the tag %s is on this instance" % TAG_DRAINED)
    service.tag(None)
    service.draining.follow()
    assert service.draining.state == "active"


def test_a_notice_drains_without_a_tag_and_ends_by_itself(service):
    service.notice(SPOT_NOTICE)
    assert (service.draining.state, service.draining.why) == ("draining", SPOT_NOTICE.text)
    service.read()
    assert service.draining.state == "drained" and service.gatherer.instances["nat-a"].tags == {}
    service.notice()
    assert (service.draining.state, service.draining.why) == ("active", "")
    assert [kind for kind, _text in service.events] == ["draining", "drained", "resumed"]


def test_a_withdrawn_notice_leaves_the_operators_drain(service):
    service.notice(SPOT_NOTICE)
    service.read()
    assert asyncio.run(service.draining.drain("mine", 5)) == {"changed": True, "state": "drained"}
    assert service.draining.notice == "", "the operator's word is the stronger one: no heir of last resort"
    service.notice()
    assert (service.draining.state, service.draining.why) == ("drained", "mine")


def test_the_operator_overrules_a_notice_but_not_the_next_one(service):
    service.notice(SPOT_NOTICE)
    assert asyncio.run(service.draining.resume()) == {"changed": True, "state": "active"}
    service.notice(SPOT_NOTICE)
    assert service.draining.state == "active"
    service.notice(SPOT_NOTICE, Notice(SPOT, "another"))
    assert service.draining.why == "another"
    service.notice()
    service.notice(SPOT_NOTICE)
    assert service.draining.why == SPOT_NOTICE.text, "it was withdrawn, and is given anew"


def test_a_drain_that_nobody_could_take_is_refused_and_changes_nothing(service):
    service.peer["state"] = "drained"
    with pytest.raises(NatFailoverError, match="nobody could take over now: nat-b is healthy, drained"):
        asyncio.run(service.draining.drain("kernel update", 5))
    assert (service.draining.state, service.gatherer.instances["nat-a"].tags) == ("active", {})


def test_before_the_end_of_the_machine_claims_are_handed_over_without_a_tag(service):
    assert asyncio.run(service.draining.leave("this machine shuts down")) == {"changed": True, "state": "drained"}
    assert service.gatherer.instances["nat-a"].tags == {}
    assert service.draining.notice == "", "who is about to be off is no heir of last resort"
    with pytest.raises(NatFailoverError, match="this machine shuts down; it is eligible again after"):
        asyncio.run(service.draining.resume())


def test_what_was_read_before_does_not_end_a_hand_over(service):
    service.owned = []  # by the last reading; since then somebody has pointed a route here
    service.read = lambda: (service.read_routes(), service.owned.append("rtb-1"), service.draining.follow())
    service.gatherer.read_soon, service.peers_take = service.read, False
    with pytest.raises(NatFailoverError, match="still the owner of rtb-1"):
        asyncio.run(service.draining.leave("this machine shuts down"))


def test_an_api_that_does_not_answer_is_not_waited_for(service):
    service.owned, service.gatherer.me.ec2, service.gatherer.read_soon = [], False, lambda: None
    assert asyncio.run(service.draining.leave("this machine shuts down"))["state"] == "drained"


def test_the_end_of_the_machine_waits_for_nobody_who_is_not_there(service):
    service.peer.update(verdict="failed")
    before = service.now
    with pytest.raises(NatFailoverError, match="nobody takes over: nat-b is failed"):
        asyncio.run(service.draining.leave("this machine shuts down"))
    assert service.now - before < 0.3
    assert service.events[-1] == (
        "abandoned",
        "this machine shuts down, and nobody takes over: nat-b is failed, active",
    )
    assert service.reports == ["draining"], "it is announced all the same"


def test_the_end_of_the_machine_waits_no_longer_than_configured(service):
    service.peers_take = False
    with pytest.raises(NatFailoverError, match="still the owner of rtb-1 0.0.0.0/0 after 0 s"):
        asyncio.run(service.draining.leave("this machine shuts down"))
    assert service.events[-1][0] == "abandoned"


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
