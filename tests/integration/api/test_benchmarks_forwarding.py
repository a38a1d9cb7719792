# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of forwarding, and the frames that measure it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import (
    forwarding,
    packets,
    sections,
)


def round_of(plain: float, bare: float, role: float) -> dict[str, Any]:
    """A round as the carriers tell it; the numbers are nanoseconds per packet, of which the sender takes 400."""
    costs = {"floor": 400.0, "plain": plain, "bare": bare, "role": role}
    return {name: {"sent": 1000, "returned": 1000, "cpu_ns": cost * 1000} for name, cost in costs.items()}


def test_a_node_is_held_against_the_bare_rule_of_the_same_round() -> None:
    rounds = [round_of(500, 1000 + each, 1020 + each) for each in (0, 10, 300)]
    found = forwarding.summed(rounds)
    assert found["pps"] == {"plain": 2_000_000, "bare": 990_099, "role": 970_874}
    assert found["ns"] == {"plain": 100, "bare": 610, "role": 630} and found["sender_ns"] == 400
    assert found["share"] == 0.9806
    rows = [{"traffic": "UDP, 1 flow", "rounds": 3, "run": 0, "load": 0.5, **found, "spread": 0.02}]
    assert "| UDP, 1 flow | 2,000,000 | 990,099 | 970,874 | 100 | 610 | 630 | 98.1 % | 2.0 % | PASS |" in (
        sections.carried(rows)
    )
    slow = [{**rows[0], "share": 0.96, "spread": 0.2}]
    assert "| 96.0 % | 20.0 % | FAIL, noisy |" in sections.carried(slow)
    assert forwarding.facts(slow)["noisy"] == ["UDP, 1 flow"] and forwarding.facts(rows)["noisy"] == []
    assert forwarding.figures(rows)["UDP, 1 flow: role / bare"] == 1.0198
    assert sections.carried([]) == sections.NOT_YET


def internet_sum(data: bytes) -> int:
    """0 for what carries its own correct checksum."""
    return packets.checksum(data)


@pytest.mark.parametrize(("kind", "opening", "measured"), [("UDP", 4, 4), ("TCP", 6, 4), ("new", 0, 2)])
def test_frames_are_valid_and_each_flow_has_both_ways(kind: str, opening: int, measured: int) -> None:
    first, then = packets.frames(kind, 2, "10.0.0.10")
    assert (len(first), len(then)) == (opening, measured)
    for each in first + then:
        assert internet_sum(each[:20]) == 0 and int.from_bytes(each[2:4], "big") == len(each)
        if each[9] == 6:
            assert internet_sum(each[12:20] + bytes([0, 6, 0, len(each) - 20]) + each[20:]) == 0
    ends = {(each[12:16], each[16:20], each[20:24]) for each in then}
    assert len(ends) == measured, "each is another flow, or another direction"
    if kind != "new":
        assert {bytes(each[16:20]) for each in then[1::2]} == {bytes([10, 0, 0, 10])}, "answers go to the node"


def test_new_connections_of_another_round_are_others() -> None:
    found = [set(packets.frames("new", 500, "", number)[1]) for number in range(3)]
    assert sum(map(len, found)) == len(set().union(*found)) == 1500
