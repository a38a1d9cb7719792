# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile heartbeats, as a stranger in the VPC can make and record them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from nat_failover.model.cluster import ACTIVE
from nat_failover.model.evidence import Heard, Report
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.wire.codec import ANSWER, BEAT, LONGEST, PROBE, Codec
from nat_failover.wire.transport import HeartbeatTransport

KEY, CLUSTER = b"k" * 32, "prod"
ME, PEER, THIRD = "nat-a", "nat-b", "nat-c"
BOOT, PEER_BOOT, OLD_BOOT, NEXT_BOOT = "aa" * 8, "bb" * 8, "cc" * 8, "dd" * 8
RECORDED = 400


class Clock(AsyncioRuntime):
    """Shows the time of a bench."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def now(self) -> float:  # type: ignore[override]
        return self._bench.now


class Bench:
    """nat-a's transport with nat-b bound at its second boot, and everything that an attacker could have recorded of nat-b."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.transport = HeartbeatTransport(Codec(KEY, CLUSTER, ME), Clock(self), self_name=ME, boot_id=BOOT, port=1)
        self.transport.set_peers({PEER: "10.0.1.10", THIRD: "10.0.2.10"})
        self.peer = Codec(KEY, CLUSTER, PEER)
        self.session = self.transport._peers[PEER].session
        self.recorded = []
        for boot in (OLD_BOOT, PEER_BOOT):
            for number in range(1, RECORDED):
                data = self.packet(self.peer, boot, number, self.session.next_seq(self.now))
                self.transport.take(data)
                self.recorded.append(data)
        self.now += 60.0

    def packet(self, codec: Codec, boot: str, number: int, echo: int, to: str = ME) -> bytes:
        """As a node makes it, with something different in each."""
        fact = "" if number % 3 else f"ip_forward={number}"
        report = Report(ACTIVE, not fact, fact, {ME: "healthy", THIRD: "silent"})
        return codec.encode((BEAT, PROBE, ANSWER)[number % 3], boot, number, BOOT, echo, report, to)

    def any(self) -> bytes:
        """One of the recordings."""
        return self.rng.choice(self.recorded)

    def noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randrange(LONGEST + 100))

    def begins_well(self) -> bytes:
        return b"NATF\x01" + self.rng.choice((b"b", b"p", b"a", b"\xff")) + self.rng.randbytes(self.rng.randrange(300))

    def truncated(self) -> bytes:
        data = self.any()
        return data[: self.rng.randrange(len(data))]

    def lengthened(self) -> bytes:
        return self.any() + self.rng.randbytes(self.rng.randrange(1, 40))

    def flipped(self) -> bytes:
        data = bytearray(self.any())
        for _bit in range(self.rng.randrange(1, 4)):
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        return bytes(data)

    def spliced(self) -> bytes:
        one, other = self.any(), self.any()
        at = self.rng.randrange(1, min(len(one), len(other)))
        return one[:at] + other[at:] + b"\0"

    def replayed(self) -> bytes:
        return self.any()

    def of_another_cluster(self) -> bytes:
        return self.packet(Codec(KEY, "test", PEER), PEER_BOOT, 10**6 + self.rng.randrange(10**6), 1)

    def of_another_key(self) -> bytes:
        return self.packet(Codec(self.rng.randbytes(32), CLUSTER, PEER), PEER_BOOT, 10**6, self.rng.randrange(10**6))

    def for_somebody_else(self) -> bytes:
        return self.packet(self.peer, PEER_BOOT, 10**6 + self.rng.randrange(10**6), 1, to=THIRD)

    def reflected(self) -> bytes:
        return self.packet(
            self.transport.codec, BOOT, 10**6 + self.rng.randrange(10**6), 1, to=self.rng.choice((ME, PEER))
        )

    def of_a_stranger(self) -> bytes:
        return self.packet(Codec(KEY, CLUSTER, "nat-z"), NEXT_BOOT, self.rng.randrange(10**6), 1)

    def of_a_boot_that_heard_nothing_from_me(self) -> bytes:
        return self.packet(self.peer, NEXT_BOOT, self.rng.randrange(10**6), self.rng.choice((0, 1, RECORDED, 10**9)))

    def leaps(self) -> bytes:
        return self.packet(self.peer, PEER_BOOT, self.rng.randrange(2**47, 2**64), 0)

    def kinds(self) -> list[Callable[[], bytes]]:
        """The cheap ones more often: what costs a signature costs the attacker, too."""
        cheap = [
            self.noise,
            self.begins_well,
            self.truncated,
            self.lengthened,
            self.flipped,
            self.spliced,
            self.replayed,
        ]
        dear = [
            self.of_another_cluster,
            self.of_another_key,
            self.for_somebody_else,
            self.reflected,
            self.of_a_stranger,
            self.of_a_boot_that_heard_nothing_from_me,
            self.leaps,
        ]
        return cheap * 6 + dear


def heard(transport: HeartbeatTransport) -> dict[str, Heard]:
    """The evidence heard, without the leaps that were refused."""
    return {name: replace(each, leapt_at=None, leapt_from=0, leapt_to=0) for name, each in transport.heard().items()}
