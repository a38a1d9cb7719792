# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check: what it answers, when it asks for a restart, and a real conversation over sockets."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

OK = ("ok.test", 443)
OTHER = ("other.test", 443)


@pytest.fixture
def proxy():
    """A server that answers each connection with the next of its answers."""
    answers, asked = [], []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096).split(b"\r\n")[0].decode())
                connection.sendall(answers.pop(0) if answers else b"")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], answers, asked
    listener.close()


def test_a_tunnel_is_the_proof(health, proxy):
    port, answers, asked = proxy
    answers.append(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert health.ask_proxy(port, OK) == ""
    assert asked == ["CONNECT ok.test:443 HTTP/1.1"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "the proxy says 503 Service Unavailable for ok.test:443"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy says 403 Forbidden for ok.test:443"),
        (b"nonsense\r\n", "the proxy says nothing for ok.test:443"),
        (b"", "the proxy says nothing for ok.test:443"),
    ],
)
def test_an_open_port_is_none(health, proxy, answer, reason):
    port, answers, _asked = proxy
    answers.append(answer)
    assert health.ask_proxy(port, OK) == reason


def test_nobody_on_the_port(health):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert health.ask_proxy(port, OK).startswith(f"the proxy on port {port}: ")


def test_one_destination_that_works_is_enough(health):
    through = {OK: "the proxy says 503", OTHER: ""}
    proof = health.prove(3128, [OK, OTHER], lambda _port, where: through[where], lambda: 5.0)
    assert proof.ok and proof.reason == "a tunnel to other.test:443" and proof.at == 5.0


def test_the_reasons_of_all_destinations_are_kept(health):
    proof = health.prove(3128, [OK, OTHER], lambda _port, where: "no " + where[0], lambda: 5.0)
    assert not proof.ok and proof.reason == "no ok.test; no other.test"


ANSWERS = [
    ("nothing known yet", None, False, 503, "starting"),
    ("a fresh proof", (True, 100.0), False, 200, "healthy"),
    ("a fresh failure", (False, 100.0), False, 503, "failing"),
    ("a proof that is too old", (True, 80.0), False, 503, "failing"),
    ("drained, though it works", (True, 100.0), True, 503, "drained"),
    ("drained before anything is known", None, True, 503, "drained"),
]


@pytest.mark.parametrize(
    ("proof", "drained", "code", "state"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_what_healthz_says(health, proof, drained, code, state):
    known = None if proof is None else health.Proof(proof[0], "why", proof[1])
    found = health.answer(known, drained, 101.0)
    assert (found.code, found.state) == (code, state) and found.reason


RESTARTS = [
    ("too early", (2, True, [], 10.0, 0, 1), False, "2 of 3"),
    ("the node is cut off itself", (9, False, [], 10.0, 0, 1), False, "without the proxy either"),
    ("three within the hour", (3, True, [3000.0, 3300.0, 3500.0], 3700.0, 0, 1), False, "within the hour"),
    ("the oldest of three is forgotten", (3, True, [90.0, 3300.0, 3500.0], 3700.0, 0, 1), True, ""),
    ("alone", (3, True, [], 12345.0, 0, 1), True, ""),
    ("the first of two, in its part", (3, True, [], 180.0 * 7 + 29, 0, 2), True, ""),
    ("the first of two, after its part", (3, True, [], 180.0 * 7 + 31, 0, 2), False, "part of the clock"),
    ("the second of two, in the first's part", (3, True, [], 180.0 * 7 + 1, 1, 2), False, "part of the clock"),
    ("the second of two, in its part", (3, True, [], 180.0 * 7 + 91, 1, 2), True, ""),
]


@pytest.mark.parametrize(("given", "due", "why"), [row[1:] for row in RESTARTS], ids=[row[0] for row in RESTARTS])
def test_when_the_engine_is_restarted(health, given, due, why):
    found = health.may_restart(*given)
    assert found[0] == due and why in found[1]


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_no_two_nodes_restart_within_a_minute(health, nodes):
    times = [
        (moment, rank)
        for moment in range(health.SLOT_S * nodes * 2)
        for rank in range(nodes)
        if health.may_restart(3, True, [], float(moment), rank, nodes)[0]
    ]
    assert {rank for _moment, rank in times} == set(range(nodes))
    for moment, rank in times:
        assert all(abs(moment - other) >= 60 for other, its in times if its != rank)


def service(health, **more):
    return health.Health(3128, {"destinations": [list(OK), list(OTHER)], "rank": 0, "nodes": 1, **more})


def test_a_restart_is_asked_for_once_and_remembered(health, monkeypatch, capsys):
    monkeypatch.setattr(health, "prove", lambda *_: health.Proof(False, "the proxy says 500", 0.0))
    monkeypatch.setattr(health, "ask_directly", lambda _where: True)
    one = service(health)
    for _round in range(4):
        one.round()
    assert "3 failures" in Path(health.REQUEST).read_text(encoding="ascii")
    assert len(json.loads(Path(health.RESTARTS).read_text(encoding="ascii"))) == 1
    assert capsys.readouterr().out.count("asks for a restart") == 1
    assert len(service(health).restarts) == 1  # also by the next process


def test_the_verdict_is_known_before_the_node_itself_tries(health, monkeypatch):
    """A node without an uplink waits long for its own connections: a load balancer must not wait for them too."""
    one, seen = service(health), []
    monkeypatch.setattr(health, "prove", lambda *_: health.Proof(False, "the proxy says 500", time.monotonic()))
    monkeypatch.setattr(health, "ask_directly", lambda _where: bool(seen.append(one.now().state)))
    one.round()
    assert (one.now().code, seen) == (503, []), "one failure restarts nothing"
    one.round()
    one.round()
    assert seen == ["failing", "failing"]
    assert not Path(health.REQUEST).exists()


def test_the_verdict_is_written_for_the_service_that_moves_the_address(health, monkeypatch):
    one, boot_id = service(health), Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    for ok, drained, well in ((True, False, True), (False, False, False), (True, True, False), (True, False, True)):
        monkeypatch.setattr(health, "prove", lambda *_, ok=ok: health.Proof(ok, "said", time.monotonic()))
        health.drain(drained)
        before = time.monotonic()
        one.round()
        found = json.loads(Path(health.VERDICT).read_text(encoding="utf-8"))
        assert found.keys() == {"boot_id", "at", "well", "reason"}
        assert (found["well"], found["boot_id"]) == (well, boot_id)
        assert before <= found["at"] <= time.monotonic()
        assert found["reason"] == ("drained by an operator; proxy-health resume ends it" if drained else "said")
    assert sorted(each.name for each in Path(health.VERDICT).parent.iterdir()) == ["verdict"], "no part of a file stays"


def test_a_verdict_that_cannot_be_written_is_told_once_and_stops_nothing(health, monkeypatch, capsys):
    monkeypatch.setattr(health, "prove", lambda *_: health.Proof(True, "said", time.monotonic()))
    monkeypatch.setattr(health, "VERDICT", health.STATE + "/nowhere/verdict.json")
    one = service(health)
    for _round in range(3):
        one.round()
    assert one.now().code == 200
    assert capsys.readouterr().out.count("cannot write its verdict") == 1


def test_the_destination_that_works_is_asked_first(health, monkeypatch):
    monkeypatch.setattr(health, "prove", lambda *_: health.Proof(True, "a tunnel to other.test:443", 0.0))
    one = service(health)
    one.round()
    assert one.destinations == [OTHER, OK]


def get(port, text=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(text)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@pytest.fixture
def served(health):
    """The server on a port of its own; the state is the first of the list."""
    state = [health.Answer(200, "healthy", "a tunnel to ok.test:443")]
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    server = health.Server(port, lambda: state[0], ["10.0.0.0/16"])
    threading.Thread(target=server.forever, daemon=True).start()
    yield port, state, server
    server.listener.close()


def test_healthz_over_a_socket(health, served):
    port, state, _server = served
    head, _empty, body = get(port).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n") and json.loads(body)["state"] == "healthy"
    state[0] = health.Answer(503, "drained", "by an operator")
    assert get(port).startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert get(port, b"GET / HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 404 ")
    assert get(port, b"HEAD /healthz HTTP/1.1\r\n\r\n").endswith("\r\n\r\n")


def test_slow_clients_do_not_keep_others_waiting(health, served):
    port, _state, _server = served
    silent = [socket.create_connection(("127.0.0.1", port)) for _each in range(5)]
    assert get(port).startswith("HTTP/1.1 200 ")
    for each in silent:
        each.close()


def test_strangers_are_not_answered(served):
    _port, _state, server = served
    assert server._welcome("10.0.3.4") and server._welcome("::ffff:10.0.3.4") and server._welcome("127.0.0.1")
    assert not server._welcome("203.0.113.9") and not server._welcome("2001:db8::1")


def test_the_commands_of_an_operator(health, served, capsys):
    port, state, _server = served
    with open(health.SETTINGS, "w", encoding="ascii") as stream:
        json.dump({"health": {"port": port}}, stream)
    assert health.main(["status"]) == 0
    assert health.main(["drain"]) == 0 and os.path.exists(health.DRAINED)
    state[0] = health.answer(None, os.path.exists(health.DRAINED), 0.0)
    assert health.main(["status"]) == 1
    assert health.main(["resume"]) == 0 and not os.path.exists(health.DRAINED)
    assert health.main(["resume"]) == 0
    assert health.main(["dance"]) == 2
    assert "drained: " in capsys.readouterr().out
