# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may fence: one lock for the cluster, in the witness table. Pure; between two who ask at the same time, DynamoDB decides.

No wall clocks: a lock whose value has not changed for the length of the lease, by the clock of who looks at it, is anybody's. Its holder renews it long
before, and counts from before its own write; so the holder stops believing in it earlier than anybody else may take it.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import LOCK_KEY, Evidence, Lock, Memory
from ..model.settings import Config

HARMFUL = ("mark", "stop", "reboot")  # the steps that begin a fence; what was begun is finished also without the lock
FRESH = 0.25  # share of the lease after which the holder renews, and before which it may act


def watch(memory: Memory, evidence: Evidence) -> Memory:
    """Since when has the lock the value that it has?"""
    if evidence.witness is None:
        return memory
    value = evidence.witness.lock.value if evidence.witness.lock is not None else ""
    return memory if value == memory.lock_value else memory.updated(lock_value=value, lock_since=evidence.now)


def guard(
    config: Config, memory: Memory, evidence: Evidence, name: str, step: str, under_way: bool
) -> t.Tuple[str, str]:
    """What is to be done about one peer in place of ``step``, and why; the same step without a reason: go on. First match wins.

    ``under_way``: a fence of mine has been begun on this peer, and is not over.
    """
    if config.witness.table is None:
        return step, ""
    lock = evidence.witness.lock if evidence.witness is not None else None
    mine = lock is not None and (lock.holder, lock.peer) == (config.self_name, name)
    fresh = mine and age(lock, evidence.now) < config.witness.lease * FRESH
    harmful = step in HARMFUL
    table = (
        (harmful and LOCK_KEY in evidence.busy, "", ""),  # what I know of the lock is about to change
        (harmful and fresh, step, ""),
        (harmful and mine, "renew", "it is getting old"),
        (harmful, "lock" if _may_take(config, memory, evidence, lock) else "", _standing(lock)),
        (bool(step), step, ""),
        (mine and not under_way, "unlock", "nothing of a fence is left to do"),
        (mine and not fresh, "renew", "the fence is not over yet"),
    )
    return next(((then, why) for holds, then, why in table if holds), (step, ""))


def age(lock: t.Optional[Lock], now: float) -> float:
    """Seconds since I wrote it, or a little more; endless if this run of the service has not."""
    return float("inf") if lock is None or lock.written_at is None else now - lock.written_at


def _may_take(config: Config, memory: Memory, evidence: Evidence, lock: t.Optional[Lock]) -> bool:
    """Nobody is asked twice: the write is conditional on what is seen here."""
    if evidence.witness is None:
        return False
    return lock is None or evidence.now - memory.lock_since >= config.witness.lease


def _standing(lock: t.Optional[Lock]) -> str:
    return "it is free" if lock is None else "%s, who held it for %s, no longer renews it" % (lock.holder, lock.peer)
