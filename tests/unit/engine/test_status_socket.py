# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket for readers: status and events, no orders, and no way to hold the service up."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import time

import pytest

from nat_failover.service import line_server
from nat_failover.service.status_socket import MOST_CLIENTS, StatusSocket

from .standing import standing


def serve(directory, work, parts=None):
    """Run ``work(parts)``, which blocks, while the socket is served. Returns its result."""
    parts = parts or standing()

    async def scenario():
        readers = StatusSocket(str(directory), parts)
        await readers.open()
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work, parts), 20)
        finally:
            readers.close()

    return asyncio.run(scenario())


def request(directory, line):
    """The answer to one line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(os.path.join(str(directory), "status.sock"))
        connection.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        with connection.makefile("rb") as stream:
            return json.loads(stream.readline())


def test_a_reader_gets_the_status(tmp_path):
    answer = serve(tmp_path, lambda parts: request(tmp_path, {"do": "status"}))
    assert (answer["node"], answer["state"], len(answer["claims"])) == ("nat-a", "active", 2)


@pytest.mark.parametrize("verb", ["drain", "resume", "leave", "pause", "unpause"])
def test_an_order_is_refused(tmp_path, verb):
    answer = serve(tmp_path, lambda parts: request(tmp_path, {"do": verb}))
    assert answer == {"error": f"unknown request {verb!r}; known here: status, events"}


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"null\n", b'{"do": "events", "after": "x"}\n'])
def test_a_malformed_request_is_refused_and_the_next_one_is_served(tmp_path, line):
    def work(parts):
        return request(tmp_path, line), request(tmp_path, {"do": "status"})

    refusal, answer = serve(tmp_path, work)
    assert set(refusal) == {"error"}
    assert answer["node"] == "nat-a"


def test_a_reader_gets_the_events_that_it_does_not_have(tmp_path):
    parts = standing()
    for kind in ("verdict", "adopt", "fence"):
        parts.events.emit(kind, "nat-b")
    answer = serve(tmp_path, lambda parts: request(tmp_path, {"do": "events", "after": 1}), parts)
    assert [event["kind"] for event in answer["events"]] == ["adopt", "fence"]
    assert (answer["last"], answer["boot_id"], answer["node"]) == (3, "0123456789abcdef", "nat-a")


def test_many_readers_at_once_share_one_status(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("nat_failover.service.status.status", lambda parts: made.append(1) or {"node": "nat-a"})
    serve(tmp_path, lambda parts: [request(tmp_path, {"do": "status"}) for _each in range(5)])
    assert len(made) == 1


def test_readers_beyond_the_limit_are_refused(tmp_path):
    def work(parts):
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _each in range(MOST_CLIENTS)]
        for each in waiting:
            each.connect(str(tmp_path / "status.sock"))
        refusal = request(tmp_path, {"do": "status"})
        for each in waiting:
            each.close()
        return refusal

    assert serve(tmp_path, work)["error"].startswith(f"{MOST_CLIENTS} clients are being served")


def test_a_reader_that_does_not_read_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(line_server, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr("nat_failover.service.status.status", lambda parts: {"much": "x" * 4_000_000})

    def work(parts):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(tmp_path / "status.sock"))
            connection.sendall(b'{"do": "status"}\n')
            time.sleep(1)
            size = 0
            try:
                while data := connection.recv(65536):
                    size += len(data)
            except ConnectionResetError:
                pass
            return size

    assert serve(tmp_path, work) < 4_000_000


def test_its_owner_and_its_group_have_access_and_nobody_else(tmp_path):
    found = serve(tmp_path, lambda parts: (tmp_path / "status.sock").stat())
    assert stat.S_IMODE(found.st_mode) == 0o660


def test_the_socket_of_a_crashed_service_is_replaced_and_removed_at_the_end(tmp_path):
    (tmp_path / "status.sock").write_text("left over", encoding="ascii")
    assert serve(tmp_path, lambda parts: request(tmp_path, {"do": "status"}))["node"] == "nat-a"
    assert not (tmp_path / "status.sock").exists()
