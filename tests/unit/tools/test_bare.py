# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands and the record of ./dev bare, without a machine."""

from __future__ import annotations

import json

import pytest

from devtool import bare, console

RESULT = bare.Result("bookworm", "./dev demo", "c0ffee", "2026-01-01T00:00:00Z", 0, 100, 60, "done")


def test_the_last_result_of_each_command_on_each_suite_is_kept(tmp_path):
    file = tmp_path / "bare.json"
    other = bare.Result(**{**RESULT.__dict__, "suite": "trixie"})
    again = bare.Result(**{**RESULT.__dict__, "code": 1, "said": "1 passed, 1 failed"})
    for result in (RESULT, other, again):
        bare.record(file, result)
    known = json.loads(file.read_text(encoding="utf-8"))
    assert {key: value["code"] for key, value in known.items()} == {"bookworm: ./dev demo": 1, "trixie: ./dev demo": 0}
    assert known["bookworm: ./dev demo"]["said"] == "1 passed, 1 failed"


def test_a_command_starts_with_the_environment_of_a_first_login(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    argv = bare.enter(tmp_path, ["/root/egress/dev", "demo"])
    inside = argv[argv.index("env") :]
    assert inside[:2] == ["env", "-i"]
    assert "https_proxy=http://proxy:1" in inside
    assert not any(word.startswith("VIRTUAL_ENV") for word in inside)
    assert inside[-2:] == ["/root/egress/dev", "demo"]


def test_a_part_of_the_tests_is_a_part_of_the_second_command():
    options = bare.parse(["--suite", "trixie", "--only", "build,unit"])
    assert (options.suite, options.command, options.only) == (["trixie"], ["test"], "build,unit")
    with pytest.raises(SystemExit):
        bare.parse(["--suite", "buster"])


def test_a_root_with_mounts_in_it_is_not_removed(tmp_path, monkeypatch):
    (tmp_path / "kept").touch()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc {tmp_path}/proc proc rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(bare, "MOUNTS", mounts)
    with pytest.raises(console.Refusal, match="has mounts in it"):
        bare.remove(tmp_path)
    assert (tmp_path / "kept").exists()
