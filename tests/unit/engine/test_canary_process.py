# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the canary. Its namespace needs root: see tests/integration/e2e/test_forwarding_faults.py."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import types

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import NatFailoverError
from nat_failover.host import canary_process
from nat_failover.model.settings import ICMP, TCP, Target
from nat_failover.observe import canary_client
from nat_failover.observe.canary_client import CanaryClient, CanaryGone
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.wire.prober import ProbeImpossible, Prober

from .config_case import LEAST


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "canary.sock")


@pytest.fixture
def target():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def tcp(port, host="127.0.0.1"):
    return Target(TCP, host, port)


def with_canary(path, body, prober=None):
    """Run ``body`` while the answering side of the canary listens."""

    async def both():
        listener = canary_process._listen(path, "")
        serving = asyncio.ensure_future(canary_process._answer_forever(listener, prober or Prober()))
        try:
            return await body()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    return asyncio.run(both())


def test_it_connects_where_it_is_told(path, target):
    assert with_canary(path, lambda: CanaryClient(path, AsyncioRuntime())(tcp(target), 1.0)) == ""
    assert with_canary(path, lambda: CanaryClient(path, AsyncioRuntime())(tcp(target, "localhost"), 1.0)) == "", (
        "names are resolved"
    )


def test_it_says_why_nobody_answered(path):
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    problem = with_canary(path, lambda: CanaryClient(path, AsyncioRuntime())(tcp(port), 1.0))
    assert problem == f"127.0.0.1:{port}: Connection refused"


def test_a_name_that_does_not_resolve_is_a_target_that_does_not_answer(path):
    problem = with_canary(path, lambda: CanaryClient(path, AsyncioRuntime())(tcp(1, "no-such-host.invalid"), 1.0))
    assert problem.startswith("no-such-host.invalid:1: ")


def test_no_canary_is_no_word_against_the_node(path):
    with pytest.raises(CanaryGone, match="nat-failover-canary"):
        asyncio.run(CanaryClient(path, AsyncioRuntime())(tcp(1), 0.1))


def test_a_canary_that_hangs_is_told_as_such(path, monkeypatch):
    monkeypatch.setattr(canary_client, "ANSWER_WITHIN", 0.05)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(path)
        hanging.listen()
        with pytest.raises(CanaryGone, match="no answer: it hangs; see `systemctl status nat-failover-canary`"):
            asyncio.run(CanaryClient(path, AsyncioRuntime())(tcp(1), 0.05))


def test_a_canary_that_cannot_ask_is_no_word_against_the_node_either(path):
    class Unable(Prober):
        async def reach(self, target, timeout):
            raise ProbeImpossible("no ICMP socket")

    with pytest.raises(CanaryGone, match="no ICMP socket"):
        with_canary(path, lambda: CanaryClient(path, AsyncioRuntime())(Target(ICMP, "127.0.0.1", 0), 0.1), Unable())


def test_only_the_owner_may_ask_and_what_was_left_over_is_replaced(path):
    for _again in range(2):
        canary_process._listen(path, "").close()
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_user_that_is_not_there(path):
    with pytest.raises(NatFailoverError, match="user nobody-here does not exist"):
        canary_process._listen(path, "nobody-here")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"7",
        b"\xff",
        b'{"host": "a.name", "port": 1, "timeout": 1}',
        b'{"kind": [], "host": "::1"}',
        b"x" * 9000,
    ],
    ids=lambda line: repr(line[:12]),
)
def test_bad_requests_do_no_harm(path, target, line):
    async def body():
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        return answer, await CanaryClient(path, AsyncioRuntime())(tcp(target), 1.0)

    assert with_canary(path, body) == ({"error": "not a line of JSON with kind, host, port and timeout"}, "")


class Slow(Prober):
    """Answers with the target's port, after so many milliseconds."""

    async def reach(self, target, timeout):
        await asyncio.sleep(target.port / 1000)
        return str(target.port)


def test_one_connection_serves_question_after_question(path, monkeypatch):
    opened = []
    connect = asyncio.open_unix_connection

    async def counted(*args, **options):
        opened.append(1)
        return await connect(*args, **options)

    monkeypatch.setattr(asyncio, "open_unix_connection", counted)

    async def body():
        asking = CanaryClient(path, AsyncioRuntime())
        assert [await asking(tcp(port), 1.0) for port in (1, 2, 3)] == ["1", "2", "3"]
        assert len(opened) == 1
        assert await asyncio.gather(*(asking(tcp(port), 1.0) for port in (30, 20, 10))) == ["30", "20", "10"]
        opened.clear()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asking(tcp(200), 1.0), 0.05)
        assert await asking(tcp(4), 1.0) == "4", "not the late answer to the question before"
        asking.close()
        assert await asking(tcp(5), 1.0) == "5"
        assert len(opened) == 2

    with_canary(path, body, Slow())


def test_a_canary_that_was_started_anew_is_asked_on_a_new_connection(path):
    asking = CanaryClient(path, AsyncioRuntime())

    async def served():
        serving = asyncio.ensure_future(canary_process._answer_forever(canary_process._listen(path, ""), Slow()))
        await asyncio.sleep(0)
        answer = await asking(tcp(1), 1.0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as at the end of its process
            task.cancel()
        await asyncio.sleep(0.05)
        return answer

    async def twice():
        return [await served(), await served()]

    assert asyncio.run(twice()) == ["1", "1"]


@pytest.mark.parametrize("fails", ["", "qdisc", "filter"])
def test_its_packets_come_in_by_the_customers_interface_if_the_kernel_can(fails):
    lines = []

    def runner(argv, *, timeout, stdin=""):
        lines.append(" ".join(argv))
        return (1, "", "Error: no such\nthing") if fails and fails in argv else (0, "", "")

    problem = canary_process._enter_by("ens5", types.SimpleNamespace(ipv6=object()), runner)
    assert problem == (f"tc {fails}: Error: no such thing" if fails else "")
    assert all(" dev nfcanary " in line + " " for line in lines)
    assert fails == "qdisc" or all("mirred ingress redirect dev ens5" in line for line in lines[1:])
    assert fails or (len(lines) == 3 and "protocol ipv6" in lines[2])


def test_where_it_cannot_that_is_told_with_each_answer(path, target):
    asking = CanaryClient(path, AsyncioRuntime())

    async def body():
        serving = asyncio.ensure_future(
            canary_process._answer_forever(canary_process._listen(path, ""), Prober(), "no tc")
        )
        try:
            return await asking(tcp(target), 1.0)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    assert asyncio.run(body()) == "" and asking.aside == "no tc"


def test_its_link_is_made_from_both_ends_and_a_failure_is_told():
    lines = []

    def runner(argv, *, timeout, stdin=""):
        lines.append(" ".join(argv))
        return (2, "", "RTNETLINK: no") if "default" in argv else (0, "", "")

    with pytest.raises(NatFailoverError, match=r"ip -4 route add default .* failed \(2\): RTNETLINK: no"):
        canary_process._build(configuration.parse(LEAST).canary, runner)
    outside = [line for line in lines if line.startswith(f"nsenter --net=/proc/{os.getpid()}/ns/net ip ")]
    assert any("route replace 10.255.255.255/32 dev nfcanary" in line for line in outside)
    assert any(line == "ip address add 10.255.255.255/32 dev eth0" for line in lines)


def test_its_second_address_has_a_way_of_its_own():
    lines = []

    def runner(argv, *, timeout, stdin=""):
        lines.append(" ".join(argv).replace(f"nsenter --net=/proc/{os.getpid()}/ns/net ", "outside: "))
        return 0, "", ""

    canary_process._build(configuration.parse({**LEAST, "sources": ["10.0.0.0/16", "2001:db8::/56"]}).canary, runner)
    last = "2001:db8:0:ff:ffff:ffff:ffff:ffff"
    assert lines[-4:] == [
        "outside: ip address add fe80::1/64 dev nfcanary nodad",
        f"outside: ip route replace {last}/128 dev nfcanary",
        f"ip address add {last}/128 dev eth0 nodad",
        "ip -6 route add default via fe80::1 dev eth0 onlink",
    ]


def test_an_ipv6_address_is_asked_as_it_is(path):
    """No resolver, and no IPv4, has a say in it."""
    assert asyncio.run(CanaryClient(path, None)._resolve(Target(TCP, "2001:db8::1", 443))) == "2001:db8::1"
