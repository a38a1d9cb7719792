# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of calls to the lab's API, read while it is written."""

from __future__ import annotations

from lab.api.calls import Call, CallLog, read_calls

CALL = Call(1.0, 2.0, 1.0, "nat-a", "A", "10.0.0.10", "ec2", "ReplaceRoute", status=200)


def test_a_line_that_is_being_written_is_not_read_yet(tmp_path):
    path = tmp_path / "calls.jsonl"
    assert read_calls(path) == []
    log = CallLog(path)
    log.append(CALL)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        assert [call.action for call in read_calls(path)] == ["ReplaceRoute"]
