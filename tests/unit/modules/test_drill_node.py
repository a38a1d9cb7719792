# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a drill on the node: each step has its way back."""

from __future__ import annotations

import importlib.util
import json

import pytest

from .conftest import ROOT

FILES = ROOT / "playbooks" / "files"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


NODE = module("drill_node")


class Host:
    """A host that remembers its commands. ``fails``: the beginning of a command -> how often it fails."""

    def __init__(self, folder):
        self.calls, self.fails, self.rules = [], {}, []
        self.node = NODE.Node(str(folder), self.run, lambda _seconds: None)

    def run(self, argv):
        line = " ".join(argv)
        self.calls.append(line)
        for begin, left in self.fails.items():
            if line.startswith(begin) and left > 0:
                self.fails[begin] -= 1
                return 1, "refused by the service"
        if " -t raw -I " in line:
            self.rules.append((argv[0], argv[5], argv[8]))
        if " -t raw -D " in line:
            rule = (argv[0], argv[5], argv[7])
            if rule not in self.rules:
                return 1, "no such rule"
            self.rules.remove(rule)
        return 0, ""


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


UNDONE = {
    "drain": "/usr/local/bin/nat-failover resume",
    "switchover": "/usr/local/bin/nat-failover resume",
    "stop": "systemctl start",
}


@pytest.mark.parametrize(
    ("step", "more", "does"),
    [
        ("drain", "", "/usr/local/bin/nat-failover drain --wait 60 --reason a drill"),
        ("switchover", "nat-b", "/usr/local/bin/nat-failover switchover --to nat-b --wait 60 --reason a drill"),
        ("stop", "", "systemctl stop nat-failover.service"),
    ],
)
def test_a_step_arms_its_way_back_before_it_is_taken(host, step, more, does):
    done = host.node.begin(step, "120", more)
    assert done["step"] == step and done["began"] <= done["done"]
    armed, taken = host.calls
    assert armed.startswith("systemd-run ") and "--on-active=120s" in armed and armed.endswith(" back")
    assert taken == does
    host.calls.clear()
    back = host.node.back()
    assert (back["changed"], back["step"]) == (True, step)
    assert any(call.startswith(UNDONE[step]) for call in host.calls)
    assert host.calls[-1] == "systemctl stop aws-ha-egress-drill-back.timer", "the timer goes last"
    host.calls.clear()
    assert host.node.back()["changed"] is False and host.calls == []


def test_a_kill_has_its_time_and_leaves_no_rule(host):
    host.node.begin("kill", "600", "45")
    assert "--on-active=45s" in host.calls[0] and host.calls[1].endswith(" silence") and host.rules == []
    host.node.silence()
    assert sorted(host.rules) == sorted(
        (table, chain, flag)
        for table in ("iptables", "ip6tables")
        for chain, flag in (("PREROUTING", "-i"), ("OUTPUT", "-o"))
    )
    host.node.silence()  # twice, as after a restart of the unit
    assert host.node.back()["changed"] and host.rules == []


@pytest.mark.parametrize("fails", ["/usr/local/bin/nat-failover drain", "systemd-run"])
def test_a_step_that_is_refused_is_undone(host, fails):
    host.fails = {fails: 1}
    with pytest.raises(NODE.Refused, match="refused by the service"):
        host.node.begin("drain", "120")
    host.node.back()
    assert host.node.begin("drain", "120")["step"] == "drain", "nothing is left of the first one"


def test_two_drills_at_a_time_are_refused(host):
    host.node.begin("drain", "120")
    with pytest.raises(NODE.Refused, match=r"a drill is under way here \(drain\)"):
        host.node.begin("stop", "120")
    with pytest.raises(NODE.Refused, match="unknown step 'explode'; known: drain"):
        host.node.begin("explode", "120")


def test_a_resume_waits_for_a_service_that_starts(host):
    host.node.begin("drain", "120")
    host.fails = {"/usr/local/bin/nat-failover resume": 3}
    assert host.node.back()["changed"]
    assert sum(call.startswith("/usr/local/bin/nat-failover resume") for call in host.calls) == 4


def test_a_way_back_that_fails_is_told_and_stays_to_do(host, capsys):
    host.node.begin("drain", "120")
    host.fails = {"/usr/local/bin/nat-failover resume": 99}
    assert NODE.main(["back"], host.node) == 1
    assert capsys.readouterr().err == "the way back from drain: refused by the service\n"
    host.fails = {}
    assert NODE.main(["back"], host.node) == 0 and json.loads(capsys.readouterr().out)["changed"]


def test_an_unknown_word_is_one_line(host, capsys):
    assert NODE.main(["explode"], host.node) == 1
    assert capsys.readouterr().err == "unknown word; known: begin, back, silence\n"
