# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets as operators write them, and what is an answer of each kind (on real sockets of the loopback interface)."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager

import pytest

from nat_failover.config.targets import parse
from nat_failover.errors import ConfigError
from nat_failover.model.settings import ICMP, TCP, UDP, Target
from nat_failover.runtime import real
from nat_failover.wire import prober as probes
from nat_failover.wire.prober import ProbeImpossible, Prober, dns_answers, dns_question


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("1.1.1.1:443", Target(TCP, "1.1.1.1", 443), "1.1.1.1:443"),
        ("tcp://1.1.1.1:443", Target(TCP, "1.1.1.1", 443), "1.1.1.1:443"),
        ("TCP://example.org:80", Target(TCP, "example.org", 80), "example.org:80"),
        ("[2606:4700::1111]:443", Target(TCP, "2606:4700::1111", 443), "[2606:4700::1111]:443"),
        ("udp://1.1.1.1:53", Target(UDP, "1.1.1.1", 53), "udp://1.1.1.1:53"),
        ("udp://9.9.9.9", Target(UDP, "9.9.9.9", 53), "udp://9.9.9.9:53"),
        ("udp://[2620:fe::fe]", Target(UDP, "2620:fe::fe", 53), "udp://[2620:fe::fe]:53"),
        ("icmp://9.9.9.9", Target(ICMP, "9.9.9.9", 0), "icmp://9.9.9.9"),
    ],
)
def test_what_operators_write(text, target, shown):
    assert parse("canary.targets", [text]) == (target,)
    assert str(target) == shown
    assert parse("canary.targets", [shown]) == (target,), "what is shown can be written"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.1.1.1", "is not host:port"),
        ("1.1.1.1:", "is not host:port"),
        ("a:0", "is not host:port"),
        ("a:65536", "is not host:port"),
        ("a:\u0663", "is not host:port"),
        (":443", "is not host:port: '' is not a host"),
        ("1.1.1.300:443", "1.1.1.300 is not an address"),
        ("2606:4700::1111:443", "is not host:port"),
        ("[nonsense]:443", "nonsense"),
        ("udp://1.1.1.1:", "is not host:port"),
        ("udp://1.1.1.1/53", "is not an address|is not a host"),
        ("https://1.1.1.1", "neither tcp://, udp:// nor icmp://"),
        ("icmp://9.9.9.9:7", "has a port, and ICMP has no ports"),
        ("icmp://9.9.9.9:", "has a port, and ICMP has no ports"),
        ("icmp://[2620:fe::fe]", "is IPv6, and ICMP probes are IPv4 only"),
        ("tcp://user@host:1", "is not a host"),
        ("", "is not host:port"),
    ],
)
def test_what_is_refused_names_key_value_and_remedy(text, problem):
    with pytest.raises(ConfigError, match=problem) as refusal:
        parse("canary.targets", [text])
    assert (refusal.value.key, refusal.value.value) == ("canary.targets", text)
    assert "udp://1.1.1.1:53 (a DNS query) or icmp://9.9.9.9" in refusal.value.remedy


def test_none_and_the_same_one_twice_are_refused():
    with pytest.raises(ConfigError, match="is empty"):
        parse("t", [])
    with pytest.raises(ConfigError, match="appears twice"):
        parse("t", ["1.1.1.1:443", "tcp://1.1.1.1:443"])


# --- asking ----------------------------------------------------------------------------------------------------------------------


@contextmanager
def server(answer):
    """A UDP server that sends back ``answer(question)``, nothing for None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve():
            while True:
                data, sender = sock.recvfrom(512)
                if data == b"end":
                    return
                reply = answer(data)
                if reply is not None:
                    sock.sendto(reply, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Target(UDP, "127.0.0.1", sock.getsockname()[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", sock.getsockname())
        thread.join()


def ask(target, timeout=0.3):
    async def once():
        prober = Prober()
        try:
            return await prober.reach(target, timeout)
        finally:
            prober.close()

    return asyncio.run(once())


def response(question):
    return question[:2] + bytes((question[2] | 0x80, 5)) + question[4:]


def test_a_resolver_that_refuses_has_answered():
    with server(response) as target:
        assert ask(target, 5.0) == ""


@pytest.mark.parametrize(
    "answer",
    [
        lambda question: None,
        lambda question: question,  # an echo
        lambda question: b"hello",
        lambda question: bytes((question[0] ^ 1,)) + response(question)[1:],
        lambda question: response(question)[:-4] + b"\0\1\0\1",  # to another question
    ],
    ids=["silence", "echo", "noise", "another number", "another question"],
)
def test_what_is_no_answer_to_a_dns_question(answer):
    with server(answer) as target:
        assert ask(target) == f"{target}: no answer within 300 ms"


def test_a_closed_port_is_no_answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        target = Target(UDP, "127.0.0.1", sock.getsockname()[1])
    assert ask(target, 2.0) == f"{target}: Connection refused"


@pytest.mark.parametrize("length", range(17))
def test_a_short_dns_message_is_no_answer(length):
    assert dns_answers(response(dns_question(7)), 7)
    assert not dns_answers(response(dns_question(7))[:length], 7)


@pytest.mark.parametrize("target", [Target(TCP, "no-such-host.invalid", 1), Target(UDP, "no-such-host.invalid", 53)])
def test_a_name_that_does_not_resolve_says_so(target):
    assert ask(target, 5.0).startswith(f"{target}: ")


def ping_socket():
    sock = real.open_icmp_socket("127.0.0.1")
    if sock is not None:
        sock.close()
    return sock is not None


@pytest.mark.skipif(not ping_socket(), reason="this user may not send ICMP; the lab does it for real")
def test_an_echo_request_is_answered_and_leaves_nothing_behind():
    async def several():
        prober = Prober()
        target = Target(ICMP, "127.0.0.1", 0)
        found = await asyncio.gather(*(prober.reach(target, 2.0) for _each in range(5)))
        silent = await prober.reach(Target(ICMP, "255.255.255.255", 0), 0.05)
        left = dict(prober._waiting)
        prober.close()
        return found, silent, left

    found, silent, left = asyncio.run(several())
    assert found == [""] * 5
    assert silent.startswith("icmp://255.255.255.255: ") and left == {}


def test_who_may_not_send_icmp_says_so(monkeypatch):
    monkeypatch.setattr(probes, "open_icmp_socket", lambda _bind: None)
    with pytest.raises(ProbeImpossible, match="CAP_NET_RAW"):
        ask(Target(ICMP, "127.0.0.1", 0))
