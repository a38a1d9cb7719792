# SPDX-License-Identifier: GPL-3.0-or-later
"""Law L12: a packet that is not authentic, for this node and fresh counts for nothing, for a reason that has a name."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.model.evidence import Report
from nat_failover.model.text import plain
from nat_failover.wire import codec as packets
from nat_failover.wire.codec import (
    ANSWER,
    BEAT,
    HEADER,
    LONGEST,
    PROBE,
    REMEMBERED,
    Codec,
    Packet,
    Rejected,
)

KEY, OLD, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
BOOT_A, BOOT_B = "aa" * 8, "bb" * 8
REPORT = Report(state="active", forwarding=False, fact="ip_forward=0", views={"nat-b": "healthy"})
BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)

A = Codec(KEY, "prod", "nat-a")
B = Codec(KEY, "prod", "nat-b")


def packet(codec=A, kind=BEAT, boot=BOOT_A, seq=7, echo=(BOOT_B, 3), report=REPORT, to="nat-b"):
    return codec.encode(kind, boot, seq, *echo, report, to)


def signed(body, kind=b"b", key=KEY, magic=b"NATF", version=1):
    """A packet with a good signature over anything."""
    data = HEADER.pack(magic, version, kind, bytes.fromhex(BOOT_A), 1, bytes(8), 0) + body
    return data + hmac.digest(key, data, "sha256")


def body(*items):
    return json.dumps(items).encode()


GOOD = ("prod", "nat-a", "nat-b", "active", 1, "", {})


@pytest.mark.parametrize("kind", [BEAT, PROBE, ANSWER])
def test_round_trip(kind):
    assert B.decode(packet(kind=kind)) == Packet(kind, "nat-a", BOOT_A, 7, BOOT_B, 3, REPORT)


def test_a_changed_report_is_said_at_once_to_each_receiver():
    codec, other = Codec(KEY, "prod", "nat-a"), Report("active", False, "ip_forward=0", {})
    for report in (REPORT, other, REPORT, None, other):
        for to in ("nat-b", "nat-c"):
            sent = packet(codec, report=report, to=to)
            assert Codec(KEY, "prod", to).decode(sent).report == report


@pytest.mark.parametrize("more", [{}, {"unwell": frozenset(["squid"])}, {"flows": {"nat-c": 7}}])
def test_a_hindrance_arrives_beside_any_other_field(more):
    report = Report("active", True, "", {"nat-b": "healthy"}, hindrance="ec2_denied", **more)
    assert B.decode(packet(report=report)).report == report


def test_bodies_are_understood_however_many_were_before():
    sender, receiver = Codec(KEY, "prod", "nat-a"), Codec(KEY, "prod", "nat-b")
    reports = [Report("active", True, str(number), {}) for number in range(3 * REMEMBERED)]
    for report in [*reports, *reports[::-1]]:
        assert receiver.decode(packet(sender, report=report)).report == report
    one, two = (receiver.decode(packet(sender, seq=seq)) for seq in (1, 2))
    assert one.report is two.report
    assert (one.seq, two.seq) == (1, 2)


def test_nothing_heard_yet_is_an_empty_echo():
    got = B.decode(packet(echo=("", 0), report=None))
    assert (got.echo_boot, got.echo_seq, got.report) == ("", 0, None)


def test_the_key_is_never_sent():
    assert KEY not in packet()


# --- rejections ----------------------------------------------------------------------------------------------------------------


def test_rejected_foreign_key():
    assert B.decode(packet(Codec(OTHER, "prod", "nat-a"))) == Rejected("bad_mac")


def test_rejected_other_cluster_with_the_same_key():
    assert B.decode(packet(Codec(KEY, "test", "nat-a"))) == Rejected("wrong_cluster")


def test_rejected_for_somebody_else():
    assert B.decode(packet(to="nat-c")) == Rejected("not_for_me")


def test_rejected_reflected():
    # This node's packet, thrown back at it.
    assert A.decode(packet()) == Rejected("not_for_me")
    assert A.decode(packet(to="nat-a")) == Rejected("not_for_me")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NATF",
        bytes(LONGEST),
        signed(body(*GOOD), magic=b"NATX"),
        signed(body(*GOOD), version=2),
        signed(body(*GOOD), kind=b"z"),
        signed(b""),
        signed(b"{"),
        signed(b"\xff"),
        signed(b"7"),
        signed(b"[]"),
        signed(b"{}"),
        signed(b"[" * 900),
        signed(body("prod", "nat-a")),
        signed(body("prod", "nat-a", "nat-b", "active")),
        signed(body(*GOOD, "more")),
        signed(body(*GOOD[:6], ["nat-b"])),
        signed(body(*GOOD[:6], None)),
    ],
    ids=lambda data: repr(data[30:60]),
)
def test_rejected_malformed(data):
    assert B.decode(data) == Rejected("malformed")


@pytest.mark.parametrize("sender", [None, 7, ["nat-a"], {"a": 1}], ids=repr)
def test_rejected_sender_that_is_no_name(sender):
    assert isinstance(B.decode(signed(body("prod", sender, "nat-b"))), Rejected)


def test_rejected_too_long():
    data = signed(body(*GOOD[:5], "x" * LONGEST, {}))
    assert len(data) > LONGEST
    assert B.decode(data) == Rejected("malformed")


def test_every_truncation_is_rejected():
    data = packet()
    assert all(isinstance(B.decode(data[:length]), Rejected) for length in range(len(data)))
    assert isinstance(B.decode(data + b"\0"), Rejected)


def test_every_flipped_bit_is_rejected():
    data = packet()
    for at in range(len(data) * 8):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        assert isinstance(B.decode(bytes(changed)), Rejected), at


@BOUNDED
@given(st.binary(max_size=LONGEST + 50))
def test_noise_never_raises(data):
    assert isinstance(B.decode(data), Rejected)


@BOUNDED
@given(st.binary(max_size=300))
def test_a_signed_body_of_noise_never_raises(noise):
    assert isinstance(B.decode(signed(noise)), (Rejected, Packet))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@BOUNDED
@given(st.lists(JSON, max_size=8))
def test_a_signed_body_of_any_json_gives_a_well_typed_packet_or_none(items):
    got = B.decode(signed(body("prod", "nat-a", "nat-b", *items)))
    if isinstance(got, Packet) and got.report is not None:
        assert isinstance(got.report.state, str)
        assert isinstance(got.report.forwarding, bool)
        assert all(isinstance(text, str) for pair in got.report.views.items() for text in pair)


@BOUNDED
@given(
    st.text(max_size=400),
    st.dictionaries(st.text(max_size=63), st.text(max_size=12), max_size=40),
    st.integers(0, 2**64 - 1),
)
def test_any_report_fits_and_arrives(fact, views, seq):
    data = packet(seq=seq, report=Report("active", True, fact, views))
    assert len(data) <= LONGEST
    got = B.decode(data)
    assert (got.sender, got.seq) == ("nat-a", seq)
    if got.report is not None:  # shortened, never invented
        assert (got.report.state, got.report.forwarding) == ("active", True)
        assert plain(fact).startswith(got.report.fact)
        plainly = {plain(peer): plain(verdict) for peer, verdict in views.items()}
        assert got.report.views.keys() <= plainly.keys()


def test_a_report_too_long_loses_its_fact_then_views():
    views = {f"node-{number:02d}": "healthy" for number in range(50)}
    assert B.decode(packet(report=Report("active", True, "f" * 300, {}))).report.fact == "f" * packets.LONGEST_FACT
    got = B.decode(packet(report=Report("active", True, "f" * 200, views))).report
    assert (got.fact, got.views) == ("", views)
    more = {f"node-{number:03d}": "partitioned" for number in range(200)}
    got = B.decode(packet(report=Report("draining", True, "f", more))).report
    assert (got.state, got.fact) == ("draining", "")
    assert 0 < len(got.views) < 200


def test_what_a_newer_release_adds_to_a_report_is_passed_over():
    got = B.decode(signed(body(*GOOD, 7, "more", {"later": 1}))).report
    assert got.signs == 7
    assert B.decode(signed(body(*GOOD))).report == replace(got, signs=0), "an older one does not number its signs"


def test_services_that_do_not_work_are_named_only_if_there_are_some():
    report = Report("active", True, "", {}, 7, seals=False, unwell=frozenset({"proxy", "a\n"}))
    assert B.decode(packet(report=report)).report == replace(report, unwell=frozenset({"proxy", "a "}))
    older = packet(report=replace(report, unwell=frozenset()))
    assert older == packet(report=Report("active", True, "", {}, 7)), "an older version reads what it knows"
    assert B.decode(signed(body(*GOOD, 7, 1, ["proxy"], "later"))).report.unwell == {"proxy"}
    assert B.decode(signed(body(*GOOD, 7, 1, "proxy"))).report.unwell == frozenset()


def test_the_counts_of_flows_are_in_a_packet_only_where_there_are_some():
    bare = Report("active", True, "", {}, 7, seals=True)
    counted = replace(bare, flows={"nat-a": 4008})
    assert B.decode(packet(report=counted)).report == counted
    assert packet(report=bare) == packet(report=replace(counted, flows={})) != packet(report=counted)
    found = B.decode(signed(body(*GOOD, 7, 1, [], {"nat-a": 1, "b": "x"}, "later"))).report
    assert dict(found.flows) == {"nat-a": 1}
    assert dict(B.decode(signed(body(*GOOD, 7, 1, [], "many"))).report.flows) == {}


def test_the_longest_names_of_services_fit_beside_the_views():
    unwell = frozenset(f"{number}" + "s" * 31 for number in range(8))
    views = {f"node-{number:02d}": "healthy" for number in range(30)}
    got = B.decode(packet(report=Report("active", True, "f" * 200, views, 7, True, unwell))).report
    assert got.unwell == unwell and got.views == views and got.seals


def test_names_alone_fit_whatever_the_report_says():
    # Cluster and node names as long as the configuration lets them be, and a state of any length.
    codec = Codec(KEY, "c" * 64, "a" * 63)
    data = codec.encode(BEAT, BOOT_A, 1, "", 0, Report("s" * LONGEST, True, "", {}), "b" * 63)
    assert Codec(KEY, "c" * 64, "b" * 63).decode(data).report is None


# --- keys ----------------------------------------------------------------------------------------------------------------------


def test_a_key_is_rotated_in_three_steps_without_a_lost_packet():
    only_old, both_old, both_new, only_new = (OLD,), (OLD, KEY), (KEY, OLD), (KEY,)
    for sender, receiver in [
        (only_old, both_old),
        (both_old, only_old),
        (both_old, both_new),
        (both_new, both_old),
        (both_new, only_new),
        (only_new, both_new),
    ]:
        data = packet(Codec(sender, "prod", "nat-a"))
        assert isinstance(Codec(receiver, "prod", "nat-b").decode(data), Packet), (sender, receiver)


def test_a_key_rotated_out_is_refused():
    assert B.decode(packet(Codec(OLD, "prod", "nat-a"))) == Rejected("bad_mac")


@pytest.mark.parametrize("keys", [b"", (), (KEY, b"")], ids=repr)
def test_an_empty_key_is_an_error(keys):
    with pytest.raises(ValueError, match="empty or missing"):
        Codec(keys, "prod", "nat-a")


def test_boot_ids_are_random():
    made = {packets.new_boot_id() for _turn in range(50)}
    assert len(made) == 50
    assert all(len(bytes.fromhex(each)) == 8 for each in made)


def test_every_reason_has_its_counter_name():
    assert {"bad_mac", "malformed", "wrong_cluster", "not_for_me", "replayed", "unbound", "late"} <= set(
        packets.REASONS
    )
