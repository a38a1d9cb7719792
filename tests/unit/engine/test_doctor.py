# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor: a line for each check, a remedy for each finding, and the exit code of the worst."""

from __future__ import annotations

import json
import time

import pytest

from nat_failover import cli
from nat_failover.console import doctor
from nat_failover.errors import ConfigError, NatFailoverError
from nat_failover.service import outside, preflight, sender, status

from .standing import RAW, standing


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node whose service answers, and where all is well. Its attributes can be changed."""
    (tmp_path / "key").write_text("k" * 32)
    changes = {"key_file": str(tmp_path / "key"), "runtime_directory": str(tmp_path), "state_directory": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps({**RAW, **changes}))

    class Node:
        answer = status.status(standing())
        folder, path = tmp_path, str(tmp_path / "config.json")
        ntp, rules = (0, "yes\n", ""), []

        @staticmethod
        def run(*flags):
            return cli.main(["doctor", *flags, "--config", Node.path], lambda argv, **_how: Node.ntp)

    monkeypatch.setattr(sender, "send_request", lambda *_request: Node.answer)
    monkeypatch.setattr(doctor.netfilter, "differences", lambda nat, runner: Node.rules)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    return Node


def test_a_node_that_is_well_is_a_line_for_each_check(node, capsys):
    assert node.run("--offline") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"ok    {each}" for each in ("configuration", "service", "rules", "clock", "history")
    ]


def test_the_problems_of_the_service_are_findings_with_their_remedy(node, capsys):
    problem = {
        "code": "dark",
        "level": "critical",
        "text": "rtb-1 leads nowhere",
        "do": "move it",
        "subject": "",
        "since_s": 1,
    }
    node.answer = {**node.answer, "problems": [problem]}
    assert node.run("--offline") == 2
    assert "FAIL  dark: rtb-1 leads nowhere\n        do: move it\n" in capsys.readouterr().out


def test_a_dead_service_does_not_keep_the_other_checks_from_their_work(node, capsys):
    node.answer = None
    assert node.run("--offline") == 2
    text = capsys.readouterr().out
    assert "FAIL  service: the service does not run here\n        do: start it with" in text and "ok    rules" in text


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        ({"rules": ["missing: nat POSTROUTING"]}, 2, "FAIL  rules: missing: nat POSTROUTING"),
        ({"rules": ["left over: mangle FORWARD"]}, 1, "WARN  rules: left over: mangle FORWARD"),
        ({"ntp": (0, "no\n", "")}, 1, "WARN  clock: not synchronized"),
        ({"ntp": (127, "", "timedatectl: not found")}, 0, "ok    clock: not checked"),
    ],
)
def test_what_the_host_shows(node, capsys, change, code, line):
    for name, value in change.items():
        setattr(node, name, value)
    assert node.run("--offline") == code
    assert line in capsys.readouterr().out


def test_a_file_that_the_service_has_not_read_yet(node, capsys):
    node.answer = {**node.answer, "settings": {"digest": "f" * 64, "refused": ""}}
    assert node.run("--offline") == 1
    assert "do: systemctl reload nat-failover" in capsys.readouterr().out


def test_without_a_configuration_nothing_can_be_checked(node, capsys):
    assert cli.main(["doctor", "--config", str(node.folder / "none")], lambda argv, **_how: (0, "", "")) == 64
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def aws(monkeypatch):
    class Aws:
        identity, online = ["this host is i-0000000a"], ["2 instances found"]

    def give(what):
        found = getattr(Aws, what)
        if isinstance(found, Exception):
            raise found
        return found() if callable(found) else found

    monkeypatch.setattr(preflight, "check_identity", lambda *_config: give("identity"))
    monkeypatch.setattr(preflight, "check_online", lambda *_config: give("online"))
    monkeypatch.setattr(outside, "connect", lambda *_config: outside.Outside(None, None))
    return Aws


def test_aws_is_asked_unless_offline(node, aws, capsys):
    assert node.run() == 0
    text = capsys.readouterr().out
    assert "ok    identity: this host is i-0000000a" in text and "ok    aws: 2 instances found" in text
    aws.online = NatFailoverError("not asked")
    assert node.run("--offline") == 0


def test_swapped_ids_and_missing_permissions_are_findings(node, aws, capsys):
    aws.identity = ConfigError(
        "nodes[0].instance_id", "i-1", "this host is the instance i-2", "correct the instance ids"
    )
    aws.online = NatFailoverError("ec2:ReplaceRoute on rtb-1 is not allowed; allow it (docs/iam.md)")
    assert node.run("--json") == 2
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert (found["identity"]["level"], found["identity"]["do"]) == ("critical", "correct the instance ids")
    assert found["aws"]["do"] == "allow it (docs/iam.md)"


def test_an_api_that_hangs_ends_the_check_and_not_the_doctor(node, aws, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "WITHIN", 0.05)
    aws.online = lambda: time.sleep(1) or []
    assert node.run() == 2
    assert "FAIL  aws: no end within 0 s" in capsys.readouterr().out
