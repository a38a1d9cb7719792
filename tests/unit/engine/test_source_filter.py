# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the source filter, run by a small machine for classic BPF."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.runtime.source_filter import ALL, INSTRUCTION, MOST, program

BOUNDED = settings(max_examples=100, derandomize=True, deadline=None, database=None)
ADDRESSES = st.ip_addresses(v=4).map(str)


def passes(code, source):
    """Whether a packet from an address passes: what the kernel does with these instructions."""
    header = bytes(12) + ipaddress.IPv4Address(source).packed + bytes(4)
    word, at = 0, 0
    instructions = list(INSTRUCTION.iter_unpack(code))
    while True:
        operation, if_true, if_false, value = instructions[at]
        at += 1
        if operation == 0x20:
            offset = struct.unpack("=i", struct.pack("=I", value))[0] + 0x100000
            (word,) = struct.unpack_from("!I", header, offset)
        elif operation == 0x15:
            at += if_true if word == value else if_false
        else:
            assert operation == 0x06
            return value == ALL


@BOUNDED
@given(st.lists(ADDRESSES, max_size=40), ADDRESSES)
def test_exactly_these_addresses_pass(addresses, other):
    code = program(addresses)
    assert all(passes(code, address) for address in addresses)
    assert passes(code, other) == (other in addresses)


def test_no_address_passes_nothing():
    assert not passes(program(()), "10.0.0.10")


def test_without_a_list_each_address_passes():
    assert passes(program(None), "10.0.0.10") and passes(program(None), "203.0.113.1")


def test_the_kernel_takes_as_many_instructions():
    addresses = [str(ipaddress.IPv4Address(number)) for number in range(MOST)]
    assert len(program(addresses)) // INSTRUCTION.size <= 4096
    with pytest.raises(ValueError, match="2000 addresses at most"):
        program([*addresses, "10.0.0.10"])


@pytest.mark.parametrize("text", ["", "nat-a", "2001:db8::1", "10.0.0"])
def test_a_text_that_is_no_address_is_an_error(text):
    with pytest.raises(ValueError, match="octets|empty"):
        program([text])
