# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's order to fence a peer: it takes the place of the verdict, and of no other objection."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.cluster import TAG_FENCE, TAG_MAINTENANCE, RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.model.order import By
from nat_failover.policy import decide
from nat_failover.service.evidence import gather
from nat_failover.service.fence_order import WITHIN, FenceOrder
from nat_failover.service.status import status

from .standing import CLAIM_B, NOW, standing

BY = By("alice", "it hangs")
SICK = Report(forwarding=False, fact="ip_forward=0", views={"nat-a": "healthy"})


class Cloud:
    """EC2 as the parts see it: each step of a fence has its effect at once."""

    def __init__(self, parts, monkeypatch):
        self.parts, self.steps, self.reports = parts, [], []
        self.report, self.heard_until = SICK, float("inf")
        self.refuses, self.happens = set(), {}
        monkeypatch.setattr(parts.runtime, "sleep", self.sleep)
        monkeypatch.setattr(parts.collector, "read_since", self.read_since)
        monkeypatch.setattr(parts.collector, "find_tables", lambda: None)
        monkeypatch.setattr(parts.transport, "heard", self.heard)
        parts.collector.wake = self.tick
        self.tick()

    def heard(self):
        at = min(self.parts.runtime.at, self.heard_until)
        return {"nat-b": Heard(heartbeat_at=at, icmp_at=at, report=self.report, boot_id="b", unanswered=40)}

    async def read_since(self, _moment):
        return None

    async def sleep(self, seconds):
        self.parts.runtime.at += seconds
        self.tick()

    def change(self, **changes):
        reader = self.parts.collector.reader
        reader.instances = {**reader.instances, "nat-b": replace(reader.instances["nat-b"], **changes)}

    def tick(self):
        parts, now = self.parts, self.parts.runtime.at
        parts.collector.me = replace(parts.collector.me, internet_at=now, ec2_at=now)
        reader = parts.collector.reader
        reader.homes, reader._homes_at, reader._claimed = {}, now, reader.routes.keys()
        reader.routes = {claim: replace(view, read_at=now) for claim, view in reader.routes.items()}
        reader.instances = {name: replace(view, read_at=now) for name, view in reader.instances.items()}
        parts.memory, parts.plan = decide.decide(parts.config, parts.memory, gather(parts, now))
        for step in parts.plan.fence:
            self.steps.append(step.step)
            self.reports.append(step.reason)
            if step.step in self.refuses:
                continue
            tags = dict(reader.instances["nat-b"].tags)
            if step.step == "mark":
                tags[TAG_FENCE] = parts.executor._mark(step, "stop")
            elif step.step == "unmark":
                del tags[TAG_FENCE]
            elif step.step == "reboot":
                tags[TAG_FENCE] = parts.executor._mark(step, "started")
            self.change(tags=tags, state="stopping" if step.step == "stop" else "running")
            self.happens.get(step.step, lambda: None)()


@pytest.fixture
def cloud(monkeypatch):
    """nat-a owns both routes, and nat-b is heard and does not forward."""
    parts = standing()
    parts.collector.reader.routes[CLAIM_B] = RouteView("active", "eni-nat-a", NOW)
    made = Cloud(parts, monkeypatch)
    peers = {name: replace(peer, seen_healthy=True) for name, peer in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers, awake_since=NOW - 900)
    made.tick()
    return made


def order(cloud, sure=False, typed="nat-b", peer="nat-b", by=BY):
    return asyncio.run(FenceOrder(cloud.parts).fence(peer, sure, typed, by))


def refused(cloud, text, **given):
    with pytest.raises(NatFailoverError, match=text):
        order(cloud, **given)
    assert cloud.parts.fence_ordered == {}


def test_a_sick_peer_is_marked_and_stopped_on_an_order_whose_name_was_typed(cloud):
    assert cloud.parts.memory.peers["nat-b"].verdict == "sick" and cloud.steps == []
    answer = order(cloud)
    assert answer["changed"] and answer["state"].startswith("nat-b ends; this node starts it again")
    assert cloud.steps == ["mark", "stop"]
    assert cloud.reports == [
        "mark nat-b: ordered by alice: it hangs; the mark comes before the stop",
        "stop nat-b: ordered by alice: it hangs",
    ]
    assert cloud.parts.fence_ordered == {} and len(cloud.parts.memory.fences) == 1, "the budget is spent"
    [event] = [event for event in cloud.parts.events.events if event["kind"] == "ordered"]
    assert (event["order"], event["peer"], event["actor"], event["reason"]) == ("fence", "nat-b", "alice", "it hangs")


def test_the_fence_goes_on_by_its_rules_when_the_order_has_ended(cloud):
    order(cloud)
    cloud.change(state="stopped")
    cloud.tick()
    assert cloud.steps == ["mark", "stop", "start"]


def test_the_status_names_the_order_while_it_is_carried_out(cloud):
    seen = []
    cloud.happens["mark"] = lambda: seen.append(status(cloud.parts)["verdicts"][0]["fence_ordered"])
    order(cloud)
    assert seen == ["ordered by alice: it hangs"]
    assert status(cloud.parts)["verdicts"][0]["fence_ordered"] == ""


def test_without_the_order_a_sick_peer_is_not_fenced(cloud):
    for _time in range(600):
        asyncio.run(cloud.sleep(0.2))
    assert cloud.steps == []


def test_the_policy_reboot_is_obeyed(cloud):
    cloud.parts.config = replace(cloud.parts.config, fence=replace(cloud.parts.config.fence, policy="reboot"))
    assert order(cloud)["changed"] and cloud.steps == ["mark", "reboot"]


def test_a_healthy_peer_is_never_fenced(cloud):
    cloud.report = Report(forwarding=True, views={"nat-a": "healthy"})
    cloud.tick()
    refused(
        cloud, "nat-b is healthy: only a peer that is not well is fenced; drain it on nat-b first|drain it on nat-b"
    )
    assert cloud.steps == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sure": True, "typed": ""}, "nat-b is sick and has not failed: --yes is not enough"),
        ({"typed": "nat-a"}, "not confirmed: the name typed is 'nat-a'; type nat-b"),
        ({"typed": ""}, "not confirmed: the name typed is ''"),
        ({"peer": "nat-x"}, "nat-x is no peer of this node"),
        ({"by": By("alice", "")}, "needs a reason; give it with --reason"),
    ],
)
def test_an_order_that_is_not_confirmed_is_refused(cloud, given, text):
    refused(cloud, text, **given)
    assert cloud.steps == []


def fail(cloud, seconds):
    """The peer is silent for so long."""
    cloud.heard_until = cloud.parts.runtime.at
    for _time in range(int(seconds / 0.1)):
        asyncio.run(cloud.sleep(0.1))
    assert cloud.parts.memory.peers["nat-b"].verdict == "failed"


def test_yes_is_enough_for_a_failed_peer_and_no_wait_is_shortened(cloud):
    cloud.parts.config = replace(
        cloud.parts.config, fence=replace(cloud.parts.config.fence, max_per_hour=1, after=60.0)
    )
    fail(cloud, 20)
    refused(cloud, "nat-b is not fenced: it was silent and without a flare for [0-9]+ of 60 s", sure=True, typed="")
    assert cloud.steps == []


def test_a_failed_peer_is_fenced_once_an_incident(cloud):
    fail(cloud, 35)
    assert cloud.steps == ["mark", "stop"], "by itself"
    cloud.change(state="running", tags={})
    refused(cloud, "one fence an incident: it is at the stage st", sure=True, typed="")


OBJECTIONS = {
    "maintenance": (
        lambda cloud: cloud.change(tags={TAG_MAINTENANCE: "disk"}),
        "tagged as drained or under maintenance",
    ),
    "a route": (
        lambda cloud: cloud.parts.collector.reader.routes.update({CLAIM_B: RouteView("active", "eni-nat-b", NOW)}),
        "a route still targets it",
    ),
    "the budget": (
        lambda cloud: setattr(cloud.parts, "memory", replace(cloud.parts.memory, fences=(NOW - 9, NOW - 8))),
        "the budget of 2 fences an hour is spent",
    ),
    "the mode": (
        lambda cloud: setattr(cloud.parts, "config", replace(cloud.parts.config, mode="observe")),
        "mode is observe",
    ),
    "mode route": (
        lambda cloud: setattr(cloud.parts, "config", replace(cloud.parts.config, mode="route")),
        "the mode is route, which fences nobody",
    ),
    "the policy": (
        lambda cloud: setattr(
            cloud.parts, "config", replace(cloud.parts.config, fence=replace(cloud.parts.config.fence, policy="none"))
        ),
        "the fence policy is none",
    ),
    "this node": (
        lambda cloud: setattr(
            cloud.parts.collector, "me", replace(cloud.parts.collector.me, forwarding=False, fact="ip_forward=0")
        ),
        "this node does not forward",
    ),
    "EC2": (lambda cloud: cloud.change(state="stopping"), "EC2 shows it as stopping"),
    "a stranger": (
        lambda cloud: setattr(
            cloud.parts,
            "memory",
            replace(
                cloud.parts.memory,
                peers={"nat-b": replace(cloud.parts.memory.peers["nat-b"], seen_healthy=False)},
            ),
        ),
        "it was never seen healthy",
    ),
}


@pytest.mark.parametrize("situation", OBJECTIONS)
def test_each_objection_refuses_the_order_in_one_line(cloud, situation):
    happen, text = OBJECTIONS[situation]
    happen(cloud)
    refused(cloud, f"nat-b is not fenced: .*{text}")
    assert cloud.steps == [] and "ordered" not in [event["kind"] for event in cloud.parts.events.events]


def test_an_objection_that_comes_after_the_mark_spares_the_peer(cloud):
    cloud.happens["mark"] = lambda: cloud.change(
        tags={**cloud.parts.collector.reader.instances["nat-b"].tags, TAG_MAINTENANCE: "x"}
    )
    refused(cloud, f"nat-b does not end within {WITHIN:.0f} s: .*under maintenance")
    assert cloud.steps == ["mark", "unmark"]


def test_a_stop_that_ec2_refuses_ends_with_its_reason_and_without_a_mark(cloud):
    cloud.refuses = {"stop"}
    cloud.parts.executor._refusals.note(("fence", "nat-b"), "stop", "ec2:StopInstances: denied; allow it", "X", NOW)
    refused(cloud, f"does not end within {WITHIN:.0f} s: ec2:StopInstances: denied; allow it")
    for _time in range(100):
        asyncio.run(cloud.sleep(0.2))
    assert cloud.steps[-1] == "unmark"


def test_a_second_order_for_the_same_peer_is_refused(cloud):
    cloud.parts.fence_ordered = {"nat-b": "ordered by bob: x"}
    with pytest.raises(NatFailoverError, match="a fence of nat-b is ordered by bob: x"):
        order(cloud)


def test_a_fence_that_another_node_has_begun_is_not_begun_again(cloud):
    cloud.change(tags={TAG_FENCE: cloud.parts.executor._mark(_Step("nat-b", "i-0000000b"), "stop")})
    refused(cloud, "nat-a has begun a fence of it")


class _Step:
    def __init__(self, peer, instance_id):
        self.peer, self.instance_id = peer, instance_id
