# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: exit codes, one line for an error, and the status as an operator reads it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from nat_failover import __version__, cli
from nat_failover.console import orders
from nat_failover.errors import NatFailoverError, NotPermitted
from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.service import sender, status
from nat_failover.service.commands import Commands

from .standing import CLAIM_A, NOW, RAW, standing


@pytest.fixture
def path(tmp_path):
    (tmp_path / "key").write_text("k" * 32)
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                **RAW,
                "key_file": str(tmp_path / "key"),
                "runtime_directory": str(tmp_path),
                "state_directory": str(tmp_path),
            }
        )
    )
    return str(file)


@pytest.fixture
def service(monkeypatch):
    """Answers of a service on this node, by command. An error is a refusal."""
    answers = {"requests": []}

    def answer(_directory, request, _timeout=10.0):
        answers["requests"].append(request)
        found = answers[request["do"]]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(sender, "send_request", answer)
    return answers


def run(*words):
    return cli.main(words, lambda argv, **_how: (0, "", ""))


def test_a_bad_configuration_is_exit_code_64_and_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({**RAW, "cluster": "x y"}))
    assert run("--config", str(tmp_path / "config.json"), "check-config") == 64
    assert capsys.readouterr().err == (
        "nat-failover: cluster: invalid name 'x y'; use letters, digits, '.', '_' or '-', at most 64, the first one a "
        "letter or a digit\n"
    )


def test_a_good_configuration_is_exit_code_0(path, capsys):
    assert run("check-config", "--config", path) == 0
    assert capsys.readouterr().out == f"ok: {path}: 2 nodes, 2 claims\n"


@pytest.mark.parametrize("words", [["drain"], ["resume"], ["pause"], ["unpause"]])
def test_without_a_service_the_remedy_is_to_start_it(path, capsys, words):
    assert run(*words, "--config", path) == 1
    assert "does not run here; start it with `systemctl start nat-failover`" in capsys.readouterr().err


def test_without_a_service_the_status_is_unknown(path, capsys):
    assert run("status", "--config", path) == 3
    assert capsys.readouterr().out.startswith("UNKNOWN: the service does not run here; start it with")
    assert run("status", "--json", "--config", path) == 3
    assert json.loads(capsys.readouterr().out)["level"] == "unknown"


BAD = {
    "no command": ([], "COMMAND"),
    "a misspelt command": (["stauts"], "unknown command 'stauts'; did you mean status?"),
    "a command that is none": (["xyzzy"], "unknown command 'xyzzy'; known: adopt, canary, check-config"),
    "a fence of nobody": (["fence", "--reason", "x"], "the following arguments are required: PEER"),
    "a fence without a reason": (["fence", "nat-b", "--yes"], "the following arguments are required: --reason"),
    "a fence for no reason": (["fence", "nat-b", "--reason", " "], "--reason: 0 characters; write 1 to 120"),
    "a switchover to nowhere": (["switchover"], "the following arguments are required: --to"),
    "a misspelt flag": (["status", "--jsn"], "unknown flag '--jsn'; did you mean --json?"),
    "a word too many": (["drain", "nat-b"], "drain takes no word 'nat-b'"),
    "a wait that is no number": (["drain", "--wait", "long"], "invalid float value: 'long'"),
    "a wait below zero": (["drain", "--wait=-3"], "-3 is no number of seconds up to 86400"),
    "a wait without an end": (["drain", "--wait", "inf"], "inf is no number of seconds"),
    "a reason that is empty": (["drain", "--reason", "  "], "--reason: 0 characters; write 1 to 120"),
    "a reason that is a novel": (["pause", "--reason", "x" * 121], "--reason: 121 characters"),
    "a pause that is no time": (["pause", "--for", "soon"], "choose up to 7 days"),
    "a watch of no seconds": (["status", "--watch", "0"], "invalid number of seconds value: '0'"),
    "a time that is none": (["history", "--since", "yesterdy"], "'yesterdy' is no time; write e.g. 90s"),
    "an incident that is not there": (["history", "--incident", "7"], "unknown incident '7'; known: none"),
    "another shell": (["completion", "fish"], "invalid choice: 'fish'"),
}


@pytest.mark.parametrize("situation", BAD)
def test_bad_input_is_one_line_and_exit_code_64_and_asks_nothing_of_the_service(path, service, capsys, situation):
    words, text = BAD[situation]
    assert run("--config", path, *words) == 64
    error = capsys.readouterr().err
    assert error.startswith("nat-failover: ") and error.count("\n") == 1 and text in error
    assert service["requests"] == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["switchover", "--to", "nat-x"], "unknown peer 'nat-x'; did you mean nat-b?"),
        (["switchover", "--to", "nat-a"], "nat-a is this node; name a peer"),
        (["adopt", "rtb-0000000c"], "unknown route table 'rtb-0000000c'; did you mean rtb-0000000"),
        (["fence", "nat-x", "--reason", "x"], "unknown peer 'nat-x'; did you mean nat-b?"),
        (["fence", "nat-a", "--reason", "x", "--yes"], "nat-a is this node; name a peer"),
        (["return", "rtb-1"], "unknown route table 'rtb-1'"),
        (["explain", "nat-q"], "unknown peer or route table 'nat-q'"),
    ],
)
def test_an_unknown_peer_or_table_is_refused_with_the_nearest_one(path, service, capsys, words, text):
    found = status.status(standing())
    service["status"] = found
    service["explain"] = Commands(standing(), None).explain()
    assert run("--config", path, *words) == 64
    assert text in capsys.readouterr().err
    assert {request["do"] for request in service["requests"]} <= {"status", "explain"}


def test_without_permission_the_remedy_is_another_user(path, service, capsys):
    service["status"] = NotPermitted("/run/x: Permission denied; run this as root")
    assert run("status", "--config", path) == 77
    assert capsys.readouterr().err == "nat-failover: /run/x: Permission denied; run this as root\n"


def test_a_refusal_is_exit_code_1_and_one_line(path, service, capsys):
    service["drain"] = NatFailoverError("no peer can take over now: nat-b is failed")
    assert run("drain", "--config", path) == 1
    assert capsys.readouterr().err == "nat-failover: no peer can take over now: nat-b is failed\n"


@pytest.mark.parametrize(("changed", "line"), [(True, "drained\n"), (False, "drained already\n")])
def test_a_command_prints_the_new_state(path, service, capsys, changed, line):
    service["drain"] = {"changed": changed, "state": "drained"}
    assert run("drain", "--wait", "5", "--reason", "kernel", "--config", path) == 0
    assert capsys.readouterr().out == line
    actor = service["requests"][0].pop("actor")
    assert service["requests"] == [{"do": "drain", "wait": 5.0, "reason": "kernel"}] and actor


@pytest.mark.parametrize(("flags", "typed"), [([], "nat-b\n"), (["--yes"], "")])
def test_a_fence_asks_for_the_name_unless_the_operator_is_sure(path, service, capsys, monkeypatch, flags, typed):
    service.update(status=status.status(standing()), fence={"changed": True, "state": "nat-b ends"})
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert run("fence", "nat-b", "--reason", "it hangs", "--config", path, *flags) == 0
    shown = capsys.readouterr()
    assert shown.out == "nat-b ends\n"
    question = ". A fence stops and starts it; its connections end. Type its name to go on: "
    assert shown.err == "" if flags else shown.err.startswith("nat-b is healthy: ") and shown.err.endswith(question)
    sent = service["requests"][-1]
    assert (sent["do"], sent["peer"], sent["sure"], sent["typed"]) == ("fence", "nat-b", bool(flags), typed.strip())
    assert sent["reason"] == "it hangs" and sent["actor"]


@pytest.mark.parametrize(
    ("environ", "name"), [({"SUDO_USER": "alice"}, "alice"), ({"SUDO_USER": "a\nb\x1b"}, "a b?"), ({}, "uid ")]
)
def test_the_actor_is_the_user_behind_sudo(environ, name):
    assert orders.actor(environ).startswith(name) and orders.actor(environ).isprintable()


def shown(service, capsys, path, found, code, *flags):
    service["status"] = found
    assert run("status", *flags, "--config", path) == code
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def parts(monkeypatch):
    parts = standing()
    heard = {"nat-b": Heard(heartbeat_at=NOW - 0.25, report=Report(forwarding=True, views={"nat-a": "healthy"}))}
    monkeypatch.setattr(parts.transport, "heard", lambda: heard)
    monkeypatch.setattr(parts.runtime, "wall_time", lambda: 0)
    return parts


def test_a_cluster_that_is_well_is_a_line_and_two_tables(path, service, capsys, parts):
    assert shown(service, capsys, path, status.status(parts), 0) == [
        "prod on nat-a: well; active, forwarding, owns 1 of 2 claims; nat-b healthy   1970-01-01 00:00:00Z",
        "  node     state   forwards  EC2 API        heard      hears me  verdict",
        "  nat-a *  active  yes       ok, never ago  -          -         this node; mode full, fences left 2",
        "  nat-b    active  yes       running        0.2 s ago  yes       healthy since 60 s",
        "  route                   home   owner  forwards  read",
        "  rtb-0000000a 0.0.0.0/0  nat-a  nat-a  yes       2.0 s ago",
        "  rtb-0000000b 0.0.0.0/0  nat-b  nat-b  yes       2.0 s ago",
    ]


def test_a_dark_zone_is_the_first_line_and_exit_code_2(path, service, capsys, parts):
    peers = {name: replace(peer, verdict="failed") for name, peer in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)
    found = shown(service, capsys, path, status.status(parts), 2)
    assert found[0].startswith("prod on nat-a: DARK for 0.0 s: 1 of 2 routes lead nowhere")
    assert found[1].startswith("! dark: rtb-0000000b 0.0.0.0/0 (home nat-b) -> nat-b, which is failed")
    assert found[2].startswith("    do: ") and found[3].startswith("- peer_failed: ")
    [brief] = shown(service, capsys, path, status.status(parts), 2, "--brief")
    assert brief.startswith("CRITICAL prod/nat-a: rtb-0000000b 0.0.0.0/0 (home nat-b) -> nat-b")


def test_a_route_that_was_read_long_ago_is_last_seen(path, service, capsys, parts):
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW - 155)
    found = shown(service, capsys, path, status.status(parts), 1)
    assert "  rtb-0000000a 0.0.0.0/0  nat-a  last seen nat-b  unknown   2m35s ago OLD" in found


def test_a_claim_away_from_home_is_degraded_and_says_when_it_returns(path, service, capsys, parts):
    parts.collector.reader.routes[CLAIM_A] = RouteView("active", "eni-nat-b", NOW)
    parts.memory = replace(parts.memory, fit_since=NOW - 12)
    found = shown(service, capsys, path, status.status(parts), 1)
    assert "away from its home nat-a: home in 18 s: 12 of 30 s of forwarding proven" in found[1]


def test_the_status_shows_all_that_an_operator_must_attend_to(path, service, capsys, parts):
    found = status.status(parts)
    found.update(notices=["spot interruption: stop at noon"], witness="prod-witness answers")
    found["self"]["facts"] = {"ip_forward": "1"}
    found["claims"][0].update(owner=None, target=None, state="missing")
    lines = shown(service, capsys, path, found, 0, "--all")
    for line in (
        "  notice: spot interruption: stop at noon",
        "  facts: ip_forward 1",
        "  witness table prod-witness answers",
    ):
        assert line in lines
    assert any("no target (missing)" in line for line in lines)


def test_a_service_of_an_older_version_is_unknown(path, service, capsys, parts):
    found = {key: value for key, value in status.status(parts).items() if key not in ("level", "problems", "schema")}
    [line] = shown(service, capsys, path, found, 3)
    assert line.startswith("UNKNOWN: active, forwarding") and line.endswith("of an older version, so restart it")


def test_the_version_needs_no_configuration(capsys):
    assert run("version") == 0
    assert capsys.readouterr().out == __version__ + "\n"
