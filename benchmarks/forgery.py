# SPDX-License-Identifier: GPL-3.0-or-later
"""Forged heartbeats at the transport of a node: recorded, spoiled, spliced, replayed, reflected, of other clusters and keys."""

from __future__ import annotations

import time

from nat_failover.wire.codec import REASONS
from tests.integration.hostile import Bench, heard

SEED = 20260131


def attack(count: int, run: int) -> dict[str, float]:
    """How many packets were forged, how many were accepted, and what the refusal of one costs."""
    bench = Bench(SEED + run)
    transport, choose, kinds = bench.transport, bench.rng.choice, bench.kinds()
    accepted: list[str] = []
    transport.on_packet = accepted.append
    before, refused = heard(transport), sum(transport.counters[name] for name in REASONS)
    spent = 0.0
    for _batch in range(count // 1000):
        packets = [choose(kinds)() for _number in range(1000)]
        began = time.process_time()
        for packet in packets:
            transport.take(packet, "10.0.10.50")
        spent += time.process_time() - began
    forged = count // 1000 * 1000
    refused = sum(transport.counters[name] for name in REASONS) - refused
    if heard(transport) != before and not accepted:
        raise RuntimeError("the evidence of a peer has changed without an accepted packet")
    return {"forged": forged, "accepted": forged - refused, "microseconds": round(spent / forged * 1e6, 2)}
