# SPDX-License-Identifier: GPL-3.0-or-later
"""A settled cluster as evidence and memory, and what differs from it: the stage of the tests of the policy."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.config import load as configuration
from nat_failover.model.cluster import (
    ACTIVE,
    DRAINED,
    InstanceView,
    RouteView,
)
from nat_failover.model.evidence import Evidence, Heard, Report, SelfCheck
from nat_failover.model.memory import Memory, PeerMemory
from nat_failover.observe.sign_reader import SignReader
from nat_failover.policy import decide as policy
from nat_failover.policy import marks
from nat_failover.policy.case import Case as PolicyCase
from nat_failover.policy.case import Fence
from nat_failover.wire.seals import Seals

NOW = 1000.0
WALL_TIME = 1_800_000_000.0
SEALS = Seals((b"k" * 32,), "c")
FINE = Report(ACTIVE, True)
ME, PEER, THIRD = "nat-a", "nat-b", "nat-c"
TABLES = {ME: "rtb-0aaaaaaa", PEER: "rtb-0bbbbbbb", THIRD: "rtb-0ccccccc"}
INTERRUPTED = Report(DRAINED, True, "spot interruption: stop at noon")


def heard(ago=0.0, icmp_ago=None, report=FINE, boot_id="b", unanswered=0):
    """A peer whose last heartbeat came ``ago`` seconds ago, its last ICMP answer ``icmp_ago`` (default: as long)."""
    return Heard(
        heartbeat_at=NOW - ago,
        icmp_at=NOW - (ago if icmp_ago is None else icmp_ago),
        report=report,
        boot_id=boot_id,
        unanswered=unanswered,
    )


def make_config(names=(ME, PEER), witness="", witness_table=None, **changes):
    nodes = [
        {"name": n, "instance_id": f"i-0000000{i}", "witness": True}
        if n == witness
        else {"name": n, "instance_id": f"i-0000000{i}", "route_tables": [TABLES[n]]}
        for i, n in enumerate(names)
    ]
    raw = {
        "cluster": "c",
        "self": ME,
        "region": "eu-west-1",
        "nodes": nodes,
        "interface": "ens5",
        "key_file": "/k",
        "witness": witness_table or {},
        **changes,
    }
    return configuration.parse(raw)


class Case:
    """A settled cluster, and what differs from that."""

    def __init__(self, names=(ME, PEER), **changes):
        self.config = make_config(names, **changes)
        self.me = SelfCheck(True, "", NOW, True, NOW, True)
        self.heard = {n: heard(ago=0.05, icmp_ago=0.5) for n in names if n != ME}
        self.routes = {claim: RouteView("active", "eni-" + claim.home, NOW) for claim in self.config.claims}
        self.instances = {
            n: InstanceView("running", "eni-" + n, "10.0.0.1", {}, NOW, False, None, f"i-0000000{i}")
            for i, n in enumerate(names)
        }
        peers = {n: PeerMemory("healthy", NOW - 500, "", seen_healthy=True) for n in names if n != ME}
        machines = {name: (view.instance_id, view.interface_id) for name, view in self.instances.items()}
        self.memory = Memory(NOW - 600, NOW - 0.05, peers, fit_since=NOW - 600, machines=machines)
        self.witness = None
        self.now = NOW
        self.busy = ()
        self.wall_time, self.age = WALL_TIME, 10.0
        self.tables_at = NOW - 1
        self.refused, self.strangers = {}, ()
        self.fence_ordered = {}
        self.addresses = {}

    def claim(self, home):
        return next(claim for claim in self.config.claims if claim.home == home)

    def point(self, home, target, state="active"):
        self.routes[self.claim(home)] = RouteView(state, target, NOW)

    def silent(self, peer=PEER, seconds=0.7, unanswered=40, **memory):
        """The peer has been silent for so long, and this node has proven itself meanwhile."""
        began = NOW - seconds + 0.15
        self.heard[peer] = heard(ago=seconds, unanswered=unanswered)
        changes = {"suspected_at": began, "proven_at": began + 0.05, "flare_baseline": "", **memory}
        self.memory = replace(
            self.memory, peers={**self.memory.peers, peer: replace(self.memory.peers[peer], **changes)}
        )

    def tag(self, node, **tags):
        """Tags of an instance. A mark ``FENCER:STAGE`` gets its seal, unless the key is ``raw_fence``."""
        if "fence" in tags:
            fencer, _colon, stage = tags["fence"].rpartition(":")
            tags["fence"] = SEALS.mark(node, self.instances[node].instance_id, fencer, stage, WALL_TIME)
        named = {"nat-failover:" + key.replace("raw_", ""): value for key, value in tags.items()}
        self.instances[node] = replace(self.instances[node], tags=named)

    def evidence(self):
        signs = SignReader(SEALS).read(self.instances, self.witness)
        counting, void = marks.judge(
            signs.marks, marks.Reading(self.config, self.instances, self.heard, self.wall_time, self.age)
        )
        return Evidence(
            self.now,
            self.me,
            self.heard,
            self.routes,
            self.instances,
            busy=frozenset(self.busy),
            witness=self.witness,
            flares=signs.flares,
            items=signs.items,
            marks=counting,
            void_marks=void,
            tables_at=self.tables_at,
            refused=self.refused,
            strangers=self.strangers,
            fence_ordered=self.fence_ordered,
            addresses=self.addresses,
        )

    def decide(self, **changed):
        """One tick. ``changed``: fields of the evidence."""
        self.memory, plan = policy.decide(self.config, self.memory, replace(self.evidence(), **changed))
        return plan

    def verdict(self, peer=PEER):
        return next(v.kind for v in self.decide().verdicts if v.peer == peer)


def routes(plan):
    return [(action.kind, action.claim.home) for action in plan.routes]


def dead(**memory):
    """The peer died long ago, and its route is with this node."""
    case = Case()
    case.silent(**{"seconds": 100, "verdict": "failed", **memory})
    case.point(PEER, "eni-" + ME)
    return case


def steps(case):
    return [step.step for step in case.decide().fence]


def replaced(case, node=PEER, instance="i-00000009", state="running"):
    """Another instance has taken a node's place; nothing has been heard from it."""
    case.decide()
    view = InstanceView(state, "eni-new", "10.0.0.9", {}, NOW, False, None, instance)
    case.instances[node] = view
    if node in case.heard:
        case.heard[node] = Heard()  # the radio forgets the predecessor
    return case


def fence_case(case):
    about = PolicyCase.of(case.config, case.memory, case.evidence())
    return Fence(about, PEER, case.memory.peers[PEER], case.instances[PEER])
