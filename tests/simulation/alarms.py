# SPDX-License-Identifier: GPL-3.0-or-later
"""When the next decision could differ although nothing new has come in: the moments at which one of the policy's clocks runs out.

The engine decides ten times a second and at each probe. Most of these decisions are the same as the one before; to skip exactly those makes incidents
cheap. To be on the safe side (a clock that is not listed here), a decision is never skipped for longer than ``LONGEST``.
"""

from __future__ import annotations

import bisect
import typing as t

from nat_failover.model.evidence import Heard
from nat_failover.model.memory import Memory
from nat_failover.model.settings import Config
from nat_failover.policy import address_order, identities, probe_plan, services, synchronised
from nat_failover.policy.fence_steps import SETTLED
from nat_failover.policy.suspicion import LATE
from nat_failover.policy.verdict import FLARE_VALID, swap_wait

LONGEST = 1.0


def spans(config: Config) -> list[float]:
    """All lengths of time that the policy compares with, the shortest first."""
    beat = config.heartbeat
    lengths = {
        LATE * beat.interval,
        2 * beat.interval,
        beat.silent_after,
        2 * beat.silent_after,
        probe_plan.BURST_LENGTH * beat.silent_after,
        config.unseen_after / 2,
        config.unseen_after,
        config.unmanaged_after,
        FLARE_VALID,
        SETTLED,
        config.fence.after,
        config.fence.after + config.fence.stagger * config.rank(config.self_name),
        config.fence.stop_timeout,
        config.returns.maximum,
        config.witness.lease,
    }
    lengths |= {swap_wait(swaps) for swaps in range(1, 6)}
    if config.services:
        lengths |= {services.hold(config, failures) for failures in range(1, 20)}
    if config.identities:
        lengths |= {address_order.PATIENCE, identities.SETTLE, address_order.GIVE_UP}
    if config.state_sync:
        lengths.add(synchronised.FLOWS_WITHIN)
    doubled = (config.returns.after * 2**flaps for flaps in range(20))  # policy.return_after
    return sorted(lengths | {length for length in doubled if length < config.returns.maximum})


def next_alarm(lengths: t.Sequence[float], memory: Memory, heard: t.Mapping[str, Heard], now: float) -> float:
    """The next moment at which some time that the policy remembers becomes some span old. Late heartbeats are not among them: ``probe_plan.next_late``."""
    wait, longest = LONGEST, lengths[-1]
    for at in times(memory, heard):
        age = now - at if at is not None else longest
        if 0.0 <= age < longest:
            wait = min(wait, lengths[bisect.bisect_right(lengths, age)] - age)
    return now + wait


def times(memory: Memory, heard: t.Mapping[str, Heard]) -> list[float | None]:
    """All moments that the policy remembers: each field of ``Memory`` (but ``last_tick``) and ``PeerMemory`` that is one, named for speed."""
    found = [
        memory.awake_since,
        memory.fit_since,
        memory.lost_at,
        memory.returned_at,
        memory.lock_since,
        memory.paused_at,
        memory.due_since,
    ]
    found += [*memory.astray.values(), *memory.led.values(), *memory.arrived.values()]
    found += [each.well_since for each in memory.services.values()]
    for name, peer in memory.peers.items():
        found += (peer.since, peer.suspected_at, peer.proven_at, peer.flare_at, peer.item_at, peer.took_own_claim_at)
        found += (peer.early_at, peer.fence_at, peer.born, peer.known_at)
        if peer.suspected_at is not None:
            found += (heard[name].heartbeat_at, heard[name].icmp_at)
    return found
