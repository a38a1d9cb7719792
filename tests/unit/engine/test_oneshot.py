# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation and one decision: with a service on this node, without one, and the end of the observation."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import NatFailoverError, PortTaken
from nat_failover.model.cluster import RouteView
from nat_failover.model.plan import Plan, SetRoute
from nat_failover.service import alone, oneshot, sender
from nat_failover.service import status as service_status

from .standing import CLAIM_A, CLAIM_B, NOW, RAW, TABLE_A, TABLE_B, standing

ROUTE_A, ROUTE_B = (TABLE_A, "0.0.0.0/0"), (TABLE_B, "0.0.0.0/0")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**RAW, "runtime_directory": str(tmp_path)}))
    return str(file)


@pytest.fixture
def service(monkeypatch):
    """A service that answers with ``now``, and keeps the requests. None: no service runs."""
    made = SimpleNamespace(now=service_status.status(standing()), requests=[])

    def answer(_directory, request, timeout=10.0):
        made.requests.append(request["do"])
        return made.now

    monkeypatch.setattr(oneshot, "send_request", answer)
    return made


@pytest.fixture
def observed(monkeypatch, service):
    """No service runs: an observation in this process gives ``before`` and ``after`` its writes."""
    service.now = None
    made = SimpleNamespace(before=service_status.status(standing()), after=service_status.status(standing()), modes=[])

    def observe(config, _runner, _longest, seen=None):
        made.modes.append(config.mode)
        if seen is not None:
            seen.append(made.before)
        return made.after

    monkeypatch.setattr(oneshot, "_observe", observe)
    return made


def run(path, state="converged", **more):
    return oneshot.run(state, path, runner=None, **more)


def give(status, claim, owner):
    """A status in which a claim has another owner."""
    rows = [dict(row, owner=owner) if row["route_table"] == claim[0] else row for row in status["claims"]]
    return dict(status, claims=rows)


# --- refusals ---------------------------------------------------------------------------------------


def test_an_unknown_state_is_refused_with_the_known_ones(path, service):
    with pytest.raises(NatFailoverError, match="state 'asleep' is unknown; choose one of: converged, drained"):
        run(path, "asleep")
    assert service.requests == []


@pytest.mark.parametrize("state", ["drained", "resumed", "paused", "unpaused"])
def test_without_a_service_these_states_are_refused_with_the_remedy(path, observed, state):
    with pytest.raises(NatFailoverError, match=f"state {state} needs the service.*systemctl start nat-failover"):
        run(path, state)
    assert observed.modes == []


def lose_forwarding(status):
    status["self"].update(forwarding=False, fact="ip_forward=0")


TAKES = {
    "an unknown table": (lambda status: None, ["rtb-00000001"], "no node claims rtb-00000001; choose from: rtb-"),
    "a witness": (lambda status: status.update(state="witness"), [TABLE_B], "this node is a witness"),
    "no forwarding": (lose_forwarding, [TABLE_B], r"does not forward \(ip_forward=0\), so it adopts no route"),
}


@pytest.mark.parametrize("situation", TAKES)
def test_an_adoption_that_must_not_be_is_refused(path, service, monkeypatch, situation):
    happen, tables, error = TAKES[situation]
    happen(service.now)
    monkeypatch.setattr(alone, "connect_ec2", lambda config: pytest.fail("EC2 is not called"))
    with pytest.raises(NatFailoverError, match=error):
        run(path, route_tables=tables)


# --- with a service ---------------------------------------------------------------------------------


def test_an_older_service_lacks_keys_and_their_values_are_empty(path, service):
    for key in ("facts", "warnings"):
        del service.now["self"][key]
    for key in ("paused", "instances", "tagged", "proposed", "notices"):
        del service.now[key]
    found = oneshot.info(path, runner=None)
    assert (found["facts"], found["node_warnings"], found["paused"], found["instances"]) == ({}, [], "", [])
    assert not run(path)["changed"]


@pytest.mark.parametrize(
    ("peers", "owner"),
    [
        ([("nat-b", "healthy", "active")], "nat-b"),
        ([("nat-b", "healthy", "active"), ("nat-c", "healthy", "active")], None),
        ([("nat-b", "healthy", "active"), ("nat-c", "healthy", "drained")], "nat-b"),
        ([("nat-b", "failed", "active")], None),
    ],
)
def test_check_mode_predicts_the_heir_only_if_there_is_one(path, service, peers, owner):
    service.now["verdicts"] = [
        {"peer": name, "verdict": verdict, "state": state, "evidence": ""} for name, verdict, state in peers
    ]
    result = run(path, "drained", check_mode=True)
    assert {row["route_table"]: row["owner"] for row in result["claims"]} == {TABLE_A: owner, TABLE_B: "nat-b"}
    assert (result["changed"], service.requests) == (True, ["status"])


@pytest.mark.parametrize("state", ["drained", "resumed", "converged"])
def test_a_witness_has_nothing_to_hand_over(path, service, state):
    service.now.update(state="witness", tagged=True)
    assert not run(path, state)["changed"]
    assert service.requests == ["status"]


@pytest.mark.parametrize(
    ("paused", "state", "changed"),
    [
        ("", "paused", True),
        ("the cluster is paused until noon", "paused", False),
        ("the cluster is paused until noon", "unpaused", True),
        ("", "unpaused", False),
    ],
)
def test_a_pause_is_requested_only_if_it_changes_something(path, service, paused, state, changed):
    service.now["paused"] = paused
    verb = {"paused": "pause", "unpaused": "unpause"}[state]
    assert run(path, state, check_mode=True)["changed"] is changed
    assert service.requests == ["status"]
    result = run(path, state)
    assert (result["changed"], bool(result["paused"])) == (changed, state == "paused")
    assert service.requests[2:] == [verb] * changed


# --- without a service ------------------------------------------------------------------------------


def test_an_observation_that_writes_has_changed_the_claims_that_moved(path, observed):
    observed.before = give(observed.before, ROUTE_A, "nat-b")
    result = run(path)
    assert result["changed"] and observed.modes == ["full"]
    assert result["actions"] == [
        {"route_table": TABLE_A, "destination": "0.0.0.0/0", "before": "nat-b", "after": "nat-a"}
    ]
    assert result["diff"]["before"]["claims"][" ".join(ROUTE_A)] == "nat-b"


def test_an_observation_without_a_difference_has_changed_nothing(path, observed):
    result = run(path)
    assert (result["changed"], result["actions"]) == (False, [])


@pytest.mark.parametrize("ask", [lambda path: oneshot.info(path, runner=None), run], ids=["info", "converged"])
def test_a_service_that_begins_during_the_observation_is_asked(path, service, monkeypatch, ask):
    """Seconds after a boot: no socket yet, and a moment later the service has the port for heartbeats."""
    status, service.now = service.now, None

    def observe(*_config):
        service.now = status
        raise PortTaken("heartbeat.port: UDP 0.0.0.0:4789 cannot be bound")

    monkeypatch.setattr(oneshot, "_observe", observe)
    monkeypatch.setattr(sender, "send_request", oneshot.send_request)
    assert ask(path)["state"] == "active"
    assert service.requests == ["status"] * 3


@pytest.mark.parametrize(
    ("answers", "answered", "asked"),
    [
        ([None, {"claims": []}, {"claims": ["rtb-1"]}], True, 3),
        ([{"claims": []}] * 9, True, 6),
        ([None] * 9, False, 6),
    ],
    ids=["it begins and reads", "EC2 does not answer it", "it does not begin"],
)
def test_a_service_that_begins_is_waited_for_until_it_knows_the_claims(monkeypatch, answers, answered, asked):
    now, remaining = [0.0], list(answers)
    monkeypatch.setattr(sender, "send_request", lambda _directory, _request: remaining.pop(0))
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(sender, "time", clock)
    assert sender.await_service("/run/nat-failover", 0.9) is answered
    assert len(answers) - len(remaining) == asked


def test_a_port_that_something_else_has_is_an_error(path, service, monkeypatch):
    service.now = None
    monkeypatch.setattr(oneshot, "_observe", lambda *_config: (none for none in ()).throw(PortTaken("cannot be bound")))
    monkeypatch.setattr(sender, "send_request", oneshot.send_request)
    monkeypatch.setattr(oneshot, "OBSERVE_WITHIN", 0.0)
    with pytest.raises(PortTaken, match="cannot be bound"):
        oneshot.info(path, runner=None)


def test_check_mode_observes_and_shows_the_proposed_owner(path, observed):
    place = {"route_table": TABLE_B, "destination": "0.0.0.0/0", "owner": "nat-a", "target": "eni-nat-a"}
    observed.after = dict(observed.after, proposed=[place])
    result = run(path, check_mode=True)
    assert observed.modes == ["observe"]
    assert [(row["before"], row["after"]) for row in result["actions"]] == [("nat-b", "nat-a")]


def test_info_observes_only(path, observed):
    assert oneshot.info(path, runner=None)["forwarding"]
    assert observed.modes == ["observe"]


class Deaf:
    """A service that reads nothing."""

    written: ClassVar[dict] = {}

    def __init__(self, config, keys, outside, repairs):
        assert not repairs, "an observation repairs nothing"
        self.outside = outside
        problem = "ec2:DescribeInstances on *: timed out (Timeout)"
        executor = SimpleNamespace(replaced=self.written)
        self.parts = SimpleNamespace(collector=SimpleNamespace(problem=problem), executor=executor)
        self.commands = SimpleNamespace(status=lambda: {"claims": []})

    async def work(self, until):
        await until


class Hasty:
    """A runtime on which a second takes no time."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return self.at

    async def sleep(self, seconds):
        self.at += seconds
        await asyncio.sleep(0)


@pytest.fixture
def deaf(monkeypatch, tmp_path):
    """The configuration of an observation that never settles."""
    (tmp_path / "key").write_text("k" * 32)
    monkeypatch.setattr(alone, "Service", Deaf)
    monkeypatch.setattr(alone, "connect", lambda config, runner: SimpleNamespace(runtime=Hasty()))
    monkeypatch.setattr(alone, "_settled", lambda parts, patient: False)
    paths = {"key_file": str(tmp_path / "key"), "runtime_directory": str(tmp_path / "run")}
    return configuration.parse({**RAW, **paths})


TIMED_OUT = r"could not be read within 15 s: .*\(Timeout\); run `nat-failover check"


def test_without_an_answer_of_ec2_the_observation_is_an_error(deaf):
    with pytest.raises(NatFailoverError, match=TIMED_OUT):
        alone.observe(deaf, None, 15.0)


@pytest.mark.parametrize("written", [{}, {CLAIM_A: "its route before"}], ids=["nothing is written", "a write is done"])
def test_a_service_that_begins_gets_the_port_unless_something_is_written(deaf, monkeypatch, written):
    """Only one process decides, and an observation that has written says what it has changed."""
    monkeypatch.setattr(Deaf, "written", written)
    directory = Path(deaf.runtime_directory)
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as begun:
        begun.bind(sender.control_socket(str(directory)))
        begun.listen(500)
        expected = (NatFailoverError, TIMED_OUT) if written else (PortTaken, "the service of this node has begun")
        with pytest.raises(expected[0], match=expected[1]):
            alone.observe(deaf, None, 15.0)


# --- the end of an observation ----------------------------------------------------------------------


def settled(change=lambda parts: None, patient=False, **config):
    parts = standing(**config)
    parts.collector = SimpleNamespace(read_all=True, judged=True, routes=parts.collector.routes)
    parts.memory = replace(parts.memory, own_claims=frozenset({CLAIM_A}))
    change(parts)
    return alone._settled(parts, patient)


def plan(**what):
    return lambda parts: setattr(parts, "plan", Plan(**what))


ADOPTION = SetRoute(CLAIM_B, "eni-nat-a", "nat-a", RouteView("active", "eni-nat-b", NOW), "adopt", "nat-b is failed")
WAITS = {
    "this node has not checked itself": lambda parts: setattr(parts.collector, "judged", False),
    "a route is not read": lambda parts: setattr(parts.collector, "read_all", False),
    "no verdict on the peer": lambda parts: setattr(parts, "memory", replace(parts.memory, peers={})),
    "a write is planned": plan(routes=(ADOPTION,)),
}


@pytest.mark.parametrize("situation", WAITS)
def test_an_observation_goes_on_while(situation):
    assert settled()
    assert not settled(WAITS[situation])


def lose_own_claim(parts):
    parts.memory = replace(parts.memory, own_claims=frozenset())


def test_a_claim_that_is_about_to_return_is_waited_for_only_with_patience():
    assert settled(lose_own_claim)
    assert not settled(lose_own_claim, patient=True)
    assert settled(patient=True), "no claim is away"


def withhold(parts):
    lose_own_claim(parts)
    parts.plan = Plan(withheld=(ADOPTION,), forbidden="the cluster is paused")


@pytest.mark.parametrize(
    ("change", "config"),
    [
        (lose_own_claim, {"return": {"policy": "manual"}}),
        (lambda parts: (lose_own_claim(parts), setattr(parts.drain, "state", "drained")), {}),
        (withhold, {}),
        (lambda parts: (lose_own_claim(parts), plan(drift={str(CLAIM_A): "targets igw-1"})(parts)), {}),
    ],
    ids=["returns are manual", "the node drains", "a gate holds the write", "the route is drift"],
)
def test_a_claim_that_cannot_return_is_not_waited_for(change, config):
    assert settled(change, patient=True, **config)
