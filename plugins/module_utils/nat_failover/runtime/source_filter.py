# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A classic BPF program that passes datagrams from some IPv4 addresses only. Pure.

A flood of foreign packets costs the kernel a few instructions each, and the service nothing: they
take no place in the queue of the socket. Source: Linux, Documentation/networking/filter.rst.
"""

from __future__ import annotations

import ipaddress
import struct
import typing as t

INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF, -0x100000: offsets from here on count from the IP header
SOURCE = 12  # offset of the source address in the IPv4 header (RFC 791)
ALL, NONE = 0xFFFFFFFF, 0  # bytes of the packet that pass
MOST = 2000  # addresses; the kernel takes 4096 instructions (BPF_MAXINSNS)


def program(addresses: t.Collection[str] | None) -> bytes:
    """The instructions in the form of the kernel. None: each address passes. Raises ``ValueError``
    for a text that is no IPv4 address, or more than ``MOST`` of them.
    """
    if addresses is None:
        return INSTRUCTION.pack(RETURN, 0, 0, ALL)
    if len(addresses) > MOST:
        raise ValueError(f"a source filter takes {MOST} addresses at most")
    found = [(LOAD_WORD, 0, 0, NETWORK_HEADER + SOURCE)]
    for address in sorted(addresses):
        found += [(JUMP_IF_EQUAL, 0, 1, int(ipaddress.IPv4Address(address))), (RETURN, 0, 0, ALL)]
    found.append((RETURN, 0, 0, NONE))
    return b"".join(INSTRUCTION.pack(*each) for each in found)
