# SPDX-License-Identifier: GPL-3.0-or-later
"""Reloads under load, with the real engines: no request is refused. A file that the engine would die of is not reloaded."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.fabric import netns
from lab.fabric.names import INTERNET
from tests.integration.proxy.conftest import wait
from tests.integration.proxy.nodes import Nodes, running_nodes
from tests.integration.proxy.seen import PUBLIC, ended

RELOADS = 10
ADDRESS = "10.0.0.10"  # of nat-a
CHAIN = "AWS-HA-PROXY-RELOAD"
BAD = {"squid": "nonsense on\n", "tinyproxy": "Nonsense On\n"}
# Holds a tunnel open to a server that sends everything back, before a line of its input and after it.
TUNNEL = """
import socket, sys
flow = socket.create_connection((sys.argv[1], 3128), 5)
where = sys.argv[2] + ":443"
flow.sendall(f"CONNECT {where} HTTP/1.1\\r\\nHost: {where}\\r\\n\\r\\n".encode())
said = b""
while not said.endswith(b"\\r\\n\\r\\n"):
    said += flow.recv(4096) or sys.exit(f"no tunnel: {said}")
for word in ("before", "after"):
    flow.sendall(word.encode())
    print(flow.recv(4096).decode(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module", params=["squid", "tinyproxy"])
def nodes(request: pytest.FixtureRequest, planner: Callable[..., dict[str, object]]) -> Iterator[Nodes]:
    plan = planner(engine=request.param, sources=["10.0.0.0/16"], health_destinations=[])
    with running_nodes(plan) as made:
        wait(lambda: json.loads(verdict(made) or '{"well": false}')["well"], "the health of nat-a")
        yield made


def verdict(nodes: Nodes) -> str:
    file: Path = nodes.verdict("nat-a")
    return file.read_text(encoding="utf-8") if file.exists() else ""


def test_no_request_is_refused_and_a_tunnel_stays(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    tunnel = nodes.lab.host("client-b").popen(
        [sys.executable, "-c", TUNNEL, ADDRESS, INTERNET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert tunnel.stdout.readline() == "before\n"
    processes = nodes.pids("nat-a", nodes.plan["engine"])
    seen = nodes.reload_often("nat-a", RELOADS)
    longest = max(each.ended - each.begun for each in seen)
    with capsys.disabled():
        print(f"\n  {nodes.plan['engine']}: {len(seen)} requests, {RELOADS} reloads, the longest took {longest:.2f} s")
    assert [each for each in seen if not each.ok] == []
    assert len(seen) > RELOADS and {each.text for each in seen} == {PUBLIC["nat-a"]}
    assert tunnel.communicate("\n\n", timeout=20)[0] == "after\n", "the tunnel from before the reloads"
    assert nodes.pids("nat-a", nodes.plan["engine"]) == processes, "the same process serves"
    rules = [nodes.lab.exec("nat-a", [command]).stdout for command in ("iptables-save", "ip6tables-save")]
    assert not [each for each in rules if CHAIN in each], "no rule stays"


def test_a_bad_file_is_not_reloaded(nodes: Nodes) -> None:
    """Squid would die of it: the check comes first, and the engine goes on with what it has."""
    engine = nodes.plan["engine"]
    file = nodes.home("nat-a") / f"{engine}.conf"
    good = file.read_text(encoding="ascii")
    processes = nodes.pids("nat-a", engine)
    try:
        file.write_text(good + BAD[engine], encoding="ascii")
        done = nodes.reload("nat-a")
    finally:
        file.write_text(good, encoding="ascii")
    assert done.returncode == 1 and "refused, the engine goes on with what it has" in done.stderr
    client = nodes.requests("client-a", ADDRESS)
    time.sleep(1)
    seen = ended(client)
    assert seen and [each for each in seen if not each.ok] == []
    assert nodes.pids("nat-a", engine) == processes


def test_the_check_of_the_health_ends_and_the_proxy_does_not(nodes: Nodes) -> None:
    """The death of the health check is no death of the proxy: nobody is refused."""
    processes = nodes.pids("nat-a", nodes.plan["engine"])
    client = nodes.requests("client-a", ADDRESS)
    time.sleep(0.5)
    netns.send(nodes.pids("nat-a", "proxy_health"), signal.SIGKILL)
    time.sleep(2)
    seen = ended(client)
    assert len(seen) > 10 and [each for each in seen if not each.ok] == []
    assert nodes.pids("nat-a", nodes.plan["engine"]) == processes
