# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo: whose reply is this, and to a request of this node?"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.wire import icmp
from nat_failover.wire.icmp import ANSWER_WITHIN, ECHO, PENDING, Echo, checksum

ADDRESS = "10.0.1.10"
BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)


def answer(request, kind=icmp.ECHO_REPLY, identifier=None, token=None):
    """The packet that the other kernel sends back."""
    _kind, code, _sum, asked, seq = ECHO.unpack_from(request)
    return ECHO.pack(kind, code, 0, asked if identifier is None else identifier, seq) + (
        request[ECHO.size :] if token is None else token
    )


def with_ip(packet, words=5):
    """As a raw socket delivers it."""
    return bytes((0x40 | words,)) + bytes(words * 4 - 1) + packet


@pytest.fixture
def echo():
    return Echo(raw=False, identifier=77)


def test_the_checksum_of_rfc_1071():
    # The RFC's own example; and a packet with its checksum in place sums up to zero.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
    assert checksum(b"\xff" * 1200) == 0


def test_a_request_is_well_formed(echo):
    packet = echo.request("nat-b", ADDRESS, 0.0)
    kind, code, _sum, identifier, seq = ECHO.unpack_from(packet)
    assert (kind, code, identifier, seq) == (8, 0, 77, 1)
    assert checksum(packet) == 0
    assert len(packet) == ECHO.size + icmp.TOKEN


def test_a_reply_names_the_peer(echo):
    packet = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(answer(packet), ADDRESS, 0.01) == ("nat-b", "")


def test_a_ping_socket_has_an_identifier_of_the_kernels(echo):
    packet = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(answer(packet, identifier=5), ADDRESS, 0.01) == ("nat-b", "")


@pytest.mark.parametrize("words", [5, 6, 15])
def test_a_raw_socket_delivers_the_ip_header(words):
    echo = Echo(raw=True, identifier=77)
    packet = answer(echo.request("nat-b", ADDRESS, 0.0))
    assert echo.reply(with_ip(packet, words), ADDRESS, 0.01) == ("nat-b", "")


def test_each_reply_counts_once(echo):
    packet = answer(echo.request("nat-b", ADDRESS, 0.0))
    assert echo.reply(packet, ADDRESS, 0.01) == ("nat-b", "")
    assert echo.reply(packet, ADDRESS, 0.02) == ("", "icmp_not_mine")


def test_late(echo):
    packet = answer(echo.request("nat-b", ADDRESS, 0.0))
    assert echo.reply(packet, ADDRESS, ANSWER_WITHIN + 0.1) == ("", "icmp_late")


def test_from_another_address(echo):
    packet = answer(echo.request("nat-b", ADDRESS, 0.0))
    assert echo.reply(packet, "10.0.9.9", 0.01) == ("", "icmp_not_mine")
    assert echo.reply(packet, ADDRESS, 0.02) == ("nat-b", "")  # the forgery has not used up the request


@pytest.mark.parametrize("token", [b"", b"\0" * icmp.TOKEN, b"\0" * 200], ids=len)
def test_with_a_guessed_token(echo, token):
    packet = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(answer(packet, token=token), ADDRESS, 0.01) == ("", "icmp_not_mine")


def test_to_nothing_asked(echo):
    assert echo.reply(ECHO.pack(0, 0, 0, 77, 9), ADDRESS, 0.0) == ("", "icmp_not_mine")


@pytest.mark.parametrize("kind", [3, 8, 11])
def test_other_kinds_are_not_ours(echo, kind):
    # 8: this node's request, reflected.
    packet = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(answer(packet, kind=kind), ADDRESS, 0.01) == ("", "")


def test_somebody_elses_ping_on_a_raw_socket():
    echo = Echo(raw=True, identifier=77)
    packet = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(with_ip(answer(packet, identifier=78)), ADDRESS, 0.01) == ("", "")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 7], ids=len)
def test_truncated(echo, data):
    assert echo.reply(data, ADDRESS, 0.0) == ("", "icmp_malformed")


@pytest.mark.parametrize("data", [b"", b"\x45", b"\x45" + bytes(19), b"\x45" + bytes(26), b"\x4f" + bytes(30)], ids=len)
def test_truncated_on_a_raw_socket(data):
    assert Echo(raw=True, identifier=0).reply(data, ADDRESS, 0.0) == ("", "icmp_malformed")


@BOUNDED
@given(st.binary(max_size=120), st.booleans())
def test_noise_is_nobodys_reply(data, raw):
    echo = Echo(raw=raw, identifier=0)
    echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(data, ADDRESS, 0.01)[0] == ""


def test_memory_is_bounded(echo):
    first = echo.request("nat-b", ADDRESS, 0.0)
    for _turn in range(PENDING):
        last = echo.request("nat-b", ADDRESS, 0.0)
    assert echo.reply(answer(first), ADDRESS, 0.01) == ("", "icmp_not_mine")
    assert echo.reply(answer(last), ADDRESS, 0.01) == ("nat-b", "")


def test_sequence_numbers_wrap(echo):
    for _turn in range(0x10000):
        packet = echo.request("nat-b", ADDRESS, 0.0)
    assert struct.unpack_from("!H", packet, 6) == (0,)
    assert echo.reply(answer(packet), ADDRESS, 0.01) == ("nat-b", "")
