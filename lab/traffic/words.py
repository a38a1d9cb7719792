# SPDX-License-Identifier: GPL-3.0-or-later
"""The words between server and clients: the ports of the kinds of flows, and the data of downloads and uploads. Standard library only."""

from __future__ import annotations

# Ports of the lab's internet server that nothing else has.
ECHO, PUSH, DOWN, PULL, UP, ONCE = 9001, 9002, 9003, 9004, 9005, 9006
PORTS = {"echo": ECHO, "push": PUSH, "down": DOWN, "pull": PULL, "up": UP}
ALL, FLOWS = "all", "flows"  # questions for a client
EVERY_S = 0.005  # between two messages of a flow
STEP = 10_000  # octets of a download or upload in that time: 16 Mbit/s
# The length of the pattern is a prime number, so what is lost, repeated or moved by any whole block does not fit.
_PATTERN = bytes(range(251)) * (2 * (1 << 18) // 251)
LONGEST = 1 << 18


def pattern(position: int, length: int) -> bytes:
    """The data of a stream from a position on, ``LONGEST`` octets at most."""
    begin = position % 251
    return _PATTERN[begin : begin + length]


def fits(position: int, data: bytes) -> bool:
    """Whether data that came at a position of a stream is what was sent there."""
    return all(
        data[begin : begin + LONGEST] == pattern(position + begin, len(data[begin : begin + LONGEST]))
        for begin in range(0, len(data), LONGEST)
    )
