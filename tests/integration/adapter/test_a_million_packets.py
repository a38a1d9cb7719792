# SPDX-License-Identifier: GPL-3.0-or-later
"""A million hostile datagrams in one run of the heartbeat transport (law L12): no exception, no effect, and every single one counted."""

from __future__ import annotations

from collections import Counter

import pytest

from nat_failover.wire.codec import REASONS
from tests.integration.hostile import PEER, PEER_BOOT, RECORDED, Bench, heard

MILLION = 10**6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_hostile_packets_change_nothing_and_are_all_counted() -> None:
    bench = Bench(seed=20260131)
    transport = bench.transport
    called: list[str] = []
    transport.wake, transport.on_packet = lambda: called.append("wake"), called.append
    before = (heard(transport), bench.session.peer_boot, bench.session.peer_seq, bench.session.seq)
    assert before[1:] == (PEER_BOOT, RECORDED - 1, 2 * (RECORDED - 1))
    counted = Counter(transport.counters)
    kinds, choose, take = bench.kinds(), bench.rng.choice, transport.take
    for _packet in range(MILLION):
        take(choose(kinds)(), "10.0.10.50")
    assert (heard(transport), bench.session.peer_boot, bench.session.peer_seq, bench.session.seq) == before
    assert set(called) == {"wake"}, "for the report of the leaps alone"
    assert transport.heard()[PEER].leapt_at == bench.now
    moved = transport.counters - counted
    assert sum(moved.values()) == MILLION
    assert set(moved) == set(REASONS), "each way to be refused was taken, and no other counter moved"
    bench.now += 0.1
    transport.take(bench.packet(bench.peer, PEER_BOOT, RECORDED, bench.session.seq))
    assert transport.heard()[PEER].heartbeat_at == bench.now, "the real one is heard as before"
