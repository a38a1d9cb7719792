# SPDX-License-Identifier: GPL-3.0-or-later
"""The seals of flares, items and locks: only a node with the cluster's key makes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.model.evidence import FORGED, UNSIGNED, VALID, Sign
from nat_failover.wire.seals import FLARE, ITEM, LOCK, REMEMBERED, Seals

KEY, OLD, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
BOOT = "0123456789abcdef"
BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)
NODE, INSTANCE, NUMBER = "nat-b", "i-0b", 1_800_000_000

A = Seals((KEY,), "prod")
VALUE = A.sign(FLARE, NODE, INSTANCE, BOOT, NUMBER)


def test_round_trip():
    assert A.read(FLARE, NODE, INSTANCE, VALUE) == Sign(VALUE, BOOT, NUMBER, VALID)


def test_the_value_of_a_flare_is_an_interface():
    """Other versions read it: the same key, cluster, node, instance, boot id and number give the same text."""
    assert VALUE == "0123456789abcdef:1800000000:da4a51d762a5a17cd3c96d11bbef8ef7"


@pytest.mark.parametrize(
    "read",
    [
        lambda: Seals((OTHER,), "prod").read(FLARE, NODE, INSTANCE, VALUE),
        lambda: Seals((KEY,), "test").read(FLARE, NODE, INSTANCE, VALUE),
        lambda: A.read(ITEM, NODE, INSTANCE, VALUE),
        lambda: A.read(LOCK, NODE, INSTANCE, VALUE),
        lambda: A.read(FLARE, "nat-c", INSTANCE, VALUE),
        lambda: A.read(FLARE, NODE, "i-0c", VALUE),
        lambda: A.read(FLARE, NODE, INSTANCE, VALUE.replace("0123", "0124", 1)),
        lambda: A.read(FLARE, NODE, INSTANCE, VALUE.replace("1800", "1801", 1)),
    ],
    ids=["key", "cluster", "item", "lock", "node", "instance", "boot", "number"],
)
def test_a_seal_holds_for_one_thing_only(read):
    assert read().seal == FORGED


def test_the_heartbeat_key_itself_signs_nothing_here():
    assert not Seals((KEY,), "prod").holds(A.seal("a"), "b")
    assert A.seal("a", "b") != A.seal("ab") and A.seal("a,b") != A.seal("a", "b")


def test_a_sign_of_an_older_version_is_unsigned():
    assert A.read(FLARE, NODE, INSTANCE, f"{BOOT}:7") == Sign(f"{BOOT}:7", BOOT, 7, UNSIGNED)
    assert A.read(FLARE, NODE, INSTANCE, "") == Sign("", "", 0, UNSIGNED)


@BOUNDED
@given(st.text(max_size=300))
def test_any_text_is_a_sign_and_none_is_valid(text):
    sign = A.read(FLARE, NODE, INSTANCE, text)
    assert sign.value == text and sign.seal in (UNSIGNED, FORGED) and 0 <= sign.number < 10**18


@BOUNDED
@given(st.data())
def test_no_changed_character_is_valid(data):
    at = data.draw(st.integers(0, len(VALUE) - 1))
    other = data.draw(st.characters(exclude_characters=VALUE[at]))
    assert A.read(FLARE, NODE, INSTANCE, VALUE[:at] + other + VALUE[at + 1 :]).seal != VALID


@BOUNDED
@given(st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(0, 10**18 - 1))
def test_every_value_fits_a_tag(boot, number):
    assert len(A.sign(FLARE, "n" * 63, "i-" + "0" * 17, boot, number)) <= 256


def test_a_key_is_rotated_in_three_steps():
    only_old, both_old, both_new, only_new = (OLD,), (OLD, KEY), (KEY, OLD), (KEY,)
    for writer, reader in [
        (only_old, both_old),
        (both_old, only_old),
        (both_old, both_new),
        (both_new, both_old),
        (both_new, only_new),
        (only_new, both_new),
    ]:
        value = Seals(writer, "prod").sign(FLARE, NODE, INSTANCE, BOOT, 1)
        assert Seals(reader, "prod").read(FLARE, NODE, INSTANCE, value).seal == VALID, (writer, reader)


def test_a_reload_takes_other_keys():
    seals = Seals((OLD,), "prod")
    assert seals.read(FLARE, NODE, INSTANCE, VALUE).seal == FORGED
    seals.rekey((KEY,))
    assert seals.read(FLARE, NODE, INSTANCE, VALUE).seal == VALID


def test_few_values_are_remembered():
    seals = Seals((KEY,), "prod")
    for number in range(3 * REMEMBERED):
        seals.read(FLARE, NODE, INSTANCE, f"x:{number}")
    assert len(seals._read) <= REMEMBERED


@pytest.mark.parametrize("keys", [(), (b"",), (KEY, b"")], ids=repr)
def test_an_empty_key_is_an_error(keys):
    with pytest.raises(ValueError, match="empty or missing"):
        Seals(keys, "prod")
