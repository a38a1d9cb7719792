# SPDX-License-Identifier: GPL-3.0-or-later
"""The control socket: questions and answers, refusals, and what a crashed service left behind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
import time

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.service import sender
from nat_failover.service.control import MOST_CLIENTS, Control
from nat_failover.service.line_server import LONGEST
from nat_failover.service.sender import control_socket, is_served, send_request


class Service:
    """The requests that the socket serves."""

    def __init__(self):
        self.asked = []

    def status(self):
        return {"node": "nat-a"}

    async def drain(self, reason, wait, by):
        self.asked.append((reason, wait, by.actor))
        if reason == "refuse":
            raise NatFailoverError("still the owner of rtb-1")
        return {"changed": True, "state": "drained"}

    async def resume(self, by):
        return {"changed": False, "state": "active"}


def serve(directory, work):
    """Run ``work(service)``, which blocks, while the socket is served; returns the service."""

    async def scenario():
        service = Service()
        control = Control(str(directory), service)
        await control.open()
        try:
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work, service), 20)
        finally:
            await asyncio.wait_for(control.close(), 10)
        return service

    return asyncio.run(scenario())


def raw(directory, data):
    """Send bytes as they are; the whole answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(os.path.join(str(directory), "control.sock"))
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all was sent
        with connection.makefile("rb") as stream:
            return stream.readline()


def test_questions_and_answers(tmp_path):
    answers = []

    def work(service):
        answers.append(send_request(str(tmp_path), {"do": "status"}))
        answers.append(
            send_request(str(tmp_path), {"do": "drain", "reason": "kernel", "wait": 3, "actor": "ali\x1bce"})
        )
        answers.append(send_request(str(tmp_path), {"do": "drain"}))
        answers.append(send_request(str(tmp_path), {"do": "resume"}))

    service = serve(tmp_path, work)
    assert answers == [
        {"node": "nat-a"},
        {"changed": True, "state": "drained"},
        {"changed": True, "state": "drained"},
        {"changed": False, "state": "active"},
    ]
    assert service.asked == [("kernel", 3.0, "ali?ce"), ("drain", 60.0, "")]


def test_a_refusal_reaches_the_asker(tmp_path):
    def work(service):
        with pytest.raises(NatFailoverError, match="^still the owner of rtb-1$"):
            send_request(str(tmp_path), {"do": "drain", "reason": "refuse"})
        with pytest.raises(
            NatFailoverError, match="unknown request 'stop'; known: status, explain, drain, switchover, resume"
        ):
            send_request(str(tmp_path), {"do": "stop"})
        for wait in ("long", True, [1], None, -1, float("nan"), float("inf")):
            with pytest.raises(NatFailoverError, match="is not a number of seconds up to 86400; write e.g. 60"):
                send_request(str(tmp_path), {"do": "drain", "wait": wait})

    serve(tmp_path, work)


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"hello\n",
        b"",
        b'"status"\n',
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b"{}\n",
        b"x" * (LONGEST + 1) + b"\n",
        b"[" * 60000 + b"\n",
    ],
    ids=lambda data: repr(data[:10]),
)
def test_nonsense_is_refused_and_the_service_goes_on(tmp_path, data):
    def work(service):
        assert "error" in json.loads(raw(tmp_path, data))
        assert send_request(str(tmp_path), {"do": "status"}) == {"node": "nat-a"}

    serve(tmp_path, work)


def test_a_defect_of_the_service_is_an_answer_too(tmp_path):
    def work(service):
        service.status = lambda: {}["none"]
        with pytest.raises(NatFailoverError, match="unexpected KeyError; read `journalctl"):
            send_request(str(tmp_path), {"do": "status"})
        assert send_request(str(tmp_path), {"do": "resume"})["state"] == "active"

    serve(tmp_path, work)


def test_clients_that_hold_connections_open_do_not_lock_others_out_for_good(tmp_path):
    def work(service):
        held = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _each in range(MOST_CLIENTS)]
        try:
            for connection in held:
                connection.connect(str(tmp_path / "control.sock"))
            with pytest.raises(NatFailoverError, match="32 clients are being served; try again"):
                send_request(str(tmp_path), {"do": "status"})
        finally:
            for connection in held:
                connection.close()
        for _try in range(100):
            try:
                assert send_request(str(tmp_path), {"do": "status"}) == {"node": "nat-a"}
                return
            except NatFailoverError:
                time.sleep(0.05)
        raise AssertionError("the service has not recovered")

    serve(tmp_path, work)


def test_an_asker_that_goes_away_stops_nothing(tmp_path):
    def work(service):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(tmp_path / "control.sock"))
            connection.sendall(b'{"do": "status"}\n')
        assert send_request(str(tmp_path), {"do": "status"}) == {"node": "nat-a"}

    serve(tmp_path, work)


def test_the_socket_is_for_root_and_the_group_only(tmp_path):
    directory = tmp_path / "run" / "nat-failover"

    def work(service):
        assert stat.S_IMODE((directory / "control.sock").stat().st_mode) == 0o660
        assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0

    serve(directory, work)
    assert not (directory / "control.sock").exists()


def test_the_socket_of_a_crashed_service_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as crashed:
        crashed.bind(str(tmp_path / "control.sock"))
    assert send_request(str(tmp_path), {"do": "status"}) is None  # the file is there, nobody listens
    serve(tmp_path, lambda service: send_request(str(tmp_path), {"do": "status"}))


def test_a_second_service_leaves_the_socket_of_the_first_one_alone(tmp_path):
    """An operator who starts one by hand must not take the command away from the one that works."""

    def work(_service):
        with pytest.raises(NatFailoverError, match=r"control.sock: another nat-failover serves this socket, and goes"):
            asyncio.run(Control(str(tmp_path), Service()).open())
        assert send_request(str(tmp_path), {"do": "status"}) == {"node": "nat-a"}

    serve(tmp_path, work)


def test_a_socket_is_served_or_not(tmp_path):
    path = control_socket(str(tmp_path))
    serve(tmp_path, lambda _service: is_served(path) or pytest.fail("it is served"))
    assert not is_served(path), "nothing is there"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as crashed:
        crashed.bind(path)
    assert not is_served(path), "nobody listens"


def test_a_socket_that_lets_nobody_in_is_served(monkeypatch):
    class Closed(socket.socket):
        def connect(self, _path):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sender.socket, "socket", Closed)
    assert is_served("/run/nat-failover/control.sock")


def test_no_service(tmp_path):
    assert send_request(str(tmp_path), {"do": "status"}) is None
    assert send_request(str(tmp_path / "absent"), {"do": "status"}) is None


def test_a_path_that_is_no_place_for_a_socket(tmp_path):
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(NatFailoverError, match="run this as root or as a member of the group nat-failover"):
        send_request(str(tmp_path / "file"), {"do": "status"})


@pytest.mark.parametrize("answer, problem", [(b"", "closed the connection"), (None, "no answer within 0 s")])
def test_a_service_that_does_not_answer(tmp_path, answer, problem):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        listener.settimeout(10)
        kept = []

        def serve_badly():
            connection, _peer = listener.accept()
            kept.append(connection)
            if answer is not None:
                connection.recv(1000)
                connection.close()

        thread = threading.Thread(target=serve_badly)
        thread.start()
        with pytest.raises(NatFailoverError, match=problem + ".*journalctl -u nat-failover"):
            send_request(str(tmp_path), {"do": "status"}, timeout=10 if answer is not None else 0.1)
        thread.join()
        for connection in kept:
            connection.close()
