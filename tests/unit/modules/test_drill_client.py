# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of a drill, which measures outages."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from .conftest import ROOT

FILES = ROOT / "playbooks" / "files"


class Page(http.server.BaseHTTPRequestHandler):
    """Answers as an echo of the caller's address does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"203.0.113.9\n")

    def log_message(self, *_words):
        pass


@pytest.fixture
def internet():
    """UDP that echoes while ``answers``, and HTTP."""

    class Internet:
        answers = True

    made = Internet()
    made.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.udp.bind(("127.0.0.1", 0))

    def echo():
        while True:
            data, sender = made.udp.recvfrom(2048)
            if not data:
                return
            if made.answers:
                made.udp.sendto(data, sender)

    threads = [threading.Thread(target=echo, daemon=True)]
    made.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threads.append(threading.Thread(target=made.http.serve_forever, daemon=True))
    for thread in threads:
        thread.start()
    made.at_udp, made.at_http = made.udp.getsockname()[1], made.http.server_port
    yield made
    made.http.shutdown()
    made.http.server_close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("127.0.0.1", made.at_udp))
    threads[0].join(5)
    made.udp.close()


def client(*words, check=True):
    return subprocess.run(
        [sys.executable, str(FILES / "drill_client.py"), *words],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_client_measures_by_all_protocols_and_finds_a_silence(internet, tmp_path):
    udp, web = internet.at_udp, internet.at_http
    targets = [f"udp://127.0.0.1:{udp}", f"dns://127.0.0.1:{udp}", f"tcp://127.0.0.1:{web}", f"http://127.0.0.1:{web}/"]
    client("start", str(tmp_path), "60", "10", *targets)
    time.sleep(1.0)
    internet.answers = False
    time.sleep(0.6)
    internet.answers = True
    time.sleep(1.5)
    found = {each["kind"]: each for each in json.loads(client("report", str(tmp_path)).stdout)["targets"]}
    assert set(found) == {"udp", "dns", "tcp", "http"}
    for kind in ("udp", "dns"):
        assert max(length for _at, length in found[kind]["gaps"]) >= 0.55
        assert found[kind]["sent"] - found[kind]["answered"] == len(found[kind]["lost"]) > 10
    for kind in ("tcp", "http"):
        assert found[kind]["sent"] == found[kind]["answered"] > 3 and found[kind]["lost"] == []
    assert [address for _at, address in found["http"]["addresses"]] == ["203.0.113.9"]
    assert all(abs(each["began"] - time.time()) < 60 for each in found.values())


def test_a_client_that_nobody_ends_removes_itself(internet, tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    client("start", str(folder), "0.3", "20", f"udp://127.0.0.1:{internet.at_udp}")
    end = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("url", ["https://198.51.100.10/", "tcp://", "198.51.100.10"])
def test_a_target_that_is_none_is_refused_before_anything_starts(tmp_path, url):
    done = client("start", str(tmp_path), "60", "20", url, check=False)
    assert done.returncode == 1 and "no target; write dns://, udp://, tcp:// or http://" in done.stderr
