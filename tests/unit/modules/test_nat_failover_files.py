# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_files: several files in one go, each whole, and only what differs."""

from __future__ import annotations

import grp
import os

import pytest

GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def asked(tmp_path):
    """Two files in a folder that is not there yet."""
    folder = tmp_path / "etc"
    files = [
        {"path": str(folder / "key"), "content": "secret\n", "mode": "0640"},
        {"path": str(folder / "unit"), "content": "[Unit]\n"},
    ]
    return {"folder": str(folder), "folder_mode": "0750", "group": GROUP, "files": files}


def mode(path):
    return os.stat(path).st_mode & 0o777


def test_files_are_required(run):
    assert "files" in run("nat_failover_files")["msg"]


def test_check_mode_predicts(run, asked):
    result = run("nat_failover_files", check=True, **asked)
    assert result["changed"] and result["files"] == [file["path"] for file in asked["files"]]
    assert not os.path.exists(asked["folder"])


def test_writes_once(run, asked):
    assert run("nat_failover_files", **asked)["changed"]
    key, unit = (file["path"] for file in asked["files"])
    assert (mode(asked["folder"]), mode(key), mode(unit)) == (0o750, 0o640, 0o644)
    with open(key, encoding="ascii") as stream:
        assert stream.read() == "secret\n"
    again = run("nat_failover_files", **asked)
    assert not again["changed"] and again["files"] == [] and again["diff"] == []


def test_mends_what_differs_and_nothing_else(run, asked):
    run("nat_failover_files", **asked)
    key, unit = (file["path"] for file in asked["files"])
    untouched = os.stat(unit).st_mtime_ns
    os.chmod(key, 0o666)
    assert run("nat_failover_files", **asked)["files"] == [key]
    assert mode(key) == 0o640 and os.stat(unit).st_mtime_ns == untouched
    os.chmod(asked["folder"], 0o777)
    result = run("nat_failover_files", **asked)
    assert result["changed"] and result["files"] == [] and mode(asked["folder"]) == 0o750


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(run, asked, tmp_path):
    run("nat_failover_files", **asked)
    key, other = asked["files"][0]["path"], tmp_path / "other"
    other.write_text("secret\n")
    os.unlink(key)
    os.symlink(other, key)
    assert run("nat_failover_files", **asked)["files"] == [key]
    assert not os.path.islink(key) and other.read_text() == "secret\n"


def test_diff_shows_text_and_a_changed_mode(run, asked):
    run("nat_failover_files", **asked)
    unit = asked["files"][1]["path"]
    os.chmod(unit, 0o600)
    asked["files"][1]["content"] = "[Socket]\n"
    (diff,) = run("nat_failover_files", check=True, **asked)["diff"]
    assert (diff["before"], diff["after"]) == ("[Unit]\n", "[Socket]\n")
    assert "mode 0600" in diff["before_header"] and "mode 0644" in diff["after_header"]


def test_what_is_refused_leaves_the_old_one_and_says_why(run, asked, tmp_path):
    run("nat_failover_files", **asked)
    judge = tmp_path / "judge"
    judge.write_text('#!/bin/sh\ngrep -q good "$1" || { echo "no good: $1" >&2; exit 1; }\n')
    judge.chmod(0o755)
    _key, unit = asked["files"]
    unit.update(content="bad\n", validate=f"{judge} %s")
    result = run("nat_failover_files", **asked)
    assert result["failed"] and "no good: " in result["msg"] and unit["path"] in result["msg"]
    with open(unit["path"], encoding="ascii") as stream:
        assert stream.read() == "[Unit]\n"
    unit["content"] = "good\n"
    assert run("nat_failover_files", **asked)["files"] == [unit["path"]]
    assert sorted(os.listdir(asked["folder"])) == ["key", "unit"]


@pytest.mark.parametrize("bad", ["rw-r--r--", "888", "64"])
def test_a_mode_that_is_none(run, asked, bad):
    asked["files"][1]["mode"] = bad
    assert f"{bad} is no mode of a file" in run("nat_failover_files", **asked)["msg"]


def test_a_group_that_is_not_there_yet(run, asked):
    asked["group"] = "nobody-has-this-group"
    assert run("nat_failover_files", check=True, **asked)["changed"]
    assert "there is no group nobody-has-this-group" in run("nat_failover_files", **asked)["msg"]


def test_says_why_it_cannot_write(run, asked, tmp_path):
    (tmp_path / "etc").write_text("a file")
    result = run("nat_failover_files", **asked)
    assert result["failed"] and "cannot be written" in result["msg"]


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        ("# managed on Tuesday by root\n[Unit]\n", False),
        ("; other\n\n[Unit]\n", False),
        ("# managed\n[Unit]\nWants=x\n", True),
        ("# managed\n[Unit]#\n", True),
    ],
)
def test_a_comment_alone_is_no_change_where_comments_do_not_count(run, tmp_path, content, changed):
    """ansible_managed may hold a time, a user and a host, and a changed unit restarts a service."""
    file = {"path": str(tmp_path / "unit"), "content": "# managed\n[Unit]\n", "comments": False}
    run("nat_failover_files", files=[file])
    before = (tmp_path / "unit").read_text()
    for check in (True, False):
        assert run("nat_failover_files", check=check, files=[{**file, "content": content}])["changed"] is changed
    assert ((tmp_path / "unit").read_text() == before) is not changed
    os.chmod(tmp_path / "unit", 0o600)
    assert run("nat_failover_files", files=[file])["changed"], "its mode counts"
