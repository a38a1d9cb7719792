# SPDX-License-Identifier: GPL-3.0-or-later
"""The file for a colleague: everything that is needed, and no key."""

from __future__ import annotations

import json
import stat
import tarfile

import pytest

from nat_failover import cli
from nat_failover.service import sender, status

from .standing import RAW, standing

KEY = "a-heartbeat-key-that-nobody-may-see-0123"


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "history.jsonl").write_text('{"kind": "verdict", "text": "nat-b is failed", "at": 1.0}\n')
    changes = {"key_file": str(tmp_path / "key"), "runtime_directory": str(tmp_path), "state_directory": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps({**RAW, **changes}))
    monkeypatch.setattr(sender, "send_request", lambda *_request: status.status(standing()))
    path = tmp_path / "out.tar.gz"

    def run():
        words = ["support", "--output", str(path), "--config", str(tmp_path / "config.json")]
        return cli.main(words, lambda argv, **_how: (0, f"{argv[0]} says\n", ""))

    run.path = path
    return run


def test_the_file_holds_all_parts_and_no_key(run, capsys):
    assert run() == 0
    listed = capsys.readouterr().out
    with tarfile.open(run.path) as tar:
        found = {member.name.split("/")[1]: tar.extractfile(member).read() for member in tar.getmembers()}
    assert set(found) == {
        *("version.txt", "config.json", "status.json", "explain.json", "doctor.json", "history.jsonl"),
        *("journal.txt", "units.txt"),
    }
    assert all(f"{name}  {len(content)} bytes" in listed for name, content in found.items())
    assert not any(KEY.encode() in content for content in found.values())
    assert b"nat-b is failed" in found["history.jsonl"] and found["journal.txt"] == b"journalctl says\n"
    assert json.loads(found["status.json"])["schema"] == 1
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_written_over(run, capsys):
    run.path.write_text("mine")
    assert run() == 1
    assert capsys.readouterr().err.endswith("File exists; name a new file with --output\n")
    assert run.path.read_text() == "mine"


def test_a_dead_service_is_a_part_too(run, monkeypatch):
    monkeypatch.setattr(sender, "send_request", lambda *_request: None)
    assert run() == 0
    with tarfile.open(run.path) as tar:
        name = next(member.name for member in tar.getmembers() if member.name.endswith("status.json"))
        assert "does not run here" in json.loads(tar.extractfile(name).read())["error"]
