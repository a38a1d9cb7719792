# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices of EC2 as they come and go, and a metadata service that does not answer."""

from __future__ import annotations

import asyncio
import types

from nat_failover.errors import Ec2Error
from nat_failover.observe.interruption_watch import InterruptionWatch
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.timing import TimerCoalescer

REBALANCE = '{"noticeTime": "2026-01-31T12:00:00Z"}'
SILENT = Ec2Error("IMDS", "http://169.254.169.254", "Timeout", "no answer", retryable=True)


class Metadata:
    """A metadata service that gives one answer after the other, and the pool in which it is read."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.ended = asyncio.get_running_loop().create_future()

    def read(self, paths):
        answer = self.answers.pop(0)
        if isinstance(answer, Ec2Error):
            raise answer
        return {name: answer if name == "rebalance" else None for name in paths}

    def run(self, function, *arguments):
        answered = asyncio.get_running_loop().create_future()
        if not self.answers:
            self.ended.set_result(None)
            return answered  # never
        try:
            answered.set_result(function(*arguments))
        except Ec2Error as error:
            answered.set_exception(error)
        return answered


def watch(*answers):
    """How many notices stand after each answer that was one, and the events."""

    async def run():
        metadata, stand, events = Metadata(answers), [], []
        config = types.SimpleNamespace(handover=types.SimpleNamespace(poll=0.001))
        found = InterruptionWatch(
            config,
            metadata,
            TimerCoalescer(0.1, AsyncioRuntime()),
            metadata,
            wake=lambda: stand.append(len(found.standing)),
            emit=lambda kind, text, _level: events.append((kind, text)),
        )
        working = asyncio.ensure_future(found.work())
        await asyncio.wait_for(metadata.ended, 5)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return stand, events

    return asyncio.run(run())


def test_a_notice_stands_until_ec2_withdraws_it():
    stand, events = watch(None, REBALANCE, REBALANCE, None)
    assert stand == [0, 1, 1, 0]
    begin, end = events
    assert begin[0] == end[0] == "notice" and end[1] == f"no more: {begin[1]}"


def test_a_metadata_service_that_does_not_answer_takes_no_notice_back():
    stand, events = watch(REBALANCE, SILENT, SILENT, REBALANCE)
    assert stand == [1, 1]
    assert [kind for kind, _text in events] == ["notice", "metadata", "metadata"], "an outage has a begin and an end"
    assert "notices that stand are kept" in events[1][1] and "answers again" in events[2][1]
