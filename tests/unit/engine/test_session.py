# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay protection: a packet that was recorded, or sent by another machine of the same name, is not fresh."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.wire.codec import BEAT, Packet
from nat_failover.wire.session import BIND_WITHIN, FASTEST, IMPOSSIBLE, LEAP, RUNS, Session

BOOT_A, BOOT_B = "aa" * 8, "bb" * 8
BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)


def fresh(seq=1, boot=BOOT_B, echo_boot=BOOT_A, echo_seq=1):
    return Packet(BEAT, "nat-b", boot, seq, echo_boot, echo_seq, None)


@pytest.fixture
def session():
    """This node's (boot A), with one packet sent at 0."""
    result = Session(BOOT_A)
    result.next_seq(0.0)
    return result


def test_a_boot_id_is_bound_by_an_echo_of_a_recent_packet(session):
    assert session.accept(fresh(seq=9), 1.0) == ""
    assert (session.peer_boot, session.peer_seq, session.echo(1.0)) == (BOOT_B, 9, (BOOT_B, 9))


@pytest.mark.parametrize(
    "echo", [("", 0), (BOOT_A, 0), (BOOT_A, 2), ("cc" * 8, 1)], ids=["nothing", "zero", "not sent yet", "other boot"]
)
def test_unbound(session, echo):
    assert session.accept(fresh(echo_boot=echo[0], echo_seq=echo[1]), 1.0) == "unbound"
    assert session.peer_boot == ""
    assert session.echo(1.0) == (BOOT_B, 1)  # echoed, so that the peer can answer and bind


def test_late(session):
    assert session.accept(fresh(), BIND_WITHIN + 0.1) == "late"
    assert session.peer_boot == ""
    session.next_seq(BIND_WITHIN)
    assert session.accept(fresh(), BIND_WITHIN + 0.1) == "late"
    assert session.accept(fresh(echo_seq=2), BIND_WITHIN + 0.1) == ""


def test_replayed(session):
    assert session.accept(fresh(seq=5), 1.0) == ""
    assert session.accept(fresh(seq=5), 1.0) == "replayed"
    assert session.accept(fresh(seq=4), 1.0) == "replayed"  # reordered on the way is no news either
    assert session.accept(fresh(seq=6, echo_boot="", echo_seq=0), 99.0) == ""  # bound: needs no echo
    assert session.accept(fresh(seq=2**64 - 1), 99.0) == "leapt"


def test_a_restarted_peer_is_bound_anew_and_its_old_boot_id_retired(session):
    assert session.accept(fresh(seq=500), 1.0) == ""
    reborn = "cc" * 8
    assert session.accept(fresh(seq=1, boot=reborn, echo_seq=0), 1.0) == "unbound"
    assert session.peer_boot == BOOT_B
    assert session.accept(fresh(seq=2, boot=reborn), 1.0) == ""
    assert session.peer_boot == reborn
    for seq in (501, 2**63):  # a recording of the old life, with a perfect echo
        assert session.accept(fresh(seq=seq), 1.0) == "replayed"
    assert session.peer_boot == reborn


def test_a_recording_of_my_last_life_binds_nothing():
    # After a restart the attacker replays old packets of the peer: they echo this node's old boot id.
    session = Session("dd" * 8)
    session.next_seq(0.0)
    assert session.accept(fresh(seq=1000, echo_boot=BOOT_A), 0.1) == "unbound"
    assert session.peer_boot == ""


def test_retired_boot_ids_outlast_many_restarts(session):
    boots = [f"{number:016x}" for number in range(1, 21)]
    for boot in boots:
        assert session.accept(fresh(boot=boot), 1.0) == ""
    for boot in boots[:-1]:
        assert session.accept(fresh(seq=99, boot=boot), 1.0) == "replayed"


@BOUNDED
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=60))
def test_no_sequence_number_counts_twice(arrivals):
    session = Session(BOOT_A)
    session.next_seq(0.0)
    taken = [seq for seq, echo in arrivals if not session.accept(fresh(seq=seq, echo_seq=int(echo)), 0.1)]
    assert taken == sorted(set(taken))


def test_after_another_machine_took_the_name_only_what_it_was_sent_binds(session):
    session.next_seq(1.0)
    assert session.accept(fresh(seq=5, echo_seq=session.seq), 1.0) == ""
    session.renew()
    old = session.seq
    assert session.accept(fresh(seq=6, echo_seq=old), 1.1) in ("late", "unbound"), "the predecessor still talks"
    mine = session.next_seq(1.2)
    assert mine == old + 1, "my own numbers only grow"
    assert session.accept(fresh(seq=7, echo_seq=old), 1.3) == "late"
    assert session.accept(fresh(seq=1, boot="c" * 16, echo_seq=mine), 1.3) == ""


# --- floods of recordings ------------------------------------------------------------------------------------------------


def test_a_flood_of_recordings_does_not_keep_the_peer_from_being_echoed(session):
    session.accept(fresh(seq=3, echo_seq=0), 0.0)
    for number in range(1000):  # what the peer's last run said to the last run of this node
        assert session.accept(fresh(seq=number, boot="ee" * 8, echo_boot="dd" * 8), 0.01) == "unbound"
    assert {session.echo(0.02), session.echo(0.02)} == {(BOOT_B, 3), ("ee" * 8, 999)}


def test_a_recording_of_the_same_run_does_not_make_its_echo_old(session):
    session.accept(fresh(seq=40, echo_seq=0), 0.0)
    session.accept(fresh(seq=2, echo_seq=0), 0.0)
    assert session.echo(0.0) == (BOOT_B, 40)


def test_a_run_that_begins_is_echoed_next(session):
    session.accept(fresh(seq=7), 0.0)
    session.accept(fresh(seq=1, boot="ee" * 8, echo_seq=0), 0.0)
    assert session.echo(0.0) == ("ee" * 8, 1)
    assert session.echo(0.0) == (BOOT_B, 7)


def test_a_recording_is_echoed_no_more_once_it_could_not_bind(session):
    session.accept(fresh(seq=7), 0.0)
    session.accept(fresh(seq=1, boot="ee" * 8, echo_seq=0), 1.0)
    late = 1.1 + BIND_WITHIN
    assert {session.echo(late) for _time in range(3)} == {(BOOT_B, 7)}, "the bound run is echoed as long as it is"


def test_a_run_that_is_over_is_echoed_no_more(session):
    session.accept(fresh(seq=7), 0.0)
    session.accept(fresh(seq=1, boot="ee" * 8), 0.0)
    assert {session.echo(0.1) for _time in range(3)} == {("ee" * 8, 1)}


def test_runs_that_are_echoed_are_bounded_and_the_most_silent_one_goes(session):
    for number in range(RUNS + 1):
        session.accept(fresh(seq=1, boot=f"{number:016x}", echo_seq=0), number / 100)
    echoed = {session.echo(0.2)[0] for _time in range(2 * RUNS)}
    assert echoed == {f"{number:016x}" for number in range(1, RUNS + 1)}


def test_after_a_leap_was_undone_the_lower_number_is_echoed(session):
    session.accept(fresh(seq=5000), 0.0)
    session.next_seq(0.1)
    assert session.accept(fresh(seq=10, echo_seq=2), 0.2) == ""
    assert session.echo(0.2) == (BOOT_B, 10)


def test_two_nodes_that_start_together_bind_within_three_heartbeats_of_a_flood():
    """20,000 recordings a second, of the last run of each. Neither knows which packets are the other's."""
    a, b = Session(BOOT_A), Session(BOOT_B)
    for ms in range(301):
        now = ms / 1000
        for session in (a, b):
            for number in range(20):
                session.accept(fresh(seq=ms * 20 + number, boot="ee" * 8, echo_boot="dd" * 8), now)
        if ms % 100 == 0:
            for here, there in ((a, b), (b, a)):
                seq, echo = here.next_seq(now), here.echo(now)
                there.accept(Packet(BEAT, "nat-b", here._boot_id, seq, *echo, None), now)
    assert (a.peer_boot, b.peer_boot) == (BOOT_B, BOOT_A)


# --- leaps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [2**64 - 1, 2**63, IMPOSSIBLE, 2**32, 10 + LEAP + 1], ids=str)
def test_a_number_that_leaps_without_an_echo_is_refused_and_the_peer_is_heard_on(session, seq):
    assert session.accept(fresh(seq=10), 1.0) == ""
    assert session.accept(fresh(seq=seq, echo_boot="", echo_seq=0), 1.0) == "leapt"
    assert session.leapt == (10, seq)
    assert session.accept(fresh(seq=11, echo_boot="", echo_seq=0), 1.1) == ""


@pytest.mark.parametrize("seq", [2**64 - 1, IMPOSSIBLE])
def test_an_impossible_number_is_refused_whatever_it_echoes(session, seq):
    assert session.accept(fresh(seq=seq), 1.0) == "leapt" and session.peer_boot == ""
    assert session.accept(fresh(seq=1), 1.0) == ""
    assert session.accept(fresh(seq=seq), 1.0) == "leapt" and session.peer_seq == 1


def test_a_long_silence_explains_a_high_number(session):
    assert session.accept(fresh(seq=10), 1.0) == ""
    hour = 3600.0
    assert session.accept(fresh(seq=int(hour * FASTEST), echo_seq=0), 1.0 + hour) == ""


def test_a_peer_that_was_outrun_by_a_forger_goes_on_with_its_next_echo(session):
    assert session.accept(fresh(seq=10), 1.0) == ""
    session.next_seq(1.0)
    assert session.accept(fresh(seq=2**40, echo_seq=2), 1.0) == "", "a holder of the key that guesses the echo"
    assert session.accept(fresh(seq=11, echo_seq=2), 1.1) == "replayed"
    session.next_seq(1.2)
    assert session.accept(fresh(seq=12, echo_seq=3), 1.2) == ""
    assert session.accept(fresh(seq=13, echo_seq=3), 1.3) == ""


@BOUNDED
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 40)), min_size=1, max_size=40), st.randoms())
def test_no_recording_is_accepted_twice(steps, chance):
    """A packet that is recorded on the way and sent again, in any order and at any time, is refused."""
    session, seq, echo, now, recorded = Session(BOOT_A), 0, 0, 0.0, []
    for packets, sent in steps:
        for _each in range(sent):
            session.next_seq(now)
        seq, echo, now = seq + packets, session.seq, now + 0.05
        packet = fresh(seq=seq, echo_seq=echo)
        if session.accept(packet, now) == "":
            recorded.append(packet)
        for replay in chance.sample(recorded, min(3, len(recorded))):
            assert session.accept(replay, now + chance.uniform(0.0, 6.0)) == "replayed"


@BOUNDED
@given(st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_whatever_numbers_a_holder_of_the_key_sends_the_peer_is_heard_within_two_echoes(forged):
    session, now = Session(BOOT_A), 0.0
    session.next_seq(now)
    assert session.accept(fresh(seq=1), now) == ""
    for number, seq in enumerate(forged, 2):
        now += 0.1
        session.next_seq(now)
        session.accept(fresh(seq=seq, echo_seq=session.seq), now)
        session.next_seq(now)
        accepted = session.accept(fresh(seq=number, echo_seq=session.seq), now)
        near = number <= session.peer_seq <= number + 64
        assert accepted == "" or near, "less ahead than packets overtake each other: the peer catches up"
