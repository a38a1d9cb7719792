# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness table as a node uses it, against a served API: readings, the lock, failures, and what keeps it fresh."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from nat_failover.aws import witness_table
from nat_failover.errors import NatFailoverError, WitnessError
from nat_failover.model.evidence import UNSIGNED, VALID
from nat_failover.model.liveness import LivenessCounter
from nat_failover.model.plan import FenceStep
from nat_failover.observe import witness_reader
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.timing import TimerCoalescer
from nat_failover.wire.seals import ITEM, Seals
from tests.integration.adapter.witnessed import NAME, config_of, connect_to

MINE = "i-0aaaaaaaaaaaaaaaa"
SEALS = Seals((b"k" * 32,), "prod")


def failure(call, *arguments, **options):
    with pytest.raises(WitnessError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value


# --- items and the lock ------------------------------------------------------------------------------------------------------------


def test_an_empty_table(table):
    assert table.read() == ({}, None)


def test_what_is_shown_is_read_and_clusters_do_not_mix(world, table):
    table.show(MINE, "boot:1")
    table.show(MINE, "boot:2")
    other = connect_to(world.api, "other")
    other.show("i-0bbbbbbbbbbbbbbbb", "x:1")
    assert other.lock("nat-z", "nat-y", "z:1", "")
    assert table.read() == ({MINE: "boot:2"}, None)
    assert [call.parameters.get("ConsistentRead") for call in world.api.calls(action="Query")] == [True]


def test_the_lock_has_one_holder(table):
    assert table.lock("nat-a", "nat-b", "a:1", "")
    assert not table.lock("nat-c", "nat-b", "c:1", "")
    assert table.read().lock == ("nat-a", "nat-b", "a:1")
    assert table.lock("nat-a", "nat-b", "a:2", ""), "its holder renews it"
    assert not table.lock("nat-c", "nat-a", "c:2", "a:1"), "renewed since it was seen"
    assert table.lock("nat-c", "nat-a", "c:2", "a:2"), "as it was seen"
    assert not table.lock("nat-a", "nat-b", "a:3", "a:2")
    assert table.read().lock == ("nat-c", "nat-a", "c:2")


def test_unlocking_frees_only_what_was_seen(table):
    assert table.lock("nat-a", "nat-b", "a:1", "")
    assert not table.unlock("a:0")
    assert table.read().lock == ("nat-a", "nat-b", "a:1")
    assert table.unlock("a:1")
    assert table.read().lock is None
    assert not table.unlock("a:1")


def test_of_many_who_ask_at_the_same_time_one_gets_it(world, table):
    won, barrier = [], threading.Barrier(6)

    def ask(number):
        barrier.wait(20)
        if table.lock(f"n{number}", "nat-b", f"v{number}", ""):
            won.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and table.read().lock == (f"n{won[0]}", "nat-b", f"v{won[0]}")


def test_rubbish_in_the_table_is_neither_life_nor_a_free_lock(world, table):
    raw = world.api.client("dynamodb")
    for item, more in (("fence", {}), ("node/" + MINE, {"value": {"N": "7"}}), ("else", {})):
        raw.put_item(TableName=NAME, Item={"cluster": {"S": "lab"}, "item": {"S": item}, **more})
    assert table.read() == ({MINE: ""}, ("", "", ""))
    assert not table.lock("nat-a", "nat-b", "a:1", "")


# --- failures ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("ProvisionedThroughputExceededException", True),
        ("ThrottlingException", True),
        ("InternalServerError", True),
        ("AccessDeniedException", False),
    ],
)
def test_codes(world, table, code, retryable):
    world.api.fault("Query", error=code)
    error = failure(table.read)
    assert (error.action, error.code, error.retryable) == ("dynamodb:Query", code, retryable)
    assert len(world.api.calls(action="Query")) == 1, "botocore repeats nothing"


def test_an_answer_that_is_lost_or_late_is_not_a_no(world, table):
    world.api.fault("PutItem", drop="after", count=1)
    assert failure(table.lock, "nat-a", "nat-b", "a:1", "").code == "EndpointUnreachable"
    assert table.read().lock == ("nat-a", "nat-b", "a:1")
    slow = connect_to(world.api, read_timeout=0.1)
    rule = world.api.fault("Query", delay_ms=500)
    assert failure(slow.read).code == "Timeout"
    world.api.control("fault/" + rule, method="DELETE")


@pytest.mark.parametrize("body", ["<html><body>502</body></html>", "{}", ""])
def test_an_answer_that_cannot_be_read(world, table, body):
    world.api.fault("Query", body=body, status=200)
    assert failure(table.read).code == "BadAnswer"


def test_a_dead_endpoint(world, table):
    world.api.stop()
    error = failure(table.read)
    assert error.code == "EndpointUnreachable" and "witness.endpoint_url" in error.remedy


# --- kept fresh --------------------------------------------------------------------------------------------------------------------


def live(world, story, **changes):
    """Run a ``WitnessReader`` for the time of a story. Returns the events that it reported."""
    told = []

    async def run():
        config, runtime = config_of(world, **changes), AsyncioRuntime()
        reader = witness_reader.WitnessReader(
            config,
            witness_table.connect(config),
            runtime,
            TimerCoalescer(config.heartbeat.interval, runtime),
            boot_id="0123456789abcdef",
            liveness=LivenessCounter("0123456789abcdef", "nat-a", SEALS.sign, 0.0),
            seals=SEALS,
            instance_id=lambda: MINE,
            wake=lambda: None,
            emit=lambda kind, text, _level: told.append((kind, text)),
        )
        loops = [asyncio.ensure_future(work) for work in reader.work()]
        try:
            await story(reader)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            reader.close()

    asyncio.run(run())
    return told


async def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "in vain"
        await asyncio.sleep(0.02)


def test_readings_and_its_own_word(world, table):
    async def story(reader):
        await until(lambda: reader.view is not None)
        assert reader.view.items == {}
        reader.demand(0.1, True)
        await until(lambda: reader.view.items.get(MINE, "").startswith("0123456789abcdef:1:"))
        assert SEALS.read(ITEM, "nat-a", MINE, reader.view.items[MINE]).seal == VALID
        reader.demand(None, False)
        assert reader.view.read_at <= time.monotonic()

    assert live(world, story) == []


def test_a_lock_is_dated_before_its_write_and_only_by_who_wrote_it(world, table):
    step = FenceStep("lock", "nat-b", "i", "")

    async def story(reader):
        before = time.monotonic()
        assert await reader.carry_out(step)
        lock = reader.view.lock
        assert (lock.holder, lock.peer) == ("nat-a", "nat-b") and before - 0.001 <= lock.written_at < time.monotonic()
        assert await reader.carry_out(FenceStep("renew", "nat-b", "i", ""))
        assert reader.view.lock.value != lock.value
        assert await reader.carry_out(FenceStep("unlock", "nat-b", "i", "", reader.view.lock.value))
        assert reader.view.lock is None
        assert table.lock("nat-a", "nat-b", "fedcba9876543210:5", ""), "of an earlier run of the service"
        await until(lambda: reader.view.lock is not None)
        found = reader.view.lock
        assert (found.holder, found.peer, found.value) == ("nat-a", "nat-b", "fedcba9876543210:5")
        assert (found.written_at, found.sign.seal) == (None, UNSIGNED)
        assert table.unlock("fedcba9876543210:5") and table.lock("nat-c", "nat-a", "c:1", "")
        assert not await reader.carry_out(step), "somebody else was first"
        assert (reader.view.lock.holder, reader.view.lock.value) == ("nat-c", "c:1")

    live(world, story)


def test_an_outage_is_told_once_with_its_end_and_keeps_what_was_known(world, table):
    async def story(reader):
        reader.demand(0.05, False)
        await until(lambda: reader.view is not None)
        rule = world.api.fault("Query", error="InternalServerError")
        await until(lambda: reader.problem)
        known = reader.view
        await asyncio.sleep(0.3)
        assert reader.view is known
        with pytest.raises(WitnessError):
            world.api.fault("PutItem", error="ThrottlingException", count=1)
            await reader.carry_out(FenceStep("lock", "nat-b", "i", ""))
        world.api.control("fault/" + rule, method="DELETE")
        await until(lambda: not reader.problem)

    told = live(world, story)
    assert [kind for kind, _text in told] == ["witness", "witness"]
    assert "no fence is begun" in told[0][1] and told[1][1] == "the witness table answers"


def test_without_a_table_there_is_nothing_to_run(world):
    async def story(reader):
        assert reader.work() == ()
        reader.demand(0.1, True)
        with pytest.raises(NatFailoverError, match="no witness table"):
            await reader.carry_out(FenceStep("lock", "nat-b", "i", ""))

    assert live(world, story, witness={}) == []
