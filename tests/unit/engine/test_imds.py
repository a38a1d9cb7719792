# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of an instance: version 2 of the metadata service only. Each way in which it does not answer is one clear error."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest

from nat_failover.aws.imds import DOCUMENT, Metadata, instance_identity
from nat_failover.errors import Ec2Error

from .strange_server import says

IDENTITY = {
    "instanceId": "i-0aaaaaaaaaaaaaaaa",
    "region": "eu-west-1",
    "availabilityZone": "eu-west-1a",
    "privateIp": "10.0.0.10",
    "accountId": "123456789012",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as told in ``server.answers``: (method, path) -> (status, body); logs requests."""

    def _answer(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        status, body = self.server.answers[self.command, self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _answer

    def log_message(self, *_args):
        pass


@pytest.fixture
def metadata():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.answers = {
        ("PUT", "/latest/api/token"): (200, b"secret-token\n"),
        ("GET", DOCUMENT): (200, json.dumps(IDENTITY).encode()),
    }
    server.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_identity(metadata):
    assert instance_identity(endpoint=metadata.endpoint) == {
        "instance_id": "i-0aaaaaaaaaaaaaaaa",
        "region": "eu-west-1",
        "availability_zone": "eu-west-1a",
        "local_ipv4": "10.0.0.10",
    }
    (put, _path, put_headers), (get, path, get_headers) = metadata.seen
    assert (put, get, path) == ("PUT", "GET", DOCUMENT)
    assert put_headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
    assert get_headers["X-aws-ec2-metadata-token"] == "secret-token"


def test_proxies_are_not_used(metadata, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert instance_identity(endpoint=metadata.endpoint)["region"] == "eu-west-1"


def refused(endpoint, **options):
    with pytest.raises(Ec2Error) as caught:
        instance_identity(endpoint=endpoint, **options)
    error = caught.value
    assert (error.action, error.resource, error.retryable) == ("IMDS", endpoint, True)
    assert "give the instance id and the region yourself" in str(error)
    assert "secret-token" not in str(error)
    return error


@pytest.mark.parametrize("status", [401, 403, 404, 500])
@pytest.mark.parametrize("request_", [("PUT", "/latest/api/token"), ("GET", DOCUMENT)], ids=lambda pair: pair[0])
def test_refused(metadata, request_, status):
    metadata.answers[request_] = (status, b"no")
    error = refused(metadata.endpoint)
    assert error.code == "EndpointUnreachable"
    assert f"HTTP {status} for {request_[0]}" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"null",
        b"\xff",
        json.dumps({key: value for key, value in IDENTITY.items() if key != "privateIp"}).encode(),
        b"[" * 65536,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bad_answers(metadata, body):
    metadata.answers["GET", DOCUMENT] = (200, body)
    assert refused(metadata.endpoint).code == "BadAnswer"


def test_a_token_that_is_no_header(metadata):
    metadata.answers["PUT", "/latest/api/token"] = (200, b"one\r\nX-Injected: two")
    assert refused(metadata.endpoint).code == "BadAnswer"
    assert len(metadata.seen) == 1


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    assert refused(f"http://127.0.0.1:{port}").code == "EndpointUnreachable"


def test_it_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refused(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
    assert error.code == "Timeout"
    assert "timed out" in str(error)


def test_it_does_not_speak_http():
    with says(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert refused(f"http://127.0.0.1:{port}").code == "BadAnswer"


SPOT = "/latest/meta-data/spot/instance-action"
PATHS = {"spot": "spot/instance-action", "state": "autoscaling/target-lifecycle-state"}


def test_metadata_is_read_with_one_token(metadata):
    metadata.answers["GET", SPOT] = (404, b"<html>")
    metadata.answers["GET", "/latest/meta-data/autoscaling/target-lifecycle-state"] = (200, b"InService")
    client = Metadata(metadata.endpoint)
    for _time in range(3):
        assert client.read(PATHS) == {"spot": None, "state": "InService"}
    assert [method for method, _path, _headers in metadata.seen].count("PUT") == 1
    assert metadata.seen[0][2]["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"


def test_a_token_that_has_ended_is_replaced(metadata):
    client = Metadata(metadata.endpoint)
    metadata.answers["GET", SPOT] = (200, b"{}")
    assert client.read({"spot": PATHS["spot"]}) == {"spot": "{}"}
    metadata.answers["GET", SPOT] = (401, b"")
    with pytest.raises(Ec2Error, match="HTTP 401 for GET"):
        client.read({"spot": PATHS["spot"]})
    assert [method for method, _path, _headers in metadata.seen] == ["PUT", "GET", "GET", "PUT", "GET"]


def test_metadata_that_does_not_answer(metadata):
    metadata.answers["GET", SPOT] = (500, b"")
    with pytest.raises(Ec2Error, match="does not show what EC2 plans for this instance: HTTP 500"):
        Metadata(metadata.endpoint).read(PATHS)
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    with pytest.raises(Ec2Error) as caught:
        Metadata(f"http://127.0.0.1:{port}").read(PATHS)
    assert caught.value.retryable
