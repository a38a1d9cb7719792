# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server of the metrics: what is slow, oversized or malformed is refused, counted and without effect."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time

import pytest

from nat_failover import readers
from nat_failover.web import server, settings, snapshot
from nat_failover.web.process import Web
from nat_failover.web.request import Refused, parse

STATUS = {"node": "nat-a", "mode": "full", "state": "active", "self": {"forwarding": True}}
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9743\r\n\r\n"


class Stand:
    """A web process with a service that answers by ``answer``; counts the readings."""

    def __init__(self, tmp_path, monkeypatch):
        self.path = str(tmp_path / "status.sock")
        self.answer = json.dumps(STATUS).encode() + b"\n"
        self.readings = 0
        self.monkeypatch = monkeypatch
        self.serves = True
        self.web = None
        self.port = 0

    def run(self, work, **given):
        """The result of ``work()``, which blocks, while both serve."""

        async def service(reader, writer):
            self.readings += 1
            await reader.readline()
            writer.write(self.answer)
            writer.close()

        async def scenario():
            made = settings.WebSettings("127.0.0.1", 0, **given)
            self.web = Web(made, self.path, "prod", "nat-a")
            stand_in = await asyncio.start_unix_server(service, self.path) if self.serves else None
            self.port = await self.web.server.open()
            try:
                return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), 30)
            finally:
                self.web.server.close()
                if stand_in is not None:
                    stand_in.close()

        return asyncio.run(scenario())

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def send(self, data):
        """Code and body of the answer to some bytes."""
        with self.connect() as connection:
            connection.sendall(data)
            return self.read(connection)

    @staticmethod
    def read(connection):
        found = b""
        try:
            while data := connection.recv(65536):
                found += data
        except ConnectionResetError:
            pass
        head, _end, body = found.partition(b"\r\n\r\n")
        return (int(head.split()[1]) if head else 0), body.decode()

    def get(self, path="/healthz"):
        return self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


@pytest.fixture
def stand(tmp_path, monkeypatch):
    return Stand(tmp_path, monkeypatch)


def test_pages(stand):
    answers = stand.run(
        lambda: {path: stand.get(path) for path in ("/metrics", "/healthz", "/readyz?x=1", "/nat", "/x")}
    )
    assert 'nat_failover_up{cluster="prod",node="nat-a"} 1' in answers["/metrics"][1]
    assert answers["/healthz"] == (200, "the service answers\n")
    assert answers["/readyz?x=1"][0] == 503  # without the internet
    assert answers["/nat"] == (200, "this node forwards\n")
    assert answers["/x"] == (404, "served here: /, /metrics, /status.json, /healthz, /readyz, /nat, /cluster\n")


def test_the_page_and_the_status(stand):
    def look():
        with stand.connect() as connection:
            connection.sendall(GET.replace(b"/healthz", b"/"))
            head, _end, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        return head.decode(), body.decode(), stand.get("/status.json")

    head, body, (code, text) = stand.run(look)
    nonce = re.search(r"script-src 'nonce-([\w-]{20,})'", head)[1]
    assert f'<script nonce="{nonce}">' in body and "Content-Type: text/html; charset=utf-8" in head
    assert code == 200 and json.loads(text) == STATUS


def test_each_page_has_a_nonce_of_its_own(stand):
    first, second = stand.run(lambda: [stand.get("/")[1], stand.get("/")[1]])
    assert first != second


def test_a_status_that_cannot_be_read_is_no_status(stand):
    stand.serves = False
    code, text = stand.run(lambda: stand.get("/status.json"))
    assert code == 503 and json.loads(text)["level"] == "unknown"


def test_head_has_no_body(stand):
    code, body = stand.run(lambda: stand.send(GET.replace(b"GET", b"HEAD")))
    assert (code, body) == (200, "")


def test_it_serves_while_the_service_is_stopped(stand):
    stand.serves = False
    metrics, healthz = stand.run(lambda: (stand.get("/metrics"), stand.get("/healthz")))
    assert 'nat_failover_up{cluster="prod",node="nat-a"} 0' in metrics[1]
    assert healthz[0] == 503
    assert "No such file or directory" in healthz[1]


@pytest.mark.parametrize("answer", [b"", b"no json\n", b"[]\n", b'{"error": "busy"}\n', b"[" * 100000 + b"\n"])
def test_an_answer_that_is_no_status_is_a_service_that_is_down(stand, answer):
    stand.answer = answer
    assert stand.run(lambda: stand.get("/healthz"))[0] == 503


def test_a_service_that_hangs_is_down(stand):
    stand.monkeypatch.setattr(readers, "WITHIN", 0.3)
    stand.serves = False

    def work():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
            hung.bind(stand.path)
            hung.listen()
            return stand.get("/healthz")

    code, text = stand.run(work)
    assert (code, "no answer within" in text) == (503, True)


def test_many_requests_are_one_reading_of_the_service(stand):
    stand.monkeypatch.setattr(snapshot, "FRESH", 60.0)
    stand.run(lambda: [stand.get("/metrics") for _each in range(10)])
    assert stand.readings == 1


REFUSED = {
    b"GET / HTTP/1.1\r\n\r\n": 400,  # no Host
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
    b"GET /metrics\r\n\r\n": 400,
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n": 400,
    b"GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nbad header\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\nC: d\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello": 400,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n": 405,
    b"DELETE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n": 405,
    b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n": 421,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1@rebound.example\r\n\r\n": 421,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(70)) + b"\r\n": 431,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,  # TLS
}


@pytest.mark.parametrize(("data", "code"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_malformed_request_is_refused(data, code):
    with pytest.raises(Refused) as refusal:
        parse(data.partition(b"hello")[0], ())
    assert refusal.value.code == code


def test_malformed_requests_are_counted_and_change_nothing(stand):
    def work():
        return [stand.send(data)[0] for data in REFUSED], stand.get("/healthz")

    stand.monkeypatch.setattr(server, "MOST_A_SECOND", 1000)
    codes, after = stand.run(work)
    assert codes == list(REFUSED.values())
    assert after[0] == 200
    counted = stand.web.server.counters
    assert [counted[reason] for reason in ("method", "host", "oversized")] == [2, 2, 1]
    assert (counted["malformed"], counted["answered"]) == (len(REFUSED) - 5, 1)
    assert stand.readings == 1  # for /healthz only


@pytest.mark.parametrize(
    "host", [b"127.0.0.1", b"[::1]:9743", b"localhost:9743", b"NAT-A.example.com.", b"10.0.0.10:1"]
)
def test_addresses_and_the_names_of_the_settings_are_hosts(host):
    request = parse(b"GET /metrics?x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", ("nat-a.example.com",))
    assert (request.method, request.path) == ("GET", "/metrics")


def test_an_oversized_request_is_refused(stand):
    def work():
        return stand.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + b"x" * 20000 + b"\r\n\r\n")

    code, _body = stand.run(work)
    assert code in (0, 431)  # the kernel may drop the answer with the rest of the request
    assert stand.web.server.counters["oversized"] == 1


def test_slow_requests_are_ended_and_others_are_served_meanwhile(stand):
    stand.monkeypatch.setattr(server, "REQUEST_WITHIN", 1.0)

    def work():
        slow = [stand.connect() for _each in range(5)]
        for each in slow:
            each.sendall(b"GET / HT")
        meanwhile = stand.get()
        return meanwhile, [stand.read(each) for each in slow]

    meanwhile, ended = stand.run(work)
    assert meanwhile[0] == 200
    assert [code for code, _body in ended] == [408] * 5
    assert stand.web.server.counters["slow"] == 5


def test_a_client_that_does_not_read_is_dropped(stand):
    stand.monkeypatch.setattr(server, "ANSWER_WITHIN", 0.3)

    async def much(path):
        return server.Page(200, "x" * 20_000_000)

    def work():
        stand.web.server._page = much
        with stand.connect() as connection:
            connection.sendall(GET)
            end = time.monotonic() + 10
            while not stand.web.server.counters["slow"] and time.monotonic() < end:
                time.sleep(0.05)
        return stand.web.server.counters["slow"]

    assert stand.run(work) == 1


def test_connections_beyond_the_limit_are_refused(stand):
    stand.monkeypatch.setattr(server, "MOST_A_SECOND", 1000)

    def work():
        held = [stand.connect() for _each in range(server.MOST_CLIENTS)]
        while stand.web.server._clients < server.MOST_CLIENTS:
            time.sleep(0.01)
        with stand.connect() as connection:
            refusal = stand.read(connection)
        for each in held:
            each.close()
        while stand.web.server._clients:
            time.sleep(0.01)
        return refusal, stand.get()

    refusal, after = stand.run(work)
    assert (refusal[0], after[0]) == (503, 200)
    assert stand.web.server.counters["too_many"] == 1


def test_a_client_that_asks_too_often_is_refused(stand):
    def work():
        return {stand.get()[0] for _each in range(60)}

    stand.monkeypatch.setattr(server, "MOST_A_SECOND", 2)
    stand.run(work)
    assert stand.web.server.counters["rate"] > 0


def test_a_client_that_is_not_on_the_list_is_refused(stand):
    stand.monkeypatch.setattr(settings.WebSettings, "allows", lambda self, client: client != "127.0.0.1")

    def work():
        with stand.connect() as connection:
            return stand.read(connection)

    code, text = stand.run(work)
    assert (code, "nat_instance_web.allow" in text) == (403, True)
    assert (stand.web.server.counters["not_allowed"], stand.readings) == (1, 0)


def test_a_defect_is_counted_and_the_next_request_is_served(stand, caplog):
    async def defect():
        raise KeyError("peer")

    def work():
        read = stand.web._reader.read
        stand.web._reader.read = defect
        first = stand.get("/metrics")
        stand.web._reader.read = read
        return first, stand.get("/metrics")

    first, second = stand.run(work)
    assert (first[0], second[0]) == (500, 200)
    assert 'outcome="failed"} 1' in second[1]
