# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover and nat_failover_info: what they hand to the engine, and how they say what the engine says."""

from __future__ import annotations

import json

import pytest

TABLE_A, TABLE_B = "rtb-0aaaaaaaaaaaaaaaa", "rtb-0bbbbbbbbbbbbbbbb"
CONFIG = {
    "cluster": "prod",
    "self": "nat-a",
    "region": "eu-west-1",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": [TABLE_A]},
        {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": [TABLE_B]},
    ],
    "interface": "ens5",
}


def claim(table, home, owner):
    return {
        "route_table": table,
        "destination": "0.0.0.0/0",
        "home": home,
        "owner": owner,
        "target": "eni-" + owner,
        "state": "active",
        "read_s_ago": 0.2,
    }


def status(state="active", owner="nat-a"):
    """The answer of the service on its control socket, both nodes well."""
    return {
        "node": "nat-a",
        "state": state,
        "summary": state + ", forwarding",
        "self": {"forwarding": True, "fact": ""},
        "claims": [claim(TABLE_A, "nat-a", owner), claim(TABLE_B, "nat-b", "nat-b")],
        "verdicts": [{"peer": "nat-b", "verdict": "healthy", "state": "active", "evidence": "heartbeat 40 ms ago"}],
        "withheld": [],
        "paused": "",
        "drift": [],
    }


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "key_file": str(tmp_path / "key"), "runtime_directory": str(tmp_path)}))
    return str(path)


class FakeService:
    """Answers like the service: drains and resumes at once, and keeps what it was asked."""

    def __init__(self):
        self.now = status()
        self.asked = []

    def ask(self, directory, request, timeout=0):
        self.asked.append(request["do"])
        if request["do"] == "drain":
            self.now = status("drained", owner="nat-b")
        if request["do"] == "resume":
            self.now = status("active")
        return self.now


@pytest.fixture
def service(load, monkeypatch):
    fake = FakeService()
    monkeypatch.setattr(load("module_utils.nat_failover.service.oneshot"), "send_request", fake.ask)
    return fake


def test_drain_in_check_mode_predicts_and_asks_for_nothing(run, service, config):
    result = run("nat_failover", check=True, state="drained", config=config)
    assert (result["changed"], result["state"]) == (True, "drained")
    assert result["actions"] == [
        {"route_table": TABLE_A, "destination": "0.0.0.0/0", "before": "nat-a", "after": "nat-b"}
    ]
    assert service.asked == ["status"]


def test_drain_is_idempotent_and_shows_a_diff(run, service, config):
    first = run("nat_failover", state="drained", config=config)
    assert first["changed"]
    assert first["diff"]["before"]["claims"] == {TABLE_A + " 0.0.0.0/0": "nat-a", TABLE_B + " 0.0.0.0/0": "nat-b"}
    assert first["diff"]["after"]["claims"] == {TABLE_A + " 0.0.0.0/0": "nat-b", TABLE_B + " 0.0.0.0/0": "nat-b"}
    second = run("nat_failover", state="drained", config=config)
    assert not second["changed"]
    assert second["state"] == "drained"
    assert service.asked.count("drain") == 1


def test_a_node_that_drains_for_a_notice_is_drained_by_the_operator_all_the_same(run, service, config):
    service.now = dict(status("drained", owner="nat-b"), tagged=False)
    assert run("nat_failover", state="drained", config=config, check=True)["changed"]
    assert run("nat_failover", state="drained", config=config)["changed"]
    assert service.asked == ["status", "status", "drain", "status"]


def test_resume_after_a_drain(run, service, config):
    run("nat_failover", state="drained", config=config)
    assert run("nat_failover", state="resumed", config=config)["changed"]
    assert not run("nat_failover", state="resumed", config=config)["changed"]


def test_converged_is_left_to_the_running_service(run, service, config):
    assert not run("nat_failover", config=config)["changed"]
    assert set(service.asked) == {"status"}


def test_everything_is_handed_to_the_engine(run, load, monkeypatch):
    seen = {}

    def once_run(state, config, **more):
        seen.update(more, state=state, config=config)
        return {"changed": False}

    monkeypatch.setattr(load("module_utils.nat_failover.service.oneshot"), "run", once_run)
    run("nat_failover", check=True, config="/c.json", wait_timeout=7, route_tables=[TABLE_B])
    assert callable(seen.pop("runner"))
    assert seen == {
        "pause_for": "1h",
        "state": "converged",
        "config": "/c.json",
        "check_mode": True,
        "wait_timeout": 7.0,
        "route_tables": [TABLE_B],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"state": "asleep"}, "value of state must be one of: converged, drained, resumed, paused, unpaused"),
        ({"state": "drained", "route_tables": [TABLE_A]}, "route_tables goes with state=converged only"),
        ({"state": "drained"}, "systemctl start nat-failover"),
    ],
)
def test_refusals_are_one_line_with_a_remedy(run, config, arguments, said):
    result = run("nat_failover", config=config, **arguments)
    assert result["failed"]
    assert said in result["msg"]
    assert "\n" not in result["msg"]


@pytest.mark.parametrize("name", ["nat_failover", "nat_failover_info"])
def test_a_missing_configuration(run, name):
    result = run(name, config="/nowhere/config.json")
    assert result["failed"]
    assert "/nowhere/config.json" in result["msg"]


def test_info_reads_only(run, service, config):
    result = run("nat_failover_info", config=config)
    result.pop("invocation", None)  # newer versions of ansible-core leave it out
    assert not result.pop("changed")
    own = {"forwarding", "fact", "facts", "node_warnings", "instances"}
    assert set(result) == {"state", "summary", "claims", "verdicts", "withheld", "drift", "paused"} | own
    assert [row["owner"] for row in result["claims"]] == ["nat-a", "nat-b"]
    assert service.asked == ["status"]
