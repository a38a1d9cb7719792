# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of TLS authorities are loaded once for each client, and again when their file has changed."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from types import SimpleNamespace

import pytest

from nat_failover.aws import authorities, calls
from nat_failover.aws.client import Connection


@pytest.fixture
def loads(monkeypatch):
    """The files that TLS contexts have loaded, in their order."""
    found, load = [], ssl.SSLContext.load_verify_locations

    def noted(self, cafile=None, capath=None, cadata=None):
        found.append(cafile)
        load(self, cafile, capath, cadata)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    return found


@pytest.fixture
def closing():
    """The port of a server that closes each connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work():
            try:
                while True:
                    listener.accept()[0].close()
            except OSError:
                pass

        threading.Thread(target=work, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def refused(code, message):
    return ConnectionError(f"{code}: {message}")


def test_a_second_connection_loads_nothing(loads, closing, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    connection = Connection("ec2", "eu-west-1", f"https://127.0.0.1:{closing}", 5.0, 5.0, pool=2)
    loads.clear()  # those of credentials and the like
    for _connection in range(3):
        with pytest.raises(ConnectionError, match="EndpointUnreachable"):
            connection.call(calls.DESCRIBE_INSTANCES, refused)
    assert len(loads) == 1, "each call opens a connection of its own, since the server closes them"


def test_a_changed_file_is_loaded_again(tmp_path):
    loaded = []
    load = authorities.OnceLoader(lambda *what: loaded.append(what))
    bundle = tmp_path / "bundle.pem"
    for content in ("one", "one", "another one"):
        bundle.write_text(content)
        os.utime(bundle, (1, 1))  # the same moment: clocks of file systems may be coarse
        load(str(bundle))
    assert loaded == [(str(bundle), None, None)] * 2
    os.utime(bundle, (2, 2))
    load(str(bundle))
    load(str(bundle))
    assert len(loaded) == 3


def test_what_could_not_be_loaded_is_tried_again():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load = authorities.OnceLoader(context.load_verify_locations)
    for _attempt in range(2):
        with pytest.raises(OSError):
            load("/nowhere/bundle.pem")


def test_threads_at_the_same_time_load_once():
    loaded, begun = [], threading.Barrier(4)
    load = authorities.OnceLoader(lambda *what: loaded.append(what))

    def work():
        begun.wait(10)
        load("bundle.pem")

    threads = [threading.Thread(target=work) for _thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(loaded) == 1


@pytest.mark.parametrize("client", [None, SimpleNamespace(), SimpleNamespace(_endpoint=None)])
def test_a_client_of_another_shape_is_left_alone(client):
    authorities.load_once(client)
