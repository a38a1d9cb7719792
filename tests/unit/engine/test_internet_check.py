# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the internet access, on real sockets of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager

from nat_failover.config.targets import parse
from nat_failover.observe.internet_check import InternetCheck, from_here
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.wire.prober import Prober


@contextmanager
def listener(backlog=16):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def checker(targets, minimum=1, timeout=0.4, reach=None):
    return InternetCheck(
        AsyncioRuntime(),
        parse("targets", targets),
        minimum=minimum,
        timeout=timeout,
        reach=reach or from_here(Prober()),
    )


def check(*args, **options):
    return asyncio.run(checker(*args, **options).run())


def test_one_answer_is_enough_when_one_is_asked_for():
    with listener() as good:
        assert check([closed(), good])[0]
        assert check([good, closed()])[0]


def test_a_refusal_is_no_answer():
    ok, detail = check([closed(), closed()])
    assert not ok and detail.count("Connection refused") == 2


def test_several_must_answer_when_several_are_asked_for():
    with listener() as first, listener() as second:
        assert check([first, closed(), second], minimum=2) == (True, "2 of 2 answered")
        assert not check([first, closed()], minimum=2)[0]


def test_a_target_that_does_not_answer_delays_but_does_not_decide():
    with listener() as good:
        silent = "192.0.2.1:443"  # TEST-NET-1: nobody there
        began = time.monotonic()
        assert check([silent, good], timeout=2.0)[0]
        assert time.monotonic() - began < 1.5, "the next one was asked beside it"


def test_each_round_begins_with_another_target():
    with listener() as first, listener() as second:
        asked = []

        async def noted(target, timeout):
            asked.append(target.port)
            return await Prober().reach(target, timeout)

        checked = checker([first, second], timeout=1.0, reach=noted)
        for _round in range(4):
            assert asyncio.run(checked.run())[0]
    assert len(set(asked[:2])) == 2 and asked[:2] == asked[2:4]


def test_nothing_is_left_open():
    async def many():
        with listener() as good:
            checked = checker(["192.0.2.1:443", good], timeout=1.0)
            for _round in range(6):
                await checked.run()
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(many()) == []
