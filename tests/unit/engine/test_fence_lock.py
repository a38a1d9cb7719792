# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness table: what it proves of a peer, and the lock without which nobody begins a fence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.model.evidence import Lock, WitnessView
from nat_failover.model.plan import LOCK_KEY, FenceStep
from nat_failover.policy import fence_lock
from nat_failover.wire.seals import LOCK, Seals

from .policy_case import FINE, ME, NOW, PEER, SEALS, THIRD, Case, heard, make_config, steps

LEASE = 60
TABLE = {"dynamodb_table": "nat", "lock_lease_s": LEASE}
MINE = Lock(ME, PEER, "boot:1", NOW - 1)


def says(case, lock=None, **items):
    shown = {case.instances[name.replace("_", "-")].instance_id: value for name, value in items.items()}
    case.witness = WitnessView(shown, lock, NOW)
    case.memory = replace(case.memory, lock_value=lock.value if lock else "", lock_since=NOW)


def dead(lock=None, seconds=100, **memory):
    """The peer died long ago, its route is with this node, and a table is configured."""
    case = having_a_table()
    case.silent(seconds=seconds, verdict="failed", **memory)
    case.point(PEER, "eni-" + ME)
    says(case, lock)
    return case


def having_a_table(names=(ME, PEER)):
    """A settled cluster with a witness table."""
    case = Case(names)
    case.config = make_config(names, witness_table=TABLE)
    return case


# --- a sign of life --------------------------------------------------------------------------------------------------------------


def test_an_item_counts_when_it_changes_not_when_it_is_there():
    case = having_a_table()
    says(case, nat_b="old:1")
    case.silent(item_baseline="old:1")
    assert case.verdict() == "failed"
    says(case, nat_b="old:2")
    plan = case.decide()
    assert plan.verdicts[0].kind == "partitioned" and plan.routes == ()
    assert "its item in the witness table changed" in plan.verdicts[0].evidence


def test_the_first_reading_of_a_suspicion_proves_nothing():
    case = having_a_table()
    says(case, nat_b="old:7")
    case.silent()
    assert case.verdict() == "failed" and case.memory.peers[PEER].item_baseline == "old:7"


def test_without_a_table_or_an_answer_of_it_routes_move_all_the_same():
    for table in (False, True):
        case = having_a_table() if table else Case()
        case.silent()
        plan = case.decide()
        assert plan.verdicts[0].kind == "failed" and [action.kind for action in plan.routes] == ["adopt"]


def test_an_item_that_changed_lately_forbids_a_fence():
    case = dead(MINE, item_at=NOW - 25)
    assert steps(case) == ["unlock"], "and the lock is given back"


def test_a_suspicion_that_is_over_forgets_what_was_seen_in_it():
    case = having_a_table()
    case.silent(item_baseline="x:1", item_at=NOW - 5)
    case.heard[PEER] = heard()
    case.decide()
    peer = case.memory.peers[PEER]
    assert (peer.item_baseline, peer.item_at) == (None, None)


# --- the lock --------------------------------------------------------------------------------------------------------------------


def test_lock_mark_stop_start_unlock():
    case = dead()
    assert steps(case) == ["lock"]
    says(case, MINE)
    assert steps(case) == ["mark"]
    case.tag(PEER, fence="nat-a:stop")
    assert steps(case) == ["stop"]
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == []
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]
    case.instances[PEER] = replace(case.instances[PEER], state="running")
    case.tag(PEER, fence="nat-a:started")
    assert steps(case) == ["unlock"], "nothing that could hurt is left to do"
    says(case)
    assert steps(case) == []
    case.heard[PEER] = heard(boot_id="new")
    assert steps(case) == ["unmark"]


def test_no_answer_no_fence():
    case = dead()
    case.witness = None
    assert steps(case) == []


@pytest.mark.parametrize(
    ("lock", "since", "expected"),
    [
        (Lock("nat-c", PEER, "c:1"), NOW - LEASE + 1, []),
        (Lock("nat-c", PEER, "c:1"), NOW - LEASE, ["lock"]),
        (Lock("nat-c", THIRD, "c:1"), NOW - LEASE, ["lock"]),
        (Lock(ME, THIRD, "boot:1", NOW - 1), NOW - 1, []),  # this node is fencing another
        (MINE, NOW - 1, ["mark"]),
        (replace(MINE, written_at=NOW - LEASE / 4), NOW - 1, ["renew"]),  # however lately this node has read it
        (replace(MINE, written_at=None), NOW - 1, ["renew"]),  # of an earlier run of this service
    ],
)
def test_whose_lock_and_how_old(lock, since, expected):
    case = dead(lock)
    case.memory = replace(case.memory, lock_since=since)
    assert steps(case) == expected


def written(number, holder=THIRD, peer=PEER, boot="c", seals=SEALS):
    """The lock as a node writes it."""
    value = seals.sign(LOCK, holder, peer, boot, number)
    return Lock(holder, peer, value, sign=SEALS.read(LOCK, holder, peer, value))


def test_a_value_that_changes_begins_the_lease_anew():
    lock = written(1)
    case = dead(lock)
    case.memory = replace(case.memory, lock_value="c:0", lock_since=NOW - 10 * LEASE)
    assert steps(case) == [] and (case.memory.lock_value, case.memory.lock_since) == (lock.value, NOW)


STRANGERS = Seals((b"x" * 32,), "c")


@pytest.mark.parametrize(
    "again",
    [
        written(9, seals=STRANGERS),
        replace(written(9, peer=ME), peer=PEER, sign=SEALS.read(LOCK, THIRD, PEER, written(9, peer=ME).value)),
        replace(written(9), holder="nat-d", sign=SEALS.read(LOCK, "nat-d", PEER, written(9).value)),
        Lock(THIRD, PEER, "c:9", sign=SEALS.read(LOCK, THIRD, PEER, "c:9")),
        written(4),
    ],
    ids=["of another key", "of another peer", "of another holder", "without a seal", "written again"],
)
def test_a_lock_that_a_stranger_renews_lapses_all_the_same(again):
    case = dead(written(5))
    case.memory = replace(case.memory, lock_value="", lock_numbers={})
    assert steps(case) == []
    since = case.memory.lock_since
    case.witness = replace(case.witness, lock=again)
    assert steps(case) == [] and case.memory.lock_since == since
    case.memory = replace(case.memory, lock_since=NOW - LEASE)
    (step,) = case.decide().fence
    assert (step.step, step.expects) == ("lock", again.value)


def test_an_older_version_renews_its_lock_without_a_seal():
    case = having_a_table((ME, PEER, THIRD))
    case.witness = WitnessView({}, Lock(THIRD, PEER, "c:2", sign=SEALS.read(LOCK, THIRD, PEER, "c:2")), NOW)
    case.memory = replace(case.memory, lock_value="c:1", lock_since=NOW - LEASE)
    case.decide()
    assert case.memory.lock_since == NOW
    case.heard[THIRD] = heard(report=replace(FINE, seals=True))
    case.memory = replace(case.memory, lock_value="c:1", lock_since=NOW - LEASE)
    plan = case.decide()
    assert case.memory.lock_since == NOW - LEASE, "its heartbeats show that it seals"
    assert plan.drift == {}, "the first reading may be left over"
    case.witness = replace(case.witness, lock=replace(case.witness.lock, value="c:3"))
    assert list(case.decide().drift) == ["fence lock in the witness table"]


def test_the_numbers_of_few_runs_are_remembered():
    case = having_a_table()
    for run in range(3 * fence_lock.BOOTS):
        case.witness = WitnessView({}, written(run, boot=f"b{run}"), NOW)
        case.decide()
    assert len(case.memory.lock_numbers) == fence_lock.BOOTS


def test_a_stale_lock_is_taken_only_as_it_was_seen():
    case = dead(Lock("nat-c", THIRD, "c:1"))
    case.memory = replace(case.memory, lock_since=NOW - LEASE)
    (step,) = case.decide().fence
    assert (step.step, step.expects, step.key) == ("lock", "c:1", LOCK_KEY)
    assert "no longer renews it" in step.reason


def test_while_a_write_of_the_lock_is_under_way_no_harm_is_done():
    case = dead(MINE)
    case.busy = (LOCK_KEY,)
    assert steps(case) == []


@pytest.mark.parametrize(
    ("state", "expected"), [("stopping", ["renew"]), ("stopped", ["start"]), ("pending", ["renew"])]
)
def test_a_fence_that_lasts_renews_but_what_was_begun_comes_first(state, expected):
    case = dead(replace(MINE, written_at=NOW - 20), fence_stage="stopped", fence_at=NOW - 20)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state=state)
    assert steps(case) == expected


@pytest.mark.parametrize("lock", [None, Lock("nat-c", THIRD, "c:1")])
def test_what_was_begun_is_finished_without_the_lock(lock):
    case = dead(lock)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert steps(case) == ["start"]
    case = dead(lock, fence_stage="stopped", fence_at=NOW - 500)
    case.tag(PEER, fence="nat-a:stop")
    case.instances[PEER] = replace(case.instances[PEER], state="stopping")
    assert steps(case) == ["force_stop"]


def test_two_dead_peers_are_one_lock_and_one_fence_at_a_time():
    case = having_a_table((ME, PEER, THIRD))
    case.silent(PEER, seconds=100, verdict="failed")
    case.silent(THIRD, seconds=200, verdict="failed")
    case.memory = replace(
        case.memory,
        peers={name: replace(peer, since=NOW - 90) for name, peer in case.memory.peers.items()},
    )
    case.point(PEER, "eni-" + ME)
    case.point(THIRD, "eni-" + ME)
    says(case)
    assert steps(case) == ["lock"]
    says(case, MINE)
    plan = case.decide()
    assert [(step.step, step.peer) for step in plan.fence] == [("mark", PEER)]


def test_a_peer_that_recovers_gives_the_lock_back():
    case = having_a_table()
    says(case, MINE)
    (step,) = case.decide().fence
    assert (step.step, step.expects) == ("unlock", "boot:1")


def test_who_may_write_nothing_leaves_the_lock_alone():
    case = dead(MINE, item_at=NOW - 1)
    case.config = replace(case.config, mode="observe")
    plan = case.decide()
    assert plan.fence == () and [str(step) for step in plan.withheld] == ["unlock nat-b"]


def test_steps_about_the_lock_share_a_key_and_others_do_not():
    keys = {FenceStep(step, PEER, "i", "").key for step in ("lock", "renew", "unlock")}
    assert keys == {LOCK_KEY}
    assert FenceStep("mark", PEER, "i", "").key == ("fence", PEER)
    assert fence_lock.age(None, NOW) == float("inf")
