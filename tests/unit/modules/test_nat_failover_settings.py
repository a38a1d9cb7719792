# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_settings: configuration and key are validated together, and replaced together or not at all."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def asked(tmp_path):
    """Two new files, and an engine that says what it is asked and refuses what holds the word "bad"."""
    command = tmp_path / "command"
    command.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        'if grep -q bad "$3" "$5"; then echo "nat-failover: fence: is bad" >&2; exit 2; fi\necho "ok: proven"\n'
    )
    command.chmod(0o755)
    return {
        "path": str(tmp_path / "etc" / "config.json"),
        "content": "{}\n",
        "key_path": str(tmp_path / "etc" / "heartbeat.key"),
        "keys": "s3cret\n",
        "group": GROUP,
        "user": USER,
        "command": str(command),
    }


def content(path):
    with open(path, encoding="ascii") as stream:
        return stream.read()


def test_both_are_written_once(run, asked, tmp_path):
    predicted = run("nat_failover_settings", check=True, **asked)
    assert predicted["changed"] and predicted["proven"] == "ok: proven" and not (tmp_path / "etc").exists()
    done = run("nat_failover_settings", **asked)
    assert done["changed"] and done["files"] == predicted["files"] == [asked["key_path"], asked["path"]]
    assert content(asked["path"]) == "{}\n" and content(asked["key_path"]) == "s3cret\n"
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "etc", asked["key_path"])] == [0o750, 0o400]
    assert os.stat(asked["path"]).st_mode & 0o777 == 0o640
    assert "s3cret" not in str(done)
    again = run("nat_failover_settings", **asked)
    assert not again["changed"] and again["proven"] == "" and again["files"] == []
    assert len(content(tmp_path / "asked").splitlines()) == 2, "what has not changed is not proven again"


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("which", ["content", "keys"])
def test_a_bad_one_of_the_two_leaves_both_as_they_were(run, asked, which, check):
    run("nat_failover_settings", **asked)
    changed = {**asked, "content": "[]\n", "keys": "other\n", which: "bad\n"}
    refused = run("nat_failover_settings", check=check, **changed)
    assert refused["failed"] and refused["msg"] == "nat-failover: fence: is bad"
    assert content(asked["path"]) == "{}\n" and content(asked["key_path"]) == "s3cret\n"


def test_the_engine_is_asked_for_both_files_and_for_ec2(run, asked, tmp_path):
    run("nat_failover_settings", **asked)
    run("nat_failover_settings", **{**asked, "content": "[]\n", "online": False})
    online, offline = (line.split() for line in content(tmp_path / "asked").splitlines())
    assert [online[0], online[1], online[3], online[5:]] == ["check-config", "--config", "--key-file", ["--online"]]
    assert len(offline) == 5
    assert not os.path.exists(online[2]) and not os.path.exists(online[4])


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (203, "", "the service cannot execute /c or its interpreter"),
        (124, "", "no answer in time"),
        (1, "one\nnat-failover: two\n", "nat-failover: two"),
        (217, "", "ended with code 217"),
    ],
)
def test_what_systemd_could_not_do_is_said(load, code, err, said):
    outcome = load("module_utils._as_service").Outcome(code, "", err)
    assert said in load("modules.nat_failover_settings").refusal(outcome, "/c")


def test_a_group_that_is_not_there(run, asked):
    assert "there is no group nobodys" in run("nat_failover_settings", **{**asked, "group": "nobodys"})["msg"]


def test_a_user_that_is_not_there(run, asked):
    assert "there is no user nobodys" in run("nat_failover_settings", **{**asked, "user": "nobodys"})["msg"]
    assert run("nat_failover_settings", check=True, **{**asked, "user": "nobodys"})["changed"]


def test_keys_that_a_group_could_read_are_made_narrow(run, asked):
    run("nat_failover_settings", **asked)
    os.chmod(asked["key_path"], 0o640)
    done = run("nat_failover_settings", **asked)
    assert done["files"] == [asked["key_path"]] and os.stat(asked["key_path"]).st_mode & 0o777 == 0o400
