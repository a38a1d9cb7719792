# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_service: green means that the service works by exactly these files, and that EC2 answers it."""

from __future__ import annotations

import json

import pytest

from .test_nat_failover import CONFIG, status

READY = {"ec2": True, "forwarding": True, "fact": ""}


@pytest.fixture
def node(load, tmp_path, monkeypatch):
    """A node with a configuration, a key, systemd's commands, and a service that answers what ``node.answers`` holds."""
    key, config, tools = tmp_path / "key", tmp_path / "config.json", tmp_path / "bin"
    key.write_text("k" * 32 + "\n")
    config.write_text(json.dumps({**CONFIG, "key_file": str(key), "runtime_directory": str(tmp_path)}))
    tools.mkdir()
    for name, lines in (
        ("systemctl", 'if [ "$1" = show ]; then cat "$0.show"; else echo "$1" >> "$0.asked"; . "$0.fails"; fi'),
        ("journalctl", "printf 'first\\n\\nkey_file: holds no key\\nexited\\n'"),
    ):
        (tools / name).write_text("#!/bin/sh\n" + lines + "\n")
        (tools / name).chmod(0o755)
    (tools / "systemctl.show").write_text("ActiveState=active\n")
    (tools / "systemctl.fails").write_text("")
    monkeypatch.setenv("PATH", str(tools), prepend=":")

    class Node:
        digest = load("module_utils.nat_failover.config.load").load_all(str(config)).digest
        path, commands, answers = str(config), tools, []

        @staticmethod
        def ask(_directory, _request, _timeout):
            answer = Node.answers[0] if len(Node.answers) == 1 else Node.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        @staticmethod
        def asked():
            file = tools / "systemctl.asked"
            return file.read_text().split() if file.exists() else []

    monkeypatch.setattr(load("modules.nat_failover_service"), "send_request", Node.ask)
    monkeypatch.setattr(load("modules.nat_failover_service"), "EVERY", 0.01)
    monkeypatch.setattr(load("modules.nat_failover_service"), "REFUSED_FOR", 0.05)
    return Node


@pytest.fixture
def ask(run, node):
    return lambda **given: run("nat_failover_service", **{"config": node.path, "wait_timeout": 0.2, **given})


def service(digest, refused="", **own):
    return {**status(), "settings": {"digest": digest, "refused": refused}, "self": {**READY, **own}}


def test_a_service_that_works_by_these_files_is_left_alone(node, ask):
    node.answers = [service(node.digest)]
    result = ask()
    assert (result["changed"], result["summary"]) == (False, "active, forwarding")
    assert node.asked() == []


@pytest.mark.parametrize("check", [True, False])
def test_what_an_interrupted_run_has_not_told_is_taken_over(node, ask, check):
    node.answers = [service("of older files"), service("of older files"), service(node.digest)]
    result = ask(check=check)
    assert result["changed"]
    assert node.asked() == ([] if check else ["reload-or-restart"])


@pytest.mark.parametrize(("state", "verb"), [("reloaded", "reload-or-restart"), ("restarted", "restart")])
def test_it_waits_until_the_service_has_taken_over(node, ask, state, verb):
    node.answers = [None, service("of older files", ec2=False), service(node.digest, ec2=False), service(node.digest)]
    assert ask(state=state)["changed"] and node.asked() == [verb]
    assert len(node.answers) == 1, "it has waited for the last one"


NOT_READY = (
    ([None], "it does not run (systemd: activating, auto-restart, result exit-code, 7 restarts)"),
    ([service("older")], "it still works by its previous configuration and keys"),
    ([service("older", refused="key_file: holds no key")], "it refused the reload: key_file: holds no key"),
    ([{**status()}], "it is of an older version, which does not tell by which files it works; restart it"),
)


@pytest.mark.parametrize(("answers", "why"), NOT_READY)
def test_otherwise_the_run_fails_with_the_reason_and_the_journals_last_words(node, ask, answers, why):
    node.answers = answers
    shown = (
        "ActiveState=activating\nSubState=auto-restart\nResult=exit-code\nNRestarts=7\n" if answers == [None] else ""
    )
    (node.commands / "systemctl.show").write_text(shown or "ActiveState=active\n")
    failed = ask(state="reloaded")
    assert failed["failed"] and "\n" not in failed["msg"]
    assert failed["msg"] == (
        f"nat-failover.service is not ready: {why}. Its journal ends with: first | key_file: holds no key | exited"
    )


def test_a_crash_loop_is_not_green_even_where_nothing_changes(node, ask):
    node.answers = [None]
    (node.commands / "systemctl.show").write_text("ActiveState=activating\n")
    assert "it does not run" in ask()["msg"]
    assert "it does not run" in ask(check=True)["msg"]


def test_a_stopped_service_is_another_tasks_in_check_mode(node, ask):
    node.answers = [None]
    (node.commands / "systemctl.show").write_text("ActiveState=inactive\n")
    assert not ask(check=True)["changed"]
    assert ask()["failed"]


def test_a_service_that_ec2_does_not_answer_is_not_ready_unless_ec2_is_not_asked(node, ask):
    node.answers = [service(node.digest, ec2=False)]
    assert "the EC2 API does not answer it" in ask()["msg"]
    assert not ask(online=False)["changed"]


def test_a_failed_restart_is_said_with_the_journal(node, ask):
    (node.commands / "systemctl.fails").write_text("echo Job failed. >&2; exit 1\n")
    node.answers = [None]
    failed = ask(state="restarted")
    assert "systemctl restart: Job failed." in failed["msg"] and "exited" in failed["msg"]


def test_an_older_refusal_may_still_be_there_for_a_moment(node, ask):
    old = service("older", refused="config: is not JSON")
    node.answers = [old, service(node.digest)]
    assert ask(state="reloaded")["changed"]


def test_a_configuration_that_is_not_there(ask):
    assert "/nowhere/config.json" in ask(config="/nowhere/config.json")["msg"]
