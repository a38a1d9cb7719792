# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right to fence: one lock for the cluster, in the witness table.

Pure. DynamoDB decides a race.

No wall clocks. A lock may be taken by any node once its value has not changed for one lease on the
observer's monotonic clock. Its holder renews it long before, and counts from before its own write.
So the holder stops trusting the lock before another node may take it.
"""

from __future__ import annotations

from ..model import liveness
from ..model.evidence import NOTHING_HEARD, VALID, Evidence, Lock
from ..model.memory import Memory
from ..model.plan import LOCK_KEY
from .case import Case

# The steps that begin a fence. A fence that was begun is finished without a lock
HARMFUL = ("mark", "stop", "reboot")
FRESH = 0.25  # share of the lease after which the holder renews, and before which it may act


BOOTS = 16  # runs of services whose newest lock is remembered


def watch(memory: Memory, evidence: Evidence) -> Memory:
    """The memory with the lock's value and the moment when this node first read it.

    A stranger who writes the lock, or writes an old one again, renews nothing: the lock lapses one
    lease after the last value that its holder wrote.
    """
    if evidence.witness is None:
        return memory
    lock = evidence.witness.lock
    value = lock.value if lock is not None else ""
    if value == memory.lock_value:
        return memory
    numbers, renewed = memory.lock_numbers, True
    if lock is not None and lock.sign.seal == VALID:
        boot, number = lock.sign.boot, lock.sign.number
        renewed = number > numbers.get(boot, -1)
        others = [each for each in numbers.items() if each[0] != boot][1 - BOOTS :]
        numbers = dict([*others, (boot, max(number, numbers.get(boot, -1)))])
    elif lock is not None:
        renewed = is_genuine(lock, evidence)
    since = evidence.now if renewed or not memory.lock_value else memory.lock_since
    return memory.updated(lock_value=value, lock_since=since, lock_numbers=numbers)


def is_genuine(lock: Lock, evidence: Evidence) -> bool:
    """Whether a node of this cluster wrote the lock, be it of an older version without seals."""
    return liveness.believed(lock.sign, evidence.heard.get(lock.holder, NOTHING_HEARD))


def guard(case: Case, name: str, step: str, under_way: bool) -> tuple[str, str]:
    """(step to take in place of ``step``, reason) for one peer. First match wins.

    The same step without a reason means: go on.

    ``under_way``: this node has begun a fence of the peer, and it is not over.
    """
    config, evidence = case.config, case.evidence
    if config.witness.table is None:
        return step, ""
    lock = evidence.witness.lock if evidence.witness is not None else None
    own = lock is not None and (lock.holder, lock.peer) == (config.self_name, name)
    fresh = own and age(lock, evidence.now) < config.witness.lease * FRESH
    harmful = step in HARMFUL
    table = (
        (harmful and LOCK_KEY in evidence.busy, "", ""),  # a write of the lock is under way
        (harmful and fresh, step, ""),
        (harmful and own, "renew", "the lock is getting old"),
        (harmful, "lock" if may_take(case, lock) else "", _standing(lock)),
        (bool(step), step, ""),
        (own and not under_way, "unlock", "no step of a fence is left"),
        (own and not fresh, "renew", "the fence is not over yet"),
    )
    return next(((then, why) for holds, then, why in table if holds), (step, ""))


def age(lock: Lock | None, now: float) -> float:
    """Seconds since this run of the service wrote the lock, or a little more.

    Infinite if it has not.
    """
    return float("inf") if lock is None or lock.written_at is None else now - lock.written_at


def may_take(case: Case, lock: Lock | None) -> bool:
    """Whether the lock is free or has lapsed.

    The write is conditional on the value that was read.
    """
    if case.evidence.witness is None:
        return False
    return lock is None or case.evidence.now - case.memory.lock_since >= case.config.witness.lease


def _standing(lock: Lock | None) -> str:
    if lock is None:
        return "the lock is free"
    return f"{lock.holder} holds the lock for {lock.peer} and no longer renews it"
